//! What the kernel says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ControlGroup, Reading};

pub(super) struct Resident {
    pub(super) resident: Reading,
    pub(super) peak: Reading,
}

/// Of this process. Other systems than Linux have no such file.
pub(super) fn resident() -> Resident {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Resident {
        resident: kibibytes_in(&status, "VmRSS:").into(),
        peak: kibibytes_in(&status, "VmHWM:").into(),
    }
}

fn kibibytes_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

pub(super) fn control_group() -> ControlGroup {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    control_group_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// The files of one version.
struct Files {
    limit: &'static str,
    current: &'static str,
}

const VERSION_2: Files = Files {
    limit: "memory.max",
    current: "memory.current",
};

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
};

/// Of version 1, "no limit" is the greatest multiple of a page; a machine has no such memory.
const NO_LIMIT_OF_VERSION_1: u64 = 1 << 62;

fn control_group_below(root: &Path, groups: &str) -> ControlGroup {
    // `5:memory:/path` of version 1, beside `0::/path`; where both are there, the first one has the limit.
    let of_version_1 = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == "memory")
            .then_some(path)
    });
    if let Some(path) = of_version_1 {
        return read_group(&root.join("memory"), path, &VERSION_1);
    }
    match groups.lines().find_map(|line| line.strip_prefix("0::")) {
        Some(path) => read_group(root, path, &VERSION_2),
        None => ControlGroup::default(),
    }
}

/// In a container the path may be the one outside, which is not there: then the root is the container's own group.
fn read_group(root: &Path, path: &str, files: &Files) -> ControlGroup {
    let own = root.join(path.trim_start_matches('/'));
    let own = if own.is_dir() { own } else { root.to_owned() };
    ControlGroup {
        limit: lowest_limit(root, own.clone(), files.limit),
        current: read_number(&own.join(files.current)),
    }
}

/// What a group may use is what all above it may, too.
fn lowest_limit(root: &Path, mut group: PathBuf, file: &str) -> Reading {
    let mut lowest = Reading::Unavailable;
    loop {
        lowest = match (lowest, read_number(&group.join(file))) {
            (Reading::Bytes(one), Reading::Bytes(other)) => Reading::Bytes(one.min(other)),
            (known @ Reading::Bytes(_), _) | (known, Reading::Unavailable) => known,
            (_, read) => read,
        };
        if group == root || !group.pop() || !group.starts_with(root) {
            return lowest;
        }
    }
}

fn read_number(file: &Path) -> Reading {
    let Ok(text) = fs::read_to_string(file) else {
        return Reading::Unavailable;
    };
    match text.trim() {
        "max" => Reading::Unlimited,
        text => match text.parse::<u64>() {
            Ok(bytes) if bytes >= NO_LIMIT_OF_VERSION_1 => Reading::Unlimited,
            read => read.ok().into(),
        },
    }
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

        fn read(&self, groups: &str) -> ControlGroup {
            control_group_below(self.0.path(), groups)
        }
    }

    #[test]
    fn the_kernels_kibibytes_are_read_as_bytes_and_what_is_missing_is_unavailable() {
        let status = "Name:\tserver\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(kibibytes_in(status, "VmRSS:"), Some(2 << 20));
        assert_eq!(kibibytes_in(status, "VmHWM:"), Some(4 << 20));
        for broken in [
            "",
            "VmRSS:\n",
            "VmRSS:\t x kB\n",
            "VmRSS:\t18446744073709551615 kB\n",
        ] {
            assert_eq!(kibibytes_in(broken, "VmRSS:"), None, "{broken:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_peak_that_is_no_less_than_what_is_resident() {
        let Resident { resident, peak } = resident();
        let (resident, peak) = (resident.bytes().unwrap(), peak.bytes().unwrap());
        assert!(
            resident > 100_000 && peak + (1 << 20) >= resident,
            "{resident} {peak}"
        );
    }

    #[test]
    fn of_version_2_the_lowest_limit_on_the_way_up_counts() {
        let tree = Tree::of(&[
            ("a/memory.max", "1000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "77\n"),
        ]);
        let group = tree.read("0::/a/b\n");
        assert_eq!(group.limit, Reading::Bytes(1000));
        assert_eq!(group.current, Reading::Bytes(77));
    }

    #[test]
    fn without_a_limit_it_says_so_and_without_a_file_it_says_nothing() {
        let tree = Tree::of(&[("a/memory.max", "max\n")]);
        assert_eq!(tree.read("0::/a\n").limit, Reading::Unlimited);
        assert_eq!(tree.read("0::/a\n").current, Reading::Unavailable);
        assert_eq!(Tree::of(&[]).read("0::/a\n"), ControlGroup::default());
        assert_eq!(tree.read("nonsense"), ControlGroup::default());
        let broken = Tree::of(&[("memory.max", "-5\n"), ("memory.current", "")]);
        assert_eq!(broken.read("0::/\n"), ControlGroup::default());
    }

    #[test]
    fn in_a_container_whose_path_is_the_one_outside_the_root_is_read() {
        let tree = Tree::of(&[("memory.max", "5000\n"), ("memory.current", "6\n")]);
        let group = tree.read("0::/../../docker/0123abcd\n");
        assert_eq!(group.limit, Reading::Bytes(5000));
        assert_eq!(group.current, Reading::Bytes(6));
    }

    #[test]
    fn version_1_has_files_and_a_word_for_no_limit_of_its_own() {
        let tree = Tree::of(&[
            ("memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.usage_in_bytes", "9\n"),
        ]);
        let group = tree.read("11:cpu:/x\n5:hugetlb,memory:/a\n0::/y\n");
        assert_eq!(group.limit, Reading::Unlimited);
        assert_eq!(group.current, Reading::Bytes(9));
    }
}
