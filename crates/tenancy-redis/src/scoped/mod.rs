//! Redis for the application's own use: every key is one scope's, whatever it is called.

mod allowed;
mod command;
mod counter;
mod erase;
mod error;
mod guard;
mod handles;
mod lock;
mod messages;
mod names;
mod pages;
mod response;
mod values;

pub use self::{
    command::{RedisCommand, command},
    counter::{Counted, RedisCounter},
    erase::{EraseProgress, Erased, RedisErase},
    error::RedisCallError,
    guard::RedisGuard,
    handles::{CentralRedis, Redis, ScopedRedis, TenantRedis},
    lock::RedisLock,
    messages::Heard,
};

#[cfg(test)]
mod tests;
