//! Redis: see [`Redis`], [`RedisCluster`] and [`RedisSentinel`].

mod cluster;
mod sentinel;
mod server;
mod wire;

pub use self::{
    cluster::RedisCluster,
    sentinel::RedisSentinel,
    server::{Redis, RedisDatabase},
};
