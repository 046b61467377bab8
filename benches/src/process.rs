//! What the kernel says of a process.

use std::{fs, path::PathBuf, time::Duration};

use crate::Failure;

/// A process by its number, or this one.
#[derive(Clone, Debug)]
pub(crate) struct Process(PathBuf);

impl Process {
    pub(crate) fn this() -> Self {
        Self("/proc/self".into())
    }

    pub(crate) fn number(id: u32) -> Self {
        Self(format!("/proc/{id}").into())
    }

    /// Bytes of memory that are in use, `VmRSS`.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(self.0.join("status"))?;
        resident_in(&status).ok_or_else(|| "the kernel does not say how much memory is in use".into())
    }

    /// Time that all living threads together have spent on a CPU, to the nanosecond.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
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
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
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
        assert!(process.cpu_time().unwrap() > Duration::ZERO);
    }
}
