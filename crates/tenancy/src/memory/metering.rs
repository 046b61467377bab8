//! The part that a future keeps beside it. Nothing, where the crate is compiled without the meter.

use axum::body::{Body, HttpBody};
use http::{Response, header::CONTENT_LENGTH};
use tenancy_memory::{Account, Part, Purpose, part_of_purpose};

use super::{account::Keeper, body::MeteredBody, extract::RequestMemory};

#[derive(Debug, Default)]
pub(crate) struct Metering {
    part: Option<Part>,
    in_extensions: bool,
}

impl Metering {
    pub(crate) fn of(account: &Account, keeper: &Keeper) -> Self {
        Self {
            part: Some(account.part()),
            in_extensions: keeper.settings.in_extensions,
        }
    }

    /// A part for what is started here, of the account that is open here.
    pub(crate) fn carried() -> Self {
        Self {
            part: Part::of_current(),
            in_extensions: false,
        }
    }

    /// What runs in it is the cache's.
    pub(crate) fn of_cache() -> Self {
        Self {
            part: Some(part_of_purpose(Purpose::Cache)),
            in_extensions: false,
        }
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.part.is_some()
    }

    #[inline(always)]
    pub(crate) fn run<R>(&mut self, run: impl FnOnce() -> R) -> R {
        match &mut self.part {
            Some(part) => part.run(run),
            None => run(),
        }
    }

    /// Ends the account with the response, or hands it to the body.
    ///
    /// Data that is all there has no code left to run, unless it says so: its length is known. Wrapping it would cost an allocation.
    pub(crate) fn finish(self, response: &mut Response<Body>) {
        let Some(part) = self.part else { return };
        let Some(account) = part.account() else { return };
        if self.in_extensions {
            response
                .extensions_mut()
                .insert(RequestMemory::of(account.clone()));
        }
        let exact = response.body().size_hint().exact();
        match exact {
            Some(length) if response.extensions().get::<RunsCode>().is_none() => {
                account.meter().add_escaped(length);
                account.meter().set_complete();
            }
            _ => {
                let body = std::mem::take(response.body_mut());
                let length = exact.or_else(|| told_length(response));
                *response.body_mut() = Body::new(MeteredBody::new(body, part, length));
            }
        }
    }
}

/// Stands in the extensions of a response whose body's length is known, and which runs code when it ends.
#[derive(Clone, Copy, Debug)]
struct RunsCode;

/// The account has to be open until the body ends. In the extensions, for the account may be one of a layer further out.
pub(crate) fn mark_as_running_code(response: &mut Response<Body>) {
    response.extensions_mut().insert(RunsCode);
}

/// As the headers say it, once and in digits.
fn told_length(response: &Response<Body>) -> Option<u64> {
    let mut told = response.headers().get_all(CONTENT_LENGTH).iter();
    let length = told.next()?.to_str().ok()?.parse().ok()?;
    told.next().is_none().then_some(length)
}
