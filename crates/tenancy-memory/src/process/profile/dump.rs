//! What jemalloc writes: a line of stacks, a line of what they hold, and how the program is mapped.

/// A dump, with what is live scaled up from what was sampled.
#[derive(Debug, PartialEq)]
pub(super) struct Dump {
    /// Bytes between two samples, on average.
    pub(super) rate: u64,
    pub(super) stacks: Vec<Stack>,
    pub(super) mappings: Vec<Mapping>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Stack {
    /// Innermost first.
    pub(super) addresses: Vec<u64>,
    pub(super) objects: i64,
    pub(super) bytes: i64,
}

#[derive(Debug, PartialEq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) file: String,
}

impl Dump {
    /// `None` if it is not of version 2. Lines that mean nothing are left out.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        // Names of files may be of any bytes.
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines();
        let rate: u64 = lines.next()?.strip_prefix("heap_v2/")?.trim().parse().ok()?;
        let mut dump = Self {
            rate,
            stacks: Vec::new(),
            mappings: Vec::new(),
        };
        let mut addresses = None;
        while let Some(line) = lines.next() {
            if line.starts_with("MAPPED_LIBRARIES:") {
                dump.mappings = lines.filter_map(mapping).collect();
                break;
            }
            if let Some(stack) = line.strip_prefix('@') {
                addresses = Some(stack.split_whitespace().filter_map(hexadecimal).collect());
            } else if let Some(held) = line.trim_start().strip_prefix("t*:") {
                // The first such line has no stack: it is the sum of all.
                if let (Some(addresses), Some((objects, bytes))) = (addresses.take(), counts(held)) {
                    dump.stacks.push(scaled(addresses, objects, bytes, rate));
                }
            }
        }
        Some(dump)
    }
}

/// ` 13: 6688 [0: 0]`
fn counts(held: &str) -> Option<(u64, u64)> {
    let (objects, rest) = held.split_once(':')?;
    let bytes = rest.split_whitespace().next()?;
    Some((objects.trim().parse().ok()?, bytes.parse().ok()?))
}

/// A block of `size` bytes is sampled with probability 1 − e^(−size/rate); as many more there are.
fn scaled(addresses: Vec<u64>, objects: u64, bytes: u64, rate: u64) -> Stack {
    let size = bytes as f64 / objects.max(1) as f64;
    let seen = -(-size / rate.max(1) as f64).exp_m1();
    let scale = if seen > 0.0 { 1.0 / seen } else { 1.0 };
    Stack {
        addresses,
        objects: (objects as f64 * scale).round() as i64,
        bytes: (bytes as f64 * scale).round() as i64,
    }
}

fn hexadecimal(number: &str) -> Option<u64> {
    u64::from_str_radix(number.strip_prefix("0x").unwrap_or(number), 16).ok()
}

/// `55d0c3a00000-55d0c3b00000 r-xp 00010000 08:01 1234   /usr/bin/server`; those with code, of a file.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let offset = fields.next()?;
    let file = fields.nth(2)?;
    // A name may have blanks in it.
    let file = line.get(line.find(file)?..)?.trim_end();
    (rights.contains('x') && file.starts_with('/')).then_some(())?;
    Some(Mapping {
        start: hexadecimal(start)?,
        end: hexadecimal(end)?,
        offset: hexadecimal(offset)?,
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "heap_v2/524288
  t*: 3: 1056832 [0: 0]
  t0: 3: 1056832 [0: 0]
@ 0x10010 0x10020
  t*: 1: 1048576 [0: 0]
  t0: 1: 1048576 [0: 0]
@ 0x10030
  t*: 2: 8256 [0: 0]
  t0: 2: 8256 [0: 0]

MAPPED_LIBRARIES:
00010000-00020000 r-xp 00001000 08:01 77    /srv/my server
00020000-00030000 rw-p 00000000 00:00 0     [heap]
00030000-00040000 r--p 00000000 08:01 78    /usr/lib/libc.so
";

    #[test]
    fn stacks_are_read_and_scaled_up_and_only_mapped_code_is_kept() {
        let dump = Dump::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(dump.rate, 524_288);
        let [large, small] = dump.stacks.as_slice() else {
            panic!("{dump:?}")
        };
        assert_eq!(large.addresses, [0x10010, 0x10020]);
        // Two rates large: e^-2 of such blocks are not seen.
        assert_eq!((large.objects, large.bytes), (1, 1_212_697));
        assert_eq!(small.objects, 255);
        let [code] = dump.mappings.as_slice() else {
            panic!("{dump:?}")
        };
        assert_eq!((code.start, code.end, code.offset), (0x10000, 0x20000, 0x1000));
        assert_eq!(code.file, "/srv/my server");
    }

    #[test]
    fn a_mapped_file_may_have_a_name_that_is_no_text() {
        let dump = Dump::parse(b"heap_v2/1\nMAPPED_LIBRARIES:\n1-2 r-xp 0 08:01 77 /srv/\xff\n").unwrap();
        assert_eq!(dump.mappings[0].file, "/srv/\u{fffd}");
    }

    #[test]
    fn what_is_no_dump_is_none_and_broken_lines_are_left_out() {
        assert_eq!(Dump::parse(b""), None);
        assert_eq!(Dump::parse(b"heap profile: 1"), None);
        let broken =
            "heap_v2/0\n@ 0xzz 0x1\n t*: x: 1\n@\n t*: 0: 0 [0: 0]\nMAPPED_LIBRARIES:\nx\n1-2 r-xp\n";
        let dump = Dump::parse(broken.as_bytes()).unwrap();
        assert_eq!((dump.stacks.len(), dump.mappings.len()), (1, 0));
    }
}
