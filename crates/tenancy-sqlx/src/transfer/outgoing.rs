//! The directory that an export is written to.

use std::{
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
};

use super::{
    TransferError,
    manifest::{FileEntry, MANIFEST, Manifest},
};

const BUFFER: usize = 256 * 1024;
/// Tries to remove what is left of an export.
const REMOVALS: usize = 3;
/// What the names of directories end with that hold no whole export.
const PARTIAL: &str = ".partial";

/// An export under its temporary name. Dropped before it is finished, it is gone.
#[derive(Debug)]
pub struct Outgoing {
    partial: PathBuf,
    whole: PathBuf,
    is_finished: bool,
    /// Tells others that it is not a broken off one. Free as soon as the process is gone.
    lock: Option<std::fs::File>,
}

impl Outgoing {
    pub(super) async fn begin(directory: &Path) -> Result<Self, TransferError> {
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| TransferError::directory("an export needs a directory with a name".to_owned()))?;
        check_free(directory).await?;
        remove_broken_off(directory).await?;
        // Of its own: what an export that was dropped still writes, as a thread of SQLite does, is not to get into this one.
        let partial = directory.with_file_name(format!("{name}.{:016x}{PARTIAL}", fastrand::u64(..)));
        make_private(&partial).map_err(|error| TransferError::file("make", &partial, error))?;
        let mut outgoing = Self {
            partial,
            whole: directory.into(),
            is_finished: false,
            lock: None,
        };
        outgoing.lock = match lock(&outgoing.partial) {
            Ok(lock) => Some(lock),
            // Somebody takes it for a broken off one, which it was for a moment.
            Err(TryLockError::WouldBlock) => return Err(under_way(&outgoing.partial)),
            // There are no locks here.
            Err(TryLockError::Error(_)) => None,
        };
        Ok(outgoing)
    }

    /// Where a file of this name is until the export is finished.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    pub(super) fn file(&self, name: String) -> Result<OutgoingFile, TransferError> {
        let path = self.path(&name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // No await here, either: a file that is made after the directory was emptied would keep it.
        let file = options
            .open(&path)
            .map_err(|error| TransferError::file("make", &path, error))?;
        Ok(OutgoingFile {
            file: BufWriter::with_capacity(BUFFER, File::from_std(file)),
            digest: Sha256::new(),
            bytes: 0,
            name,
            path,
        })
    }

    /// Of a file that somebody else wrote there.
    pub(super) async fn sum_of(&self, name: &str) -> Result<FileEntry, TransferError> {
        let path = self.path(name);
        let read = |error| TransferError::file("read", &path, error);
        let mut file = File::open(&path).await.map_err(read)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let private = std::fs::Permissions::from_mode(0o600);
            file.set_permissions(private).await.map_err(read)?;
        }
        file.sync_all().await.map_err(read)?;
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = file.read(&mut buffer).await.map_err(read)?;
            if length == 0 {
                break;
            }
            digest.update(&buffer[..length]);
            bytes += length as u64;
        }
        Ok(FileEntry {
            name: name.to_owned(),
            bytes,
            sha256: hex(&digest.finalize()),
        })
    }

    /// From here on it is a whole export, under its own name.
    pub(super) async fn finish(mut self, manifest: &Manifest) -> Result<(), TransferError> {
        let text = serde_json::to_vec_pretty(manifest).map_err(TransferError::damaged)?;
        let mut file = self.file(MANIFEST.to_owned())?;
        file.write(&text).await?;
        file.finish().await?;
        sync_directory(&self.partial).await?;
        // Where there is an empty directory of the name, it is replaced. One that somebody filled meanwhile is not.
        // No await until that is noted: dropped in between, what was just finished would be removed.
        let renamed = std::fs::rename(&self.partial, &self.whole);
        renamed.map_err(|error| TransferError::file("rename the whole export to", &self.whole, error))?;
        self.is_finished = true;
        sync_directory(parent_of(&self.whole)).await
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // What writes there may not have noticed yet, as a thread of SQLite, and make a file in between.
        for left in (0..REMOVALS).rev() {
            match std::fs::remove_dir_all(&self.partial) {
                Ok(()) => return,
                Err(error) if left == 0 => {
                    let directory = self.partial.display();
                    tracing::warn!(%error, %directory, "what is left of an export was not removed");
                }
                Err(_) => {}
            }
        }
    }
}

/// Removes an export, be it whole, under way or broken off.
pub(crate) async fn remove_export(directory: &Path) -> io::Result<()> {
    let mut removed = remove(directory).await;
    for partial in partials_of(directory).await? {
        removed = remove(&partial).await.and(removed);
    }
    removed
}

/// Where there are locks: what nobody writes any more. Else it stays.
async fn remove_broken_off(directory: &Path) -> Result<(), TransferError> {
    let partials = partials_of(directory).await;
    let partials =
        partials.map_err(|error| TransferError::file("look for exports beside", directory, error))?;
    for partial in partials {
        match lock(&partial) {
            Ok(_lock) => {
                if let Err(error) = remove(&partial).await {
                    let directory = partial.display();
                    tracing::warn!(%error, %directory, "what is left of a broken off export was not removed");
                }
            }
            Err(TryLockError::WouldBlock) => return Err(under_way(&partial)),
            Err(TryLockError::Error(_)) => {}
        }
    }
    Ok(())
}

