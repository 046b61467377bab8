//! Values that are shown nowhere: passwords and tokens of a tenant's settings.
//!
//! * [`Secret`] prints as `[redacted]`: in `Debug`, in `Display` and therefore in logs, and in what it serialises to.
//! * It deserialises as the value itself, so that it can stand in the type that [`Tenant::settings`] parses.
//! * The value is overwritten in memory when it is dropped.
//! * [`expose`](Secret::expose) is the one way to the value: easy to find in a review.
//!
//! **Caveats.** What was copied out is not followed. Serialising settings and storing them again loses the secret, for
//! `[redacted]` is what is written; change stored settings as JSON instead. The text that settings are parsed from, the
//! record's `settings`, holds the secret in the clear.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::{MemoryStore, Secret, Tenancy, resolve::Subdomain};
//!
//! #[derive(Debug, serde::Deserialize)]
//! struct Mail {
//!     host: String,
//!     password: Secret<String>,
//! }
//!
//! let store = MemoryStore::of(["acme"])?;
//! let settings = r#"{"host":"mail.acme.example","password":"hunter2"}"#;
//! store.update(&"acme".parse()?, |record| record.settings = Some(settings.into())).await?;
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, store);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//!
//! let mail = acme.settings::<Mail>()?;
//! assert_eq!(mail.password.expose(), "hunter2");
//! assert!(!format!("{mail:?}").contains("hunter2"));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! use tenancy::Secret;
//!
//! let token = Secret::new("s3cr3t".to_owned());
//! assert_eq!(format!("{token} {token:?}"), "[redacted] Secret([redacted])");
//! assert_eq!(serde_json::to_string(&token)?, r#""[redacted]""#);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! [`Tenant::settings`]: crate::Tenant::settings

use std::fmt;

use secrecy::{ExposeSecret, SecretBox, zeroize::Zeroize};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SHOWN: &str = "[redacted]";

/// A value that is shown nowhere. See the [module](self).
///
/// The value is any type that knows how to overwrite itself (`Zeroize` of the `zeroize` crate): texts, vectors, arrays
/// and numbers do. Two secrets are not compared by `==`, which would tell by its time how much of them is equal.
pub struct Secret<T: Zeroize> {
    value: SecretBox<T>,
}

impl<T: Zeroize> Secret<T> {
    /// Keeps a value. Moves it to the heap; the place it came from is not overwritten.
    pub fn new(value: T) -> Self {
        Self {
            value: SecretBox::new(Box::new(value)),
        }
    }

    /// The value itself.
    pub fn expose(&self) -> &T {
        self.value.expose_secret()
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self::new(self.expose().clone())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({SHOWN})")
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(SHOWN)
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The type's own error may quote the value.
        let value = T::deserialize(deserializer);
        value
            .map(Self::new)
            .map_err(|_| de::Error::custom("a secret does not have the expected shape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Settings {
        user: String,
        password: Secret<String>,
        pin: Option<Secret<u32>>,
    }

    const JSON: &str = r#"{"user":"mail","password":"hunter2","pin":4711}"#;

    #[test]
    fn a_secret_of_settings_is_read_and_never_written() {
        let settings: Settings = serde_json::from_str(JSON).unwrap();
        assert_eq!(settings.password.expose(), "hunter2");
        assert_eq!(settings.pin.as_ref().map(Secret::expose), Some(&4711));
        assert_eq!(settings.clone().password.expose(), "hunter2");
        let shown = [
            format!("{settings:?}"),
            format!("{settings:#?}"),
            format!("{:>20} {:?}", settings.password, settings.pin),
            serde_json::to_string(&settings).unwrap(),
            serde_json::to_value(&settings).unwrap().to_string(),
        ];
        for shown in shown {
            assert!(shown.contains(SHOWN), "{shown}");
            assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
        }
    }

    #[test]
    fn an_error_does_not_quote_the_secret() {
        let quoting = serde_json::from_str::<u32>(r#""hunter2""#).unwrap_err();
        assert!(quoting.to_string().contains("hunter2"), "what is guarded against");
        for json in [
            r#"{"user":"a","password":"b","pin":"hunter2"}"#,
            r#"{"user":"a","password":["hunter2"]}"#,
        ] {
            let error = serde_json::from_str::<Settings>(json).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("secret") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_secret_in_a_log_is_redacted() {
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let secret = Secret::new("hunter2".to_owned());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(token = %secret, again = ?secret, "signed in");
        });
        let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(
            written.contains(SHOWN) && !written.contains("hunter2"),
            "{written}"
        );
    }
}
