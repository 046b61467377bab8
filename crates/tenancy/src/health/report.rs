//! What is known at one moment, and how it reads.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::check::{Criticality, Finding};

/// How the whole, or a group, is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// It works, less well. Answered with 200.
    Degraded,
    /// It can not do its work. Answered with 503.
    Unhealthy,
}

impl HealthStatus {
    /// As the body of `/health` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    fn ietf(self) -> &'static str {
        match self {
            Self::Healthy => "pass",
            Self::Degraded => "warn",
            Self::Unhealthy => "fail",
        }
    }
}

/// How one check is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckStatus {
    /// It has not been up or down yet. Counts as down.
    Unknown,
    /// Up.
    Healthy,
    /// Up, with a warning.
    Degraded,
    /// Down.
    Unhealthy,
}

impl CheckStatus {
    /// As details say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether it is up, with a warning or without.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    fn ietf(self) -> &'static str {
        match self {
            Self::Healthy => "pass",
            Self::Degraded => "warn",
            Self::Unknown | Self::Unhealthy => "fail",
        }
    }
}

/// What is known of one check. For operators: it has error texts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// Its name.
    pub name: Arc<str>,
    /// How it is doing.
    pub status: CheckStatus,
    /// What its failure means.
    pub criticality: Criticality,
    /// Since when its status is this one, as time since 1970.
    pub since: Duration,
    /// When its last run ended, as time since 1970; `None` before the first.
    pub observed_at: Option<Duration>,
    /// How long its last run took.
    pub took: Duration,
    /// How many runs have failed in a row.
    pub failures: u32,
    /// Why its last run failed, or what it warned of.
    pub output: Option<Arc<str>>,
    /// The figure that it found.
    pub value: Option<f64>,
    /// That figure's unit.
    pub unit: &'static str,
}

impl CheckReport {
    /// What it makes of the whole.
    pub(super) fn weight(&self) -> HealthStatus {
        match (self.criticality, self.status) {
            (Criticality::Info, _) | (_, CheckStatus::Healthy) => HealthStatus::Healthy,
            (_, CheckStatus::Degraded)
            | (Criticality::Degrades, CheckStatus::Unknown | CheckStatus::Unhealthy) => {
                HealthStatus::Degraded
            }
            (Criticality::Critical, CheckStatus::Unknown | CheckStatus::Unhealthy) => HealthStatus::Unhealthy,
        }
    }

    pub(super) fn found(&mut self, finding: &Finding) {
        self.value = finding.value;
        self.unit = finding.unit;
        self.output = finding.warning.as_deref().map(presentable);
    }
}

/// What is known of the whole at one moment. For operators: it has error texts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HealthReport {
    /// How the whole is doing.
    pub status: HealthStatus,
    /// Each check, in the order in which they were added.
    pub checks: Vec<CheckReport>,
    /// When this was put together, as time since 1970.
    pub at: Duration,
}

pub(super) fn worst<'a>(checks: impl Iterator<Item = &'a CheckReport>) -> HealthStatus {
    checks
        .map(CheckReport::weight)
        .max()
        .unwrap_or(HealthStatus::Healthy)
}

/// The answers about some checks, ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: HealthStatus,
    pub(super) public: Bodies,
    pub(super) details: Bodies,
}

#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) json: Bytes,
    pub(super) ietf: Bytes,
}

/// What stands in a body.
#[derive(Clone, Copy)]
enum Depth {
    Status,
    Checks,
    Details,
}

impl Page {
    pub(super) fn of(checks: &[&CheckReport], at: Duration, shows_checks: bool) -> Self {
        let status = worst(checks.iter().copied());
        let said = Said {
            health: status,
            why: None,
            steps_left: &[],
        };
        let public = if shows_checks {
            Depth::Checks
        } else {
            Depth::Status
        };
        let timestamp = rfc_3339(at);
        let render = |depth| Bodies {
            json: to_bytes(&Json {
                said,
                checks,
                timestamp: &timestamp,
                depth,
            }),
            ietf: to_bytes(&Ietf { said, checks, depth }),
        };
        Self {
            status,
            public: render(public),
            details: render(Depth::Details),
        }
    }
}

/// What stands above the checks.
#[derive(Clone, Copy)]
struct Said<'a> {
    health: HealthStatus,
    /// Why it is not to be sent requests, however its checks are.
    why: Option<&'a str>,
    /// Steps of the start that are not done.
    steps_left: &'a [&'a str],
}