fn under_way(partial: &Path) -> TransferError {
    TransferError::directory(format!(
        "another export to the same directory is under way, in {}",
        partial.display()
    ))
}

async fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Directories beside that one, of exports to it that are not whole.
async fn partials_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let whole = directory.file_name().and_then(|name| name.to_str());
    let mut partials = Vec::new();
    let mut beside = fs::read_dir(parent_of(directory)).await?;
    while let Some(entry) = beside.next_entry().await? {
        let name = entry.file_name();
        let is_partial =
            matches!((whole, name.to_str()), (Some(whole), Some(name)) if is_partial_of(whole, name));
        if is_partial && entry.file_type().await?.is_dir() {
            partials.push(entry.path());
        }
    }
    Ok(partials)
}

/// Whether the name is one that [`Outgoing::begin`] makes.
fn is_partial_of(whole: &str, name: &str) -> bool {
    let rest = name.strip_prefix(whole).and_then(|rest| rest.strip_prefix('.'));
    let number = rest.and_then(|rest| rest.strip_suffix(PARTIAL));
    number.is_some_and(|number| {
        number.len() == 16
            && number
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn parent_of(directory: &Path) -> &Path {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Lasts as long as the file is open.
#[cfg(unix)]
fn lock(directory: &Path) -> Result<std::fs::File, TryLockError> {
    let opened = std::fs::File::open(directory).map_err(TryLockError::Error)?;
    opened.try_lock()?;
    Ok(opened)
}

/// A directory can not be opened there.
#[cfg(not(unix))]
fn lock(_: &Path) -> Result<std::fs::File, TryLockError> {
    Err(TryLockError::Error(io::ErrorKind::Unsupported.into()))
}

async fn check_free(directory: &Path) -> Result<(), TransferError> {
    let read = |error| TransferError::file("look at", directory, error);
    let found = match fs::symlink_metadata(directory).await {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(read(error)),
    };
    let is_free = found.is_dir()
        && fs::read_dir(directory)
            .await
            .map_err(read)?
            .next_entry()
            .await
            .map_err(read)?
            .is_none();
    if is_free {
        return Ok(());
    }
    Err(TransferError::directory(format!(
        "{} is there and no empty directory: export to another name",
        directory.display()
    )))
}

/// One call, and no await: were the future dropped meanwhile, nobody would know of the directory.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(unix)]
async fn sync_directory(directory: &Path) -> Result<(), TransferError> {
    let write = |error| TransferError::file("write", directory, error);
    File::open(directory)
        .await
        .map_err(write)?
        .sync_all()
        .await
        .map_err(write)
}

#[cfg(not(unix))]
async fn sync_directory(_: &Path) -> Result<(), TransferError> {
    Ok(())
}

/// A file of an export, and the sum of what was written.
pub(super) struct OutgoingFile {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
    name: String,
    path: PathBuf,
}

impl OutgoingFile {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| TransferError::file("write", &self.path, error))
    }

    pub(super) async fn finish(mut self) -> Result<FileEntry, TransferError> {
        let write = |error| TransferError::file("write", &self.path, error);
        self.file.flush().await.map_err(write)?;
        self.file.get_ref().sync_all().await.map_err(write)?;
        Ok(FileEntry {
            name: self.name,
            bytes: self.bytes,
            sha256: hex(&self.digest.finalize()),
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_an_export_makes_are_taken_for_broken_off_ones() {
        for (name, is_partial) in [
            ("out.0123456789abcdef.partial", true),
            ("out", false),
            ("out.partial", false),
            ("out.0123456789abcde.partial", false),
            ("out.0123456789abcdeF.partial", false),
            ("out.0123456789abcdef.partial.bak", false),
            ("out.v2.0123456789abcdef.partial", false),
            ("shout.0123456789abcdef.partial", false),
        ] {
            assert_eq!(is_partial_of("out", name), is_partial, "{name}");
        }
    }

    #[tokio::test]
    async fn what_an_export_that_was_dropped_still_writes_does_not_get_into_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let dropped = Outgoing::begin(&out).await.unwrap();
        let still_written = dropped.path("database.sqlite");
        drop(dropped);
        let next = Outgoing::begin(&out).await.unwrap();
        std::fs::write(&still_written, b"x").unwrap_err();
        assert_eq!(std::fs::read_dir(&next.partial).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_under_way_is_kept_and_what_was_broken_off_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let (broken_off, others) = (
            directory.path().join("out.0123456789abcdef.partial"),
            directory.path().join("other.0123456789abcdef.partial"),
        );
        for left in [&broken_off, &others] {
            std::fs::create_dir(left).unwrap();
            std::fs::write(left.join("tenant.json"), b"{}").unwrap();
        }
        let first = Outgoing::begin(&out).await.unwrap();
        assert!(!broken_off.exists());
        let error = Outgoing::begin(&out).await.unwrap_err();
        assert!(
            error.is_files() && error.to_string().contains("under way"),
            "{error}"
        );
        assert!(first.partial.exists());
        drop(first);
        drop(Outgoing::begin(&out).await.unwrap());
        std::fs::create_dir(&out).unwrap();
        std::fs::create_dir(&broken_off).unwrap();
        remove_export(&out).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [others], "another export's");
    }
}
