//! The directory that an export is written to.

use std::{
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

/// An export under its temporary name. Dropped before it is finished, it is gone.
#[derive(Debug)]
pub struct Outgoing {
    partial: PathBuf,
    whole: PathBuf,
    is_finished: bool,
}

impl Outgoing {
    pub(super) async fn begin(directory: &Path) -> Result<Self, TransferError> {
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| TransferError::directory("an export needs a directory with a name".to_owned()))?;
        check_free(directory).await?;
        let partial = directory.with_file_name(format!("{name}.partial"));
        make_private(&partial).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                TransferError::directory(format!(
                    "{} is there: another export is under way, or one was broken off; then remove it",
                    partial.display()
                ))
            } else {
                TransferError::file("make", &partial, error)
            }
        })?;
        Ok(Self {
            partial,
            whole: directory.into(),
            is_finished: false,
        })
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
        let parent = self
            .whole
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new("."))).await
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
