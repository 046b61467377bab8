use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNAVAILABLE: &str = "unavailable";
const UNLIMITED: &str = "unlimited";

/// Bytes, if they could be read. In JSON a whole number, `"unlimited"` or `"unavailable"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// So many.
    Bytes(u64),
    /// Of limits: there is none.
    Unlimited,
    /// Nobody says.
    #[default]
    Unavailable,
}

impl Reading {
    /// The number, where there is one.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unlimited | Self::Unavailable => None,
        }
    }

    /// How much this is more than the other, and nothing where it is less. Unavailable where either is no number.
    pub fn beyond(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bytes(this), Self::Bytes(other)) => Self::Bytes(this.saturating_sub(other)),
            _ => Self::Unavailable,
        }
    }
}

impl From<Option<u64>> for Reading {
    fn from(bytes: Option<u64>) -> Self {
        bytes.map_or(Self::Unavailable, Self::Bytes)
    }
}

/// As people read it: `12.3 MiB`.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => HumanBytes(*bytes).fmt(f),
            Self::Unlimited => f.pad(UNLIMITED),
            Self::Unavailable => f.pad(UNAVAILABLE),
        }
    }
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_u64(*bytes),
            Self::Unlimited => serializer.serialize_str(UNLIMITED),
            Self::Unavailable => serializer.serialize_str(UNAVAILABLE),
        }
    }
}

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadingVisitor)
    }
}

struct ReadingVisitor;

impl de::Visitor<'_> for ReadingVisitor {
    type Value = Reading;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, \"unlimited\" or \"unavailable\"")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Reading, E> {
        Ok(Reading::Bytes(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Reading, E> {
        match text {
            UNLIMITED => Ok(Reading::Unlimited),
            UNAVAILABLE => Ok(Reading::Unavailable),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

/// Bytes as people read them: `512 B`, `12.3 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanBytes(pub u64);

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // What would be written as 1024.0 is one of the next unit.
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        f.pad(&format!("{value:.1} {}", UNITS[unit]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_people_read_them() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (200 << 20, "200.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(HumanBytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_known_is_a_word_and_never_zero() {
        let all = [Reading::Bytes(7), Reading::Unlimited, Reading::Unavailable];
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"[7,"unlimited","unavailable"]"#);
        assert_eq!(serde_json::from_str::<[Reading; 3]>(&json).unwrap(), all);
        assert!(serde_json::from_str::<Reading>("-1").is_err());
        assert_eq!(
            Reading::Bytes(7).beyond(Reading::Unavailable),
            Reading::Unavailable
        );
        assert_eq!(Reading::Bytes(7).beyond(Reading::Bytes(9)), Reading::Bytes(0));
    }
}
