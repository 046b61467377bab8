//! The snapshot as a file, so that a process that starts while the store is away knows its tenants.
//!
//! One line of JSON for the head, one for each tenant. The head has the SHA-256 of the rest: a file that was cut or
//! changed is not used. It is written beside its place and moved there, readable by its owner alone, for it holds
//! what the catalogue holds.

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tenancy_core::{ChangeMark, KeyKind, TenantEntry, TenantKey, TenantRecord};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    number: u64,
    stamp: u64,
    saved_at_s: u64,
    tenants: usize,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    record: TenantRecord,
    slugs: Vec<String>,
    domains: Vec<String>,
}

pub(super) struct Snapshot {
    pub(super) mark: ChangeMark,
    pub(super) entries: Vec<TenantEntry>,
}

/// Why a snapshot file was not used or not written.
#[derive(Debug)]
pub(super) enum SnapshotFileError {
    Io(io::Error),
    TooOld,
    Damaged(&'static str),
}

impl fmt::Display for SnapshotFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooOld => f.write_str("it is too old"),
            Self::Damaged(how) => write!(f, "it is damaged: {how}"),
        }
    }
}

impl std::error::Error for SnapshotFileError {}

impl From<io::Error> for SnapshotFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) fn write(
    path: &Path,
    mark: ChangeMark,
    saved_at: Duration,
    entries: &[TenantEntry],
) -> Result<(), SnapshotFileError> {
    let mut body = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut body, &line_of(entry)).map_err(io::Error::from)?;
        body.push(b'\n');
    }
    // Without all keys it is no place to go on from: the list is to be read anew.
    let complete = entries.iter().flat_map(|entry| &entry.keys).all(can_be_kept);
    let mark = if complete { mark } else { ChangeMark::NONE };
    let head = Head {
        format: FORMAT,
        number: mark.number,
        stamp: mark.stamp,
        saved_at_s: saved_at.as_secs(),
        tenants: entries.len(),
        sha256: hex(&Sha256::digest(&body)),
    };
    let temporary = path.with_extension("new");
    let mut file = create_private(&temporary)?;
    serde_json::to_writer(&mut file, &head).map_err(io::Error::from)?;
    file.write_all(b"\n")?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}

pub(super) fn read(path: &Path, now: Duration, max_age: Duration) -> Result<Snapshot, SnapshotFileError> {
    let text = fs::read(path)?;
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(SnapshotFileError::Damaged("it has no head"))?;
    let (head, body) = (&text[..end], &text[end + 1..]);
    let head: Head =
        serde_json::from_slice(head).map_err(|_| SnapshotFileError::Damaged("the head can not be read"))?;
    if head.format != FORMAT {
        return Err(SnapshotFileError::Damaged("it is of another format"));
    }
    if hex(&Sha256::digest(body)) != head.sha256 {
        return Err(SnapshotFileError::Damaged("the checksum does not match"));
    }
    let age = now.checked_sub(Duration::from_secs(head.saved_at_s));
    if age.is_none_or(|age| age > max_age) {
        return Err(SnapshotFileError::TooOld);
    }
    let entries = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<Line>(line).ok().and_then(entry_of))
        .collect::<Option<Vec<_>>>()
        .ok_or(SnapshotFileError::Damaged("a tenant can not be read"))?;
    Ok(Snapshot {
        mark: ChangeMark {
            number: head.number,
            stamp: head.stamp,
        },
        entries,
    })
}

fn line_of(entry: &TenantEntry) -> Line {
    let of = |kind| {
        let keys = entry.keys.iter().filter(move |key| key.kind() == kind);
        keys.map(|key| key.value().to_owned()).collect()
    };
    Line {
        record: entry.record.clone(),
        slugs: of(KeyKind::Slug),
        domains: of(KeyKind::Domain),
    }
}

/// Keys of the application's own spaces are named by literals of the program: a file can not bring them back.
fn can_be_kept(key: &TenantKey<'_>) -> bool {
    !matches!(key.kind(), KeyKind::Custom(_))
}

fn entry_of(line: Line) -> Option<TenantEntry> {
    let slugs = line.slugs.into_iter().map(TenantKey::slug);
    let domains = line.domains.into_iter().map(TenantKey::domain);
    Some(TenantEntry {
        record: line.record,
        keys: slugs.chain(domains).collect::<Result<_, _>>().ok()?,
    })
}

fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use tenancy_core::TenantId;

    use super::*;

    const NOW: Duration = Duration::from_secs(2_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn entries() -> Vec<TenantEntry> {
        let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
        record.settings = Some("{\"a\":1}".into());
        record.epoch = 7;
        vec![TenantEntry {
            record,
            keys: vec![
                TenantKey::slug("acme").unwrap(),
                TenantKey::domain("acme.example").unwrap(),
            ],
        }]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mark = ChangeMark {
            number: 9,
            stamp: u64::MAX,
        };
        write(&path, mark, NOW, &entries()).unwrap();
        let snapshot = read(&path, NOW + DAY, DAY).unwrap();
        assert_eq!((snapshot.mark, snapshot.entries), (mark, entries()));
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_lacks_keys_is_no_place_to_go_on_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mark = ChangeMark { number: 9, stamp: 9 };
        let mut with_custom_key = entries();
        with_custom_key[0]
            .keys
            .push(TenantKey::custom("api-key", "k").unwrap());
        write(&path, mark, NOW, &with_custom_key).unwrap();
        let snapshot = read(&path, NOW, DAY).unwrap();
        assert_eq!((snapshot.mark, snapshot.entries), (ChangeMark::NONE, entries()));
    }

    #[test]
    fn a_file_that_is_old_from_the_future_or_damaged_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        write(&path, ChangeMark::NONE, NOW, &entries()).unwrap();
        assert!(matches!(
            read(&path, NOW + DAY * 2, DAY),
            Err(SnapshotFileError::TooOld)
        ));
        assert!(matches!(
            read(&path, NOW - DAY, DAY),
            Err(SnapshotFileError::TooOld)
        ));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            if let Ok(snapshot) = read(&path, NOW, DAY) {
                // Only the head's own numbers are outside of the checksum.
                assert_eq!(snapshot.entries, entries(), "byte {at}");
            }
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, NOW, DAY).is_err(), "cut at {at}");
        }
    }
}
