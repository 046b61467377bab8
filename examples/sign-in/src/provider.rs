//! A stand-in for an identity provider: signs in whoever is named, and answers once for each code.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tenancy::core::BoxError;

/// What the provider says of a code, as the claims of an id token do.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) address: String,
    pub(crate) nonce: String,
}

/// Codes that wait to be exchanged. A real provider is somebody else's server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provider {
    codes: Arc<Mutex<HashMap<String, Claims>>>,
}

impl Provider {
    pub(crate) fn authorize(&self, claims: Claims) -> Result<String, BoxError> {
        let code = format!("{:016x}", getrandom::u64()?);
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.insert(code.clone(), claims);
        Ok(code)
    }

    pub(crate) fn exchange(&self, code: &str) -> Option<Claims> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(code)
    }
}
