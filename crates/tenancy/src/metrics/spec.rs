//! What is measured.

use std::borrow::Cow;

/// The name under which windows have the time that requests take.
pub const REQUEST_DURATION: &str = "http.request.duration";

/// A figure that is recorded: its name, its unit, and which values are told apart.
///
/// 32 octaves of values are: what lies below is counted as the lowest, what lies above as the highest. Smallest and largest
/// values are exact nevertheless. An average is of values rounded to a 16th of the lowest, and no higher than the highest.
///
/// ```
/// use tenancy::metrics::MetricSpec;
///
/// let spec = MetricSpec::seconds("checkout.duration");
/// let fine = MetricSpec::number("exchange.rate").from_lowest(0.000_001);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSpec {
    pub(super) name: Cow<'static, str>,
    suffix: &'static str,
    pub(super) lowest: f64,
}

impl MetricSpec {
    fn new(name: impl Into<Cow<'static, str>>, suffix: &'static str, lowest: f64) -> Self {
        Self {
            name: name.into(),
            suffix,
            lowest,
        }
    }

    /// Times in seconds, from a microsecond to an hour. Exported with `_seconds` behind its name.
    pub fn seconds(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "_seconds", f64::from(-20).exp2())
    }

    /// Sizes in bytes, from 64 bytes to 256 GiB. Exported with `_bytes` behind its name.
    pub fn bytes(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "_bytes", 64.0)
    }

    /// Anything else, from 0.001 to four million.
    pub fn number(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "", f64::from(-10).exp2())
    }

    /// Tells values apart from this one on, or from the power of two below it.
    #[must_use]
    pub fn from_lowest(mut self, lowest: f64) -> Self {
        self.lowest = lowest;
        self
    }

    pub(super) fn request_duration() -> Self {
        Self::seconds(REQUEST_DURATION)
    }

    /// Dots are not allowed there.
    pub(super) fn exported_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        name.push_str(self.suffix);
        name
    }

    pub(super) fn mistakes(&self) -> Option<String> {
        let name = &self.name;
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        let is_name_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        if !begins || name.len() > 64 || !name.bytes().all(is_name_byte) {
            let cut: String = name.chars().take(64).collect();
            return Some(format!(
                "{cut:?} is no name of a metric: a-z, 0-9, '_' and '.', 64 at most, a letter first"
            ));
        }
        let can_be_lowest = self.lowest.is_normal() && (1e-100..=1e100).contains(&self.lowest);
        (!can_be_lowest).then(|| {
            format!(
                "the metric {name} can not begin at {}: 1e-100 to 1e100",
                self.lowest
            )
        })
    }
}
