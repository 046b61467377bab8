//! A server's folder, with its data, its sockets and its log, removed when this process ends, however it ends.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Mutex, PoisonError},
};

use super::{ServerError, program};

/// In memory: making a database is copying a thousand files, ten times faster there than on a disk.
const MEMORY: &str = "/dev/shm";
/// A machine that has so much room there can spare what some hundred databases take.
const ENOUGH_MEMORY: u64 = 8 << 30;

/// A fresh folder in memory or in the system's place for temporary files, which only the servers' user can enter.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keeper: Mutex<Child>,
}

impl Folder {
    pub(super) fn create() -> Result<Self, ServerError> {
        // Short, since the path of a socket may have 107 bytes.
        let parent = if memory_is_enough() {
            PathBuf::from(MEMORY)
        } else {
            std::env::temp_dir()
        };
        // The kernel names working directories without symbolic links, and the keeper compares with those.
        let parent = parent.canonicalize().unwrap_or(parent);
        let path = parent.join(format!("tenancy-{:012x}", random::<6>()?));
        let made = fs::create_dir(&path).and_then(|()| own(&path, 0o700));
        made.map_err(|error| ServerError::io(format!("{} could not be made", path.display()), error))?;
        let keeper = start_keeper(&path)?;
        Ok(Self {
            path,
            keeper: Mutex::new(keeper),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `data` from the cache of the build directory, or with `make` where that is empty.
    ///
    /// Preparing a database takes a second, copying it a tenth of that. Several processes may do this at once: each has a
    /// draft of its own, and the first to rename it wins. A cache that cannot be read or written is done without.
    pub(super) fn fill(
        &self,
        data: &str,
        recipe: &str,
        make: impl FnOnce(&Path) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let data = self.path.join(data);
        let cached =
            build_directory().map(|directory| directory.join("tenancy-test").join(file_name(recipe)));
        if let Some(cached) = &cached
            && cached.is_dir()
        {
            if copy_tree(cached, &data, true).is_ok() {
                return Ok(());
            }
            let _ = fs::remove_dir_all(&data);
        }
        let made = fs::create_dir(&data).and_then(|()| own(&data, 0o700));
        made.map_err(|error| ServerError::io("the data directory could not be made", error))?;
        make(&data)?;
        if let Some(cached) = cached {
            let draft = cached.with_extension(format!("{:x}", random::<6>()?));
            let kept = copy_tree(&data, &draft, false).and_then(|()| fs::rename(&draft, &cached));
            if kept.is_err() {
                let _ = fs::remove_dir_all(&draft);
            }
        }
        Ok(())
    }

    /// Writes a file that the servers' user alone can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, ServerError> {
        let path = self.path.join(name);
        let written = fs::write(&path, text).and_then(|()| own(&path, 0o600));
        written.map_err(|error| ServerError::io(format!("{name} could not be written"), error))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It ends once the pipe is closed, which waiting does.
        let _ = keeper.wait();
        // What this process made in it with rights that the keeper has not.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn memory_is_enough() -> bool {
    rustix::fs::statvfs(MEMORY).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) >= ENOUGH_MEMORY)
}

fn start_keeper(path: &Path) -> Result<Child, ServerError> {
    let mut command = program::command_that_stays("sh", Path::new("/"))?;
    command
        .args(["-c", include_str!("keeper.sh"), "keeper"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| ServerError::io("the keeper of a server's folder could not be started", error))
}

/// What a program says of its version, without what could mean something in a path.
fn file_name(version: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    version.trim().chars().map(plain).take(120).collect()
}

/// So many random bytes as a number.
pub(super) fn random<const BYTES: usize>() -> Result<u128, ServerError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| ServerError::io("the system gave no random bytes", io::Error::other(error)))?;
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

/// The directory that cargo builds into, which this program lies in, unless it is the program of a doc test.
fn build_directory() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
}

fn own(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    match program::user_of_servers() {
        Some(user) => chown(path, Some(user), Some(user)),
        None => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path, for_servers: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
    let owner = program::user_of_servers().filter(|_| for_servers);
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to, for_servers)?;
        } else {
            fs::copy(&from, &to)?;
            chown(&to, owner, owner)?;
        }
    }
    chown(to, owner, owner)
}