impl Bodies {
    /// Details of a process that is not to be sent requests, however its checks are: why, and the steps of its start that are not
    /// done.
    pub(super) fn of_unready(why: &str, steps_left: &[&str], checks: &[&CheckReport], at: Duration) -> Self {
        let said = Said {
            health: HealthStatus::Unhealthy,
            why: Some(why),
            steps_left,
        };
        let depth = Depth::Details;
        Self {
            json: to_bytes(&Json {
                said,
                checks,
                timestamp: &rfc_3339(at),
                depth,
            }),
            ietf: to_bytes(&Ietf { said, checks, depth }),
        }
    }
}

/// Text and numbers always serialize: what is not a number is `null`.
fn to_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// The keys of the health route that applications know: `status`, `checks`, `timestamp`.
struct Json<'a> {
    said: Said<'a>,
    checks: &'a [&'a CheckReport],
    timestamp: &'a str,
    depth: Depth,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let status = self.said.why.unwrap_or(self.said.health.as_str());
        map.serialize_entry("status", status)?;
        if !self.said.steps_left.is_empty() {
            map.serialize_entry("steps_left", self.said.steps_left)?;
        }
        match self.depth {
            Depth::Status => {}
            Depth::Checks => {
                map.serialize_entry("checks", &Map(self.checks, |check| check.status.is_up()))?;
            }
            Depth::Details => map.serialize_entry("checks", &Map(self.checks, CheckDetails::of))?,
        }
        map.serialize_entry("timestamp", self.timestamp)?;
        map.end()
    }
}

/// `draft-inadarei-api-health-check-06`.
struct Ietf<'a> {
    said: Said<'a>,
    checks: &'a [&'a CheckReport],
    depth: Depth,
}

impl Serialize for Ietf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", self.said.health.ietf())?;
        if let Some(why) = self.said.why {
            map.serialize_entry("output", why)?;
        }
        if !self.said.steps_left.is_empty() {
            map.serialize_entry("notes", self.said.steps_left)?;
        }
        match self.depth {
            Depth::Status => {}
            Depth::Checks => {
                map.serialize_entry("checks", &Map(self.checks, |check| [IetfStatus::of(check)]))?;
            }
            Depth::Details => {
                map.serialize_entry("checks", &Map(self.checks, |check| [IetfDetails::of(check)]))?;
            }
        }
        map.end()
    }
}

struct Map<'a, V>(&'a [&'a CheckReport], fn(&CheckReport) -> V);

impl<V: Serialize> Serialize for Map<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|check| (&*check.name, (self.1)(check))))
    }
}

#[derive(Serialize)]
struct CheckDetails {
    status: CheckStatus,
    criticality: Criticality,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
    took_ms: u64,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
}

impl CheckDetails {
    fn of(check: &CheckReport) -> Self {
        Self {
            status: check.status,
            criticality: check.criticality,
            since: rfc_3339(check.since),
            observed_at: check.observed_at.map(rfc_3339),
            took_ms: milliseconds(check.took),
            failures: check.failures,
            output: check.output.clone(),
            value: check.value,
            unit: check.unit,
        }
    }
}

#[derive(Serialize)]
struct IetfStatus {
    status: &'static str,
}

impl IetfStatus {
    fn of(check: &CheckReport) -> Self {
        Self {
            status: check.status.ietf(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IetfDetails {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    observed_unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Arc<str>>,
}

impl IetfDetails {
    fn of(check: &CheckReport) -> Self {
        Self {
            status: check.status.ietf(),
            time: check.observed_at.map(rfc_3339),
            observed_value: check.value,
            observed_unit: check.unit,
            output: check.output.clone(),
        }
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// To the millisecond, in UTC. What lies beyond the year 9999 has no such form, and is written as its last second.
pub(super) fn rfc_3339(since_1970: Duration) -> String {
    const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
    let moment = std::time::UNIX_EPOCH + since_1970.min(LAST_SECOND);
    humantime::format_rfc3339_millis(moment).to_string()
}

/// An error's text for operators: cut, in one line, and without what stands before the host of a URL.
pub(super) fn presentable(text: &str) -> Arc<str> {
    const LONGEST: usize = 300;
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after
            .find(|character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '`'))
            .unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        // Up to the last `@`: passwords may have one of their own, and a slash.
        shown.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = behind;
    }
    shown.push_str(rest);
    let shown = shown.chars().take(LONGEST);
    let shown: String = shown
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    shown.into()
}
