//! The example server.
