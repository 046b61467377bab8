use std::{
    cell::Cell,
    fmt::{self, Write as _},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Compact, Format, Full, Json, Writer},
        time::SystemTime,
    },
    registry::LookupSpan,
};

use self::sealed::Shape;
use crate::{Tenant, scope::current_tenant};

const NAME: &str = "tenant";
const LONGEST_VALUE: usize = 256;

thread_local! {
    /// Whether a field's value is being asked for. What that logs gets the id alone, or it would ask without end.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// A format of `tracing_subscriber` whose lines say for which tenant they were written. See the [module](super).
///
/// Made of the full, the compact or the JSON format: give it to `fmt::layer()` by `map_event_format`. Whether there
/// are colours is what the layer says; `with_ansi` of the format has no effect on lines of tenants.
pub struct TenantLines<F = Full, T = SystemTime> {
    format: Format<F, T>,
    fields: Vec<Field>,
}

struct Field {
    /// With its prefix: `tenant.plan`.
    name: String,
    value: Box<ValueOf>,
}

type ValueOf = dyn Fn(&Tenant) -> Option<String> + Send + Sync;

impl<F: LineShape, T> TenantLines<F, T> {
    /// Lines of this format, with `tenant`.
    pub fn new(format: Format<F, T>) -> Self {
        Self {
            format,
            fields: Vec::new(),
        }
    }

    /// Adds `tenant.` and this name, with what `value` knows of the tenant; `None` leaves it out. A name that is there
    /// already is replaced.
    ///
    /// `value` is called for each line of a tenant, on the thread that writes it: it must not wait. What it logs itself
    /// gets the id alone. Values are cut to 256 characters, and quoted in text where they are more than a word.
    ///
    /// ```
    /// use tenancy::log::TenantLines;
    ///
    /// let lines = TenantLines::new(tracing_subscriber::fmt::format())
    ///     .field("plan", |tenant| tenant.record().plan.clone());
    /// ```
    #[must_use]
    pub fn field<V: fmt::Display>(
        mut self,
        name: &'static str,
        value: impl Fn(&Tenant) -> Option<V> + Send + Sync + 'static,
    ) -> Self {
        let name = format!("{NAME}.{name}");
        self.fields.retain(|field| field.name != name);
        let value = move |tenant: &Tenant| {
            let text = value(tenant)?.to_string();
            Some(match text.char_indices().nth(LONGEST_VALUE) {
                Some((end, _)) => text[..end].to_owned(),
                None => text,
            })
        };
        self.fields.push(Field {
            name,
            value: Box::new(value),
        });
        self
    }

    fn each_field(&self, tenant: &Tenant, mut write: impl FnMut(&str, &str)) {
        write(NAME, tenant.id().as_str());
        let Some(_asking) = Asking::begin() else { return };
        for field in &self.fields {
            if let Some(value) = (field.value)(tenant) {
                write(&field.name, &value);
            }
        }
    }
}

impl<S, N, F, T> FormatEvent<S, N> for TenantLines<F, T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: LineShape + Clone,
    T: Clone,
    Format<F, T>: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(tenant) = current_tenant() else {
            return self.format.format_event(ctx, writer, event);
        };
        let has_colours = writer.has_ansi_escapes();
        let mut text = String::with_capacity(256);
        // A writer of our own can not be told of colours, the format can.
        let format = self.format.clone().with_ansi(has_colours);
        format.format_event(ctx, Writer::new(&mut text), event)?;
        let mut line = Line::open(text, F::SHAPE, has_colours);
        self.each_field(&tenant, |name, value| {
            if !line.has(event, name) {
                line.add(name, value);
            }
        });
        writer.write_str(&line.close())
    }
}

