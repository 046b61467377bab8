//! The directory that an import reads, which may come from anybody.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File},
    io::AsyncReadExt as _,
};

use super::{
    TransferError,
    manifest::{FileEntry, MANIFEST, Manifest, name_of},
    outgoing::hex,
};
use crate::isolation::EngineKind;

const BUFFER: usize = 256 * 1024;
const LONGEST_MANIFEST: u64 = 16 * 1024 * 1024;

/// An export whose files are as it says.
#[derive(Debug)]
pub struct Incoming {
    directory: PathBuf,
    pub(super) manifest: Manifest,
}

impl Incoming {
    /// Reads all files once. Nothing of them is used before that.
    pub(super) async fn open(
        directory: &Path,
        engine: EngineKind,
        longest_row: u64,
    ) -> Result<Self, TransferError> {
        let found = fs::symlink_metadata(directory).await;
        let found = found.map_err(|error| TransferError::file("look at", directory, error))?;
        if !found.is_dir() {
            return Err(TransferError::damaged("it is no directory"));
        }
        let manifest = read_manifest(directory).await?;
        if manifest.engine != name_of(engine) {
            return Err(TransferError::mismatch(format!(
                "the export is of another database than the home, which is on {engine}"
            )));
        }
        let incoming = Self {
            directory: directory.into(),
            manifest,
        };
        incoming.check_listing().await?;
        for (entry, rows) in incoming.manifest.files() {
            incoming.check_file(entry, rows, longest_row).await?;
        }
        Ok(incoming)
    }

    pub(super) fn path(&self, entry: &FileEntry) -> PathBuf {
        self.directory.join(&entry.name)
    }

    pub(super) async fn file(&self, entry: &FileEntry) -> Result<IncomingFile, TransferError> {
        let path = self.path(entry);
        let file = open_plain(&path).await?;
        Ok(IncomingFile {
            file,
            buffer: vec![0; BUFFER],
            digest: Sha256::new(),
            entry: entry.clone(),
            read: 0,
            path,
        })
    }

    /// What else is there might be taken for a part of it: SQLite reads journals that lie beside a file.
    async fn check_listing(&self) -> Result<(), TransferError> {
        let read = |error| TransferError::file("look at", &self.directory, error);
        let known: HashSet<&str> = self
            .manifest
            .files()
            .map(|(entry, _)| &*entry.name)
            .chain([MANIFEST])
            .collect();
        let mut listing = fs::read_dir(&self.directory).await.map_err(read)?;
        while let Some(found) = listing.next_entry().await.map_err(read)? {
            let name = found.file_name();
            if !name.to_str().is_some_and(|name| known.contains(name)) {
                return Err(TransferError::damaged(format!(
                    "the file {name:?} is no part of it"
                )));
            }
        }
        Ok(())
    }

    async fn check_file(
        &self,
        entry: &FileEntry,
        rows: Option<u64>,
        longest_row: u64,
    ) -> Result<(), TransferError> {
        let mut file = self.file(entry).await?;
        let (mut lines, mut open) = (0, 0_u64);
        while let Some(piece) = file.piece().await? {
            if rows.is_none() {
                continue;
            }
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                open += line.len() as u64;
                if open > longest_row {
                    return Err(TransferError::damaged(format!(
                        "a row in {} has more than {longest_row} bytes, which an import allows (`Import::longest_row`)",
                        entry.name
                    )));
                }
                if line.ends_with(b"\n") {
                    (lines, open) = (lines + 1, 0);
                }
            }
        }
        file.finish()?;
        if open > 0 || rows.is_some_and(|rows| rows != lines) {
            let name = &entry.name;
            return Err(TransferError::damaged(format!(
                "{name} has another number of rows than {MANIFEST} says"
            )));
        }
        Ok(())
    }
}

async fn read_manifest(directory: &Path) -> Result<Manifest, TransferError> {
    let path = directory.join(MANIFEST);
    let file = open_plain(&path).await?;
    let mut text = Vec::new();
    let read = file.take(LONGEST_MANIFEST + 1).read_to_end(&mut text).await;
    read.map_err(|error| TransferError::file("read", &path, error))?;
    if text.len() as u64 > LONGEST_MANIFEST {
        return Err(TransferError::damaged(format!("{MANIFEST} has more than 16 MiB")));
    }
    Manifest::read(&text)
}

/// A plain file, and not where a link leads.
async fn open_plain(path: &Path) -> Result<File, TransferError> {
    let read = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => TransferError::damaged(format!(
            "{} is missing",
            path.file_name().unwrap_or_default().display()
        )),
        _ => TransferError::file("read", path, error),
    };
    let found = fs::symlink_metadata(path).await.map_err(read)?;
    let is_link = || {
        let name = path.file_name().unwrap_or_default();
        TransferError::damaged(format!("{} is no plain file", name.display()))
    };
    if !found.is_file() {
        return Err(is_link());
    }
    let file = File::open(path).await.map_err(read)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // Somebody may have put a link there in between.
        let opened = file.metadata().await.map_err(read)?;
        if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
            return Err(is_link());
        }
    }
    Ok(file)
}

/// A file of an export, and the sum of what was read.
pub(super) struct IncomingFile {
    file: File,
    buffer: Vec<u8>,
    digest: Sha256,
    entry: FileEntry,
    read: u64,
    path: PathBuf,
}

impl IncomingFile {
    pub(super) async fn piece(&mut self) -> Result<Option<&[u8]>, TransferError> {
        let length = self.file.read(&mut self.buffer).await;
        let length = length.map_err(|error| TransferError::file("read", &self.path, error))?;
        if length == 0 {
            return Ok(None);
        }
        self.read += length as u64;
        let piece = &self.buffer[..length];
        self.digest.update(piece);
        Ok(Some(piece))
    }

    /// Whether all that was read is what was exported. To be asked before anything of it lasts.
    pub(super) fn finish(self) -> Result<(), TransferError> {
        if self.read == self.entry.bytes && hex(&self.digest.finalize()) == self.entry.sha256 {
            return Ok(());
        }
        let name = self.entry.name;
        Err(TransferError::damaged(format!(
            "{name} was cut short or changed since it was written"
        )))
    }
}
