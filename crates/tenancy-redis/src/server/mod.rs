//! One server, or whichever one is the master, and the few connections to it that all calls share.
//!
//! bb8 keeps the connections: how many, and that there are new ones for broken ones. What it hands out is cloned and given
//! back at once, since one connection carries many calls.

mod connection;
mod dial;
mod pool;
mod sentinel;

pub(crate) use self::{
    dial::{Dial, Limits},
    pool::{Alone, Server, is_of_a_replica},
    sentinel::{Sentinels, at},
};
