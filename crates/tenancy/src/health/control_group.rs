//! What the control group that the process runs in may use of memory, and uses.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupMemory {
    /// Without file pages that can be dropped, as Kubernetes counts it.
    pub(super) used: u64,
    /// `None`: it may use all there is.
    pub(super) limit: Option<u64>,
}

/// The files of one version.
struct Files {
    limit: &'static str,
    current: &'static str,
    inactive: &'static str,
}

const VERSION_2: Files = Files {
    limit: "memory.max",
    current: "memory.current",
    inactive: "inactive_file ",
};

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive: "total_inactive_file ",
};

/// Of version 1, "no limit" is the greatest multiple of a page; a machine has no such memory.
const NO_LIMIT_OF_VERSION_1: u64 = 1 << 62;

/// Of the group that this process runs in; `None` where the system does not say. Reads files of the kernel's.
pub(super) fn own_memory() -> io::Result<Option<GroupMemory>> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    memory_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// `groups` is what the kernel says of a process: `5:memory:/path` of version 1, beside `0::/path`; where both are there, the first
/// one has the limit.
pub(super) fn memory_below(root: &Path, groups: &str) -> io::Result<Option<GroupMemory>> {
    let of_version_1 = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let mut controllers = controllers.split(',');
        controllers.any(|name| name == "memory").then_some(path)
    });
    if let Some(path) = of_version_1 {
        return read(&root.join("memory"), path, &VERSION_1);
    }
    match groups.lines().find_map(|line| line.strip_prefix("0::")) {
        Some(path) => read(root, path, &VERSION_2),
        None => Ok(None),
    }
}

fn read(root: &Path, path: &str, files: &Files) -> io::Result<Option<GroupMemory>> {
    let own = own_folder(root, path);
    let Some(current) = number_in(&own.join(files.current))? else {
        return Ok(None);
    };
    let statistics = fs::read_to_string(own.join("memory.stat")).unwrap_or_default();
    let inactive = statistics
        .lines()
        .find_map(|line| line.strip_prefix(files.inactive));
    let inactive = inactive.map(number).transpose()?.unwrap_or(0);
    Ok(Some(GroupMemory {
        used: current.saturating_sub(inactive),
        limit: lowest_limit(root, own, files.limit)?,
    }))
}

/// In a container the path may be the one outside, which is not there: then the root is the container's own group.
fn own_folder(root: &Path, path: &str) -> PathBuf {
    let path = Path::new(path.trim_start_matches('/'));
    let leads_down = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let own = root.join(path);
    if leads_down && own.is_dir() {
        own
    } else {
        root.to_owned()
    }
}

/// What a group may use is what all above it may, too.
fn lowest_limit(root: &Path, mut group: PathBuf, file: &str) -> io::Result<Option<u64>> {
    let mut lowest: Option<u64> = None;
    loop {
        let limit = number_in(&group.join(file))?.filter(|limit| *limit < NO_LIMIT_OF_VERSION_1);
        lowest = match (lowest, limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if group == root || !group.pop() || !group.starts_with(root) {
            return Ok(lowest);
        }
    }
}

/// `None` where there is no such file.
fn number_in(file: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(file) {
        Ok(text) if text.trim() == "max" => Ok(Some(u64::MAX)),
        Ok(text) => number(&text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(text: &str) -> io::Result<u64> {
    let number = text.trim().parse();
    number.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn of(files: &[(&str, &str)]) -> Self {
            let tree = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = tree.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(tree)
        }

        fn read(&self, groups: &str) -> Option<GroupMemory> {
            memory_below(self.0.path(), groups).unwrap()
        }
    }

    fn memory(used: u64, limit: Option<u64>) -> Option<GroupMemory> {
        Some(GroupMemory { used, limit })
    }

    #[test]
    fn it_is_the_processs_own_group_and_the_lowest_limit_on_the_way_up() {
        let tree = Tree::of(&[
            ("memory.max", "9000\n"),
            ("memory.current", "8000\n"),
            ("a/memory.max", "1000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "77\n"),
            ("a/b/memory.stat", "anon 1\ninactive_file 7\n"),
            ("other/memory.max", "5\n"),
            ("other/memory.current", "5\n"),
        ]);
        assert_eq!(tree.read("0::/a/b\n"), memory(70, Some(1_000)));
        assert_eq!(tree.read("0::/other\n"), memory(5, Some(5)));
        // Inside of a container, its own group is the root, and its path may be the one outside.
        for groups in ["0::/\n", "0::/docker/0123\n", "0::/../../a\n", "0::/a/../other\n"] {
            assert_eq!(tree.read(groups), memory(8_000, Some(9_000)), "{groups}");
        }
    }

    #[test]
    fn version_1_has_files_and_a_word_for_no_limit_of_its_own() {
        let tree = Tree::of(&[
            ("memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.usage_in_bytes", "9\n"),
            ("memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 2\n"),
            ("memory/a/b/memory.limit_in_bytes", "50\n"),
            ("memory/a/b/memory.usage_in_bytes", "4\n"),
        ]);
        let groups = "11:cpu:/x\n5:hugetlb,memory:/a\n0::/y\n";
        assert_eq!(tree.read(groups), memory(7, None));
        assert_eq!(tree.read("5:memory:/a/b\n"), memory(4, Some(50)));
    }

    #[test]
    fn where_nobody_says_there_is_nothing_and_what_is_no_number_is_an_error() {
        let tree = Tree::of(&[("a/memory.max", "7\n")]);
        for groups in ["0::/a\n", "0::/\n", "5:memory:/a\n", "", "nonsense"] {
            assert_eq!(tree.read(groups), None, "{groups:?}");
        }
        for (current, limit) in [("lots", "1"), ("1", "lots"), ("", "1"), ("-5", "1")] {
            let tree = Tree::of(&[("memory.current", current), ("memory.max", limit)]);
            assert!(
                memory_below(tree.0.path(), "0::/\n").is_err(),
                "{current} {limit}"
            );
        }
    }
}
