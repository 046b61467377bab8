//! The list of tenants, for operators.

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde::Serialize;
use tenancy_core::TenantId;

use super::{TenantHealth, TenantReport, TenantState};

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1_000;

/// What is to be listed.
#[derive(Debug, PartialEq, Eq)]
struct Listing {
    state: Option<TenantState>,
    limit: usize,
}

#[derive(Serialize)]
struct Listed<'a> {
    active: usize,
    matching: usize,
    tenants: &'a [TenantReport],
}

#[derive(Serialize)]
struct Refused {
    error: &'static str,
}

impl TenantHealth {
    pub(in crate::health) fn routes(&self) -> Router {
        Router::new()
            .route("/health/tenants", get(list))
            .route("/health/tenants/{id}", get(show))
            .with_state(self.clone())
    }
}

async fn list(State(health): State<TenantHealth>, RawQuery(query): RawQuery) -> Response {
    let listing = match Listing::parse(query.as_deref().unwrap_or_default()) {
        Ok(listing) => listing,
        Err(error) => return json(StatusCode::BAD_REQUEST, &Refused { error }),
    };
    let mut tenants = health.active();
    let active = tenants.len();
    tenants.retain(|report| listing.state.is_none_or(|state| report.state == state));
    let matching = tenants.len();
    tenants.truncate(listing.limit);
    let listed = Listed {
        active,
        matching,
        tenants: &tenants,
    };
    json(StatusCode::OK, &listed)
}

/// A tenant that is not on the list is not told from one that there is not: nothing is asked.
async fn show(State(health): State<TenantHealth>, Path(id): Path<String>) -> Response {
    let known = id.parse::<TenantId>().ok().and_then(|id| health.find(&id));
    match known {
        Some(report) => json(StatusCode::OK, &report),
        None => json(
            StatusCode::NOT_FOUND,
            &Refused {
                error: "nothing was seen of such a tenant lately",
            },
        ),
    }
}

impl Listing {
    /// A misspelt filter must not list everything.
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut listing = Self {
            state: None,
            limit: DEFAULT_LIMIT,
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("state", state)) => {
                    let state = TenantState::parse(state).ok_or("state is down, degraded or up")?;
                    listing.state = Some(state);
                }
                Some(("limit", limit)) => {
                    let limit: usize = limit.parse().map_err(|_| "limit is a number from 1 to 1000")?;
                    listing.limit = limit.clamp(1, MOST);
                }
                _ => return Err("known are state and limit"),
            }
        }
        Ok(listing)
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_takes_what_it_knows_and_refuses_the_rest() {
        let listing = |state, limit| Ok(Listing { state, limit });
        for (query, expected) in [
            ("", listing(None, 100)),
            ("&&", listing(None, 100)),
            ("state=down", listing(Some(TenantState::Down), 100)),
            ("limit=7&state=up", listing(Some(TenantState::Up), 7)),
            ("limit=0", listing(None, 1)),
            ("limit=99999", listing(None, 1000)),
            (
                "limit=99999999999999999999999",
                Err("limit is a number from 1 to 1000"),
            ),
            ("limit=-1", Err("limit is a number from 1 to 1000")),
            ("limit=", Err("limit is a number from 1 to 1000")),
            ("state=", Err("state is down, degraded or up")),
            ("state=DOWN", Err("state is down, degraded or up")),
            ("state=%64own", Err("state is down, degraded or up")),
            ("states=down", Err("known are state and limit")),
            ("=", Err("known are state and limit")),
            ("state", Err("known are state and limit")),
        ] {
            assert_eq!(Listing::parse(query), expected, "{query}");
        }
    }
}
