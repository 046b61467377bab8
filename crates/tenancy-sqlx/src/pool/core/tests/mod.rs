mod model;
mod tables;
mod world;
