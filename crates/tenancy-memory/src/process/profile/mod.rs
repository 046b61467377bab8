//! Who allocated what is live, by jemalloc's sampling.

mod dump;
mod pprof;

use std::{
    error::Error,
    ffi::CString,
    fmt,
    fs::{self, Permissions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    sync::{Mutex, TryLockError},
    time::Duration,
};

use tempfile::TempDir;
use tenancy_core::{Clock as _, SystemClock};
use tikv_jemalloc_ctl::{Access as _, AsName as _};

use self::dump::Dump;
use super::Allocator;

/// Dumps a sampled profile of the heap, as `pprof` reads it.
///
/// Sampling is jemalloc's own: one allocation in half a mebibyte notes its stack. It must be on when the process starts, by
/// `_RJEM_MALLOC_CONF=prof:true` (`MALLOC_CONF` where jemalloc was built unprefixed), and may then be
/// [paused](HeapProfiler::set_active).
///
/// The profile has addresses and where the program's files are mapped, and no names: give `pprof` the program too, built with
/// `debug = "line-tables-only"` and not stripped: `pprof ./server http://127.0.0.1:2113/debug/pprof/heap`. What is sampled is
/// scaled up to what is live. C libraries with an allocator of their own are not in it.
#[derive(Debug, Default)]
pub struct HeapProfiler {
    clock: SystemClock,
    /// When the last dump ended. One at a time, and not one right after the other: each stops all allocations for a while.
    dumping: Mutex<Option<Duration>>,
}

/// Whether allocations are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileState {
    /// jemalloc is not the allocator of this program, or was built without profiling.
    NotBuilt,
    /// Profiling was not switched on when the process started.
    Off,
    /// It is on, and paused.
    Paused,
    /// Allocations are sampled.
    Active,
}

/// There is no profile.
#[derive(Debug)]
pub struct ProfileError(Kind);

#[derive(Debug)]
enum Kind {
    Inactive(ProfileState),
    Busy,
    TooSoon,
    Jemalloc(tikv_jemalloc_ctl::Error),
    File(io::Error),
    Unreadable,
}

impl ProfileError {
    /// Whether profiling is not active; the text says what to do.
    pub fn is_inactive(&self) -> bool {
        matches!(self.0, Kind::Inactive(_))
    }

    /// Whether another dump goes on, or ended less than a second ago.
    pub fn is_busy(&self) -> bool {
        matches!(self.0, Kind::Busy | Kind::TooSoon)
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Inactive(state) => f.write_str(state.advice()),
            Kind::Busy => f.write_str("another heap profile is being taken"),
            Kind::TooSoon => f.write_str("the last heap profile is less than a second ago"),
            Kind::Jemalloc(_) => f.write_str("jemalloc wrote no heap profile"),
            Kind::File(_) => {
                f.write_str("the heap profile could not be written to the directory for temporary files")
            }
            Kind::Unreadable => f.write_str("jemalloc wrote a heap profile of an unknown form"),
        }
    }
}

impl Error for ProfileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Jemalloc(error) => Some(error),
            Kind::File(error) => Some(error),
            Kind::Inactive(_) | Kind::Busy | Kind::TooSoon | Kind::Unreadable => None,
        }
    }
}

impl ProfileState {
    fn advice(self) -> &'static str {
        match self {
            Self::NotBuilt => {
                "heap profiling is not built in: make jemalloc the global allocator, and build with feature `profiling`"
            }
            Self::Off => {
                "heap profiling is off: start the process with _RJEM_MALLOC_CONF=prof:true in its environment \
                 (MALLOC_CONF where jemalloc is built unprefixed)"
            }
            Self::Paused => {
                "heap profiling is paused: switch it on, or start the process without prof_active:false"
            }
            Self::Active => "heap profiling is active",
        }
    }
}

impl HeapProfiler {
    /// Nothing is switched on by this.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether allocations are sampled.
    pub fn state(&self) -> ProfileState {
        if Allocator::detect() != Allocator::Jemalloc {
            return ProfileState::NotBuilt;
        }
        match (
            is_set(b"config.prof\0"),
            is_set(b"opt.prof\0"),
            is_set(b"prof.active\0"),
        ) {
            (Some(true), Some(true), Some(true)) => ProfileState::Active,
            (Some(true), Some(true), _) => ProfileState::Paused,
            (Some(true), _, _) => ProfileState::Off,
            _ => ProfileState::NotBuilt,
        }
    }

    /// Goes on with sampling, or pauses it. What was sampled stays known until it is freed.
    ///
    /// # Errors
    /// When profiling is not built in or was off when the process started.
    pub fn set_active(&self, active: bool) -> Result<(), ProfileError> {
        match self.state() {
            state @ (ProfileState::NotBuilt | ProfileState::Off) => Err(ProfileError(Kind::Inactive(state))),
            ProfileState::Paused | ProfileState::Active => b"prof.active\0"[..]
                .name()
                .write(active)
                .map_err(|error| ProfileError(Kind::Jemalloc(error))),
        }
    }

    /// The profile of what is live, in the format of `pprof`, not compressed. Blocks, and writes a file of some hundred KiB into
    /// a directory of its own below that for temporary files, which is gone afterwards.
    ///
    /// # Errors
    /// When profiling is not active, another dump goes on or ended less than a second ago, or the file can not be written.
    pub fn dump(&self) -> Result<Vec<u8>, ProfileError> {
        let state = self.state();
        if state != ProfileState::Active {
            return Err(ProfileError(Kind::Inactive(state)));
        }
        let mut last = match self.dumping.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ProfileError(Kind::Busy)),
        };
        if is_too_soon(*last, self.clock.monotonic()) {
            return Err(ProfileError(Kind::TooSoon));
        }
        let text = dumped();
        *last = Some(self.clock.monotonic());
        let dump = Dump::parse(&text?).ok_or(ProfileError(Kind::Unreadable))?;
        Ok(pprof::encode(&dump))
    }
}

fn is_set(name: &'static [u8]) -> Option<bool> {
    name.name().read().ok()
}

fn is_too_soon(last: Option<Duration>, now: Duration) -> bool {
    const LEAST: Duration = Duration::from_secs(1);
    last.is_some_and(|last| now.saturating_sub(last) < LEAST)
}

fn dumped() -> Result<Vec<u8>, ProfileError> {
    let of_file = |error| ProfileError(Kind::File(error));
    let directory = private_directory().map_err(of_file)?;
    let file = directory.path().join("heap");
    write_dump(&file)?;
    fs::read(&file).map_err(of_file)
}

/// For nobody else on this machine: a profile tells what a program does.
fn private_directory() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

fn write_dump(file: &Path) -> Result<(), ProfileError> {
    let path = CString::new(file.as_os_str().as_bytes());
    let path = path.map_err(|error| ProfileError(Kind::File(error.into())))?;
    // SAFETY: the control takes a pointer to a text that ends with a zero byte and reads it during the call, which the text
    // outlives.
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", path.as_ptr()) }
        .map_err(|error| ProfileError(Kind::Jemalloc(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_look_into_the_directory() {
        let directory = private_directory().unwrap();
        let mode = directory.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn dumps_are_a_second_apart() {
        let at = Duration::from_millis;
        assert!(!is_too_soon(None, at(0)));
        assert!(is_too_soon(Some(at(5_000)), at(5_999)));
        assert!(!is_too_soon(Some(at(5_000)), at(6_000)));
        assert!(is_too_soon(Some(Duration::MAX), at(0)));
    }
}
