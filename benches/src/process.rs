//! What the kernel says of a process.

use std::{fs, path::PathBuf, time::Duration};

use crate::Failure;

/// A process by its number, or this one.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

impl Process {
    /// This process.
    pub fn this() -> Self {
        Self("/proc/self".into())
    }

    /// The process of this number.
    pub fn number(id: u32) -> Self {
        Self(format!("/proc/{id}").into())
    }

    /// Bytes of memory that are in use, `VmRSS`.
    ///
    /// # Errors
    /// The process has ended.
    pub fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(self.0.join("status"))?;
        resident_in(&status).ok_or_else(|| "the kernel does not say how much memory is in use".into())
    }

    /// Bytes of memory that no other process has a part in.
    ///
    /// # Errors
    /// The process has ended, or is another user's.
    pub fn private(&self) -> Result<u64, Failure> {
        let memory = fs::read_to_string(self.0.join("smaps_rollup"))?;
        let parts = ["Private_Clean:", "Private_Dirty:"];
        let sum = parts
            .into_iter()
            .map(|name| kibibytes_in(&memory, name))
            .sum::<Option<u64>>();
        sum.map(|kibibytes| kibibytes * 1024)
            .ok_or_else(|| "the kernel does not say how much memory is private".into())
    }

    /// Time that all living threads together have spent on a CPU, to the nanosecond.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_time(&self) -> Result<Duration, Failure> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(self.0.join("task"))? {
            // Gone means that the thread has just ended. The servers that are measured end none.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let running = schedstat.split_whitespace().next().unwrap_or_default();
            nanoseconds += running.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

fn resident_in(status: &str) -> Option<u64> {
    kibibytes_in(status, "VmRSS:").map(|kibibytes| kibibytes * 1024)
}

fn kibibytes_in(lines: &str, name: &str) -> Option<u64> {
    let line = lines.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            resident_in("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"),
            Some(2_097_152)
        );
        assert_eq!(resident_in("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let process = Process::this();
        assert!(process.resident().unwrap() > 100_000);
        assert!((1..=process.resident().unwrap()).contains(&process.private().unwrap()));
        assert!(process.cpu_time().unwrap() > Duration::ZERO);
    }
}
