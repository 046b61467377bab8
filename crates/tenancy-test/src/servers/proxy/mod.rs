//! A proxy that hurts: see [`FaultProxy`].

mod carry;
mod server;
mod traffic;

pub use self::{
    server::{Fault, FaultProxy},
    traffic::{Burst, Traffic},
};