impl<F, T> fmt::Debug for TenantLines<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fields.iter().map(|field| &field.name);
        f.debug_struct("TenantLines")
            .field("fields", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The time during which a field's value is asked for.
struct Asking;

impl Asking {
    /// `None` while one is asked for already.
    fn begin() -> Option<Self> {
        let was_asking = ASKING.try_with(|asking| asking.replace(true)).unwrap_or(true);
        (!was_asking).then_some(Self)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = ASKING.try_with(|asking| asking.set(false));
    }
}

/// A format whose lines end in a way that is known.
pub trait LineShape: sealed::Sealed {}

impl<F: sealed::Sealed> LineShape for F {}

mod sealed {
    use super::{Compact, Full, Json};

    /// How a line looks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Shape {
        Text,
        Json,
    }

    pub trait Sealed {
        const SHAPE: Shape;
    }

    impl Sealed for Full {
        const SHAPE: Shape = Shape::Text;
    }

    impl Sealed for Compact {
        const SHAPE: Shape = Shape::Text;
    }

    impl Sealed for Json {
        const SHAPE: Shape = Shape::Json;
    }
}

/// A line whose end is open.
struct Line {
    text: String,
    shape: Shape,
    has_colours: bool,
}

impl Line {
    fn open(mut text: String, shape: Shape, has_colours: bool) -> Self {
        text.truncate(text.trim_end_matches('\n').len());
        if shape == Shape::Json && text.ends_with('}') {
            text.pop();
        }
        Self {
            text,
            shape,
            has_colours,
        }
    }

    /// Whether the event says that itself, where ours would stand: two fields of one name are worse than one.
    fn has(&self, event: &Event<'_>, name: &str) -> bool {
        let is_of_event = event.metadata().fields().field(name).is_some();
        // Within strings JSON escapes quotes, so that this is the object in which the event's own fields stand.
        let stands_apart = self.shape == Shape::Json && self.text.contains(r#""fields":{"#);
        is_of_event && !stands_apart
    }

    fn add(&mut self, name: &str, value: &str) {
        // Writing to a `String` can not fail.
        let _ = match self.shape {
            Shape::Json => {
                let comma = if self.text.ends_with('{') { "" } else { "," };
                let (name, value) = (serde_json::Value::from(name), serde_json::Value::from(value));
                write!(self.text, "{comma}{name}:{value}")
            }
            Shape::Text if self.has_colours => {
                write!(
                    self.text,
                    " \u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{}",
                    Word(value)
                )
            }
            Shape::Text => write!(self.text, " {name}={}", Word(value)),
        };
    }

    fn close(mut self) -> String {
        if self.shape == Shape::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }
}

/// As it is, or quoted: no value can look like another field or another line.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+@".contains(&b);
        if !self.0.is_empty() && self.0.bytes().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::tenant::tests::tenant;

    fn names_of(lines: &TenantLines<Full, ()>, tenant: &Tenant) -> Vec<String> {
        let mut names = Vec::new();
        lines.each_field(tenant, |name, _| names.push(name.to_owned()));
        names
    }

    fn lines() -> TenantLines<Full, ()> {
        TenantLines::new(tracing_subscriber::fmt::format().without_time())
    }

    #[test]
    fn what_a_field_logs_itself_gets_the_id_alone() {
        let inside = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&inside);
        let inner = lines().field("plan", |_| Some("pro"));
        let outer = lines().field("plan", move |tenant| {
            seen.lock().unwrap().extend(names_of(&inner, tenant));
            Some("pro")
        });
        let acme = tenant("acme");
        for _ in 0..2 {
            assert_eq!(names_of(&outer, &acme), ["tenant", "tenant.plan"]);
        }
        assert_eq!(*inside.lock().unwrap(), ["tenant", "tenant"]);
    }

    #[test]
    fn a_field_that_panics_is_asked_again() {
        let panicking = lines().field("plan", |_| -> Option<u8> { panic!("on purpose") });
        let acme = tenant("acme");
        for _ in 0..2 {
            let asked =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| names_of(&panicking, &acme)));
            assert!(asked.is_err());
        }
        assert_eq!(
            names_of(&lines().field("plan", |_| Some(1)), &acme),
            ["tenant", "tenant.plan"]
        );
    }
}
