//! Redis: see [`Redis`] and [`RedisCluster`].

mod cluster;
mod server;
mod wire;

pub use self::{
    cluster::RedisCluster,
    server::{Redis, RedisDatabase},
};
