//! Sketches and a node's minutes as bytes. What is read may come from an older program, or from anybody.

use std::fmt;

use super::sketch::{COARSEST, END_OF_INDICES, Sketch};

const SKETCH_VERSION: u8 = 1;
const MINUTE_VERSION: u8 = 1;
const LONGEST_NAME: usize = 255;

/// These bytes are no figures of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(super) &'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Sketch {
    /// Version, shift, count, errors, sum, smallest, largest, and each bucket as its distance from the last and its count.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend([SKETCH_VERSION, self.shift]);
        put_number(bytes, self.count);
        put_number(bytes, self.errors);
        for value in [self.sum, self.min, self.max] {
            bytes.extend(value.to_le_bytes());
        }
        put_number(bytes, self.buckets.len() as u64);
        let mut last = 0;
        for (index, count) in &self.buckets {
            put_number(bytes, u64::from(index - last));
            put_number(bytes, *count);
            last = *index;
        }
    }

    /// As [`encode`](Self::encode); buckets are made wider until the bytes are no more than these.
    pub(super) fn encode_within(&mut self, limit: usize) -> Box<[u8]> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.encode(&mut bytes);
            if bytes.len() <= limit || self.shift >= COARSEST {
                return bytes.into_boxed_slice();
            }
            self.coarsen_to(self.shift + 1);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let sketch = Self::read(&mut reader)?;
        if reader.0.is_empty() {
            Ok(sketch)
        } else {
            Err(Unreadable("there are bytes behind the figures"))
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Unreadable> {
        if reader.byte()? != SKETCH_VERSION {
            return Err(Unreadable("the figures are of another version"));
        }
        let shift = reader.byte()?;
        if shift > COARSEST {
            return Err(Unreadable("the buckets are wider than any are made"));
        }
        let (count, errors) = (reader.number()?, reader.number()?);
        let (sum, min, max) = (reader.value()?, reader.value()?, reader.value()?);
        if errors > count || min > max {
            return Err(Unreadable("the figures contradict each other"));
        }
        let buckets = Self::read_buckets(reader, shift, count)?;
        Ok(Self {
            count,
            errors,
            sum,
            min,
            max,
            shift,
            buckets,
        })
    }

    fn read_buckets(reader: &mut Reader<'_>, shift: u8, count: u64) -> Result<Vec<(u16, u64)>, Unreadable> {
        let number = reader.number()?;
        // Each takes two bytes at least, so nothing is reserved that was not sent.
        if number > reader.0.len() as u64 / 2 {
            return Err(Unreadable("there are fewer buckets than announced"));
        }
        let end = u64::from((END_OF_INDICES - 1) >> shift);
        let mut buckets = Vec::with_capacity(number as usize);
        let (mut index, mut total) = (0_u64, 0_u64);
        for place in 0..number {
            let distance = reader.number()?;
            if distance == 0 && place > 0 {
                return Err(Unreadable("a bucket is there twice"));
            }
            index = index.saturating_add(distance);
            let values = reader.number()?;
            if index > end || values == 0 {
                return Err(Unreadable("there is no such bucket"));
            }
            total = total.saturating_add(values);
            buckets.push((index as u16, values));
        }
        if total == count {
            Ok(buckets)
        } else {
            Err(Unreadable("the buckets do not have as many values as there are"))
        }
    }
}

/// The figures of one metric and one label in one minute of one node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MinuteFigures<'a> {
    pub(crate) label: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) sketch: &'a [u8],
}

/// All figures of a node's minute: a version, then for each its label, its metric and its sketch.
pub(crate) struct MinuteWriter(Vec<u8>);

impl MinuteWriter {
    pub(crate) fn new() -> Self {
        Self(vec![MINUTE_VERSION])
    }

    pub(crate) fn put(&mut self, figures: &MinuteFigures<'_>) {
        for part in [
            figures.label.as_bytes(),
            figures.metric.as_bytes(),
            figures.sketch,
        ] {
            put_number(&mut self.0, part.len() as u64);
            self.0.extend(part);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Goes through a node's minute. Ends behind the first thing that can not be read.
pub(crate) struct MinuteReader<'a>(Reader<'a>);

impl<'a> MinuteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        if reader.byte()? == MINUTE_VERSION {
            Ok(Self(reader))
        } else {
            Err(Unreadable("the minute is of another version"))
        }
    }

    fn read(&mut self) -> Result<MinuteFigures<'a>, Unreadable> {
        Ok(MinuteFigures {
            label: self.0.name()?,
            metric: self.0.name()?,
            sketch: self.0.part()?,
        })
    }
}

impl<'a> Iterator for MinuteReader<'a> {
    type Item = Result<MinuteFigures<'a>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0.0 = &[];
        }
        Some(read)
    }
}

/// Seven bits a byte, the lowest first.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Unreadable("the bytes end too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        self.take(1)?
            .first()
            .copied()
            .ok_or(Unreadable("the bytes end too early"))
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0_u64;
        for place in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * place);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable("a number is too large"))
    }

    /// A value that could have been recorded.
    fn value(&mut self) -> Result<f64, Unreadable> {
        let bytes = self.take(8)?;
        let bytes = bytes
            .try_into()
            .map_err(|_| Unreadable("the bytes end too early"))?;
        let value = f64::from_le_bytes(bytes);
        if value.is_finite() && value.is_sign_positive() {
            Ok(value)
        } else {
            Err(Unreadable("a value is none that can be recorded"))
        }
    }

    fn part(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.number()?;
        let length = usize::try_from(length).map_err(|_| Unreadable("the bytes end too early"))?;
        self.take(length)
    }

    fn name(&mut self) -> Result<&'a str, Unreadable> {
        let part = self.part()?;
        if part.len() > LONGEST_NAME {
            return Err(Unreadable("a name is too long"));
        }
        str::from_utf8(part).map_err(|_| Unreadable("a name is no text"))
    }
}
