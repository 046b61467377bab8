mod model;
mod tables;
mod threads;
mod world;
