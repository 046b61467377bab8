mod model;
mod simulation;
mod tables;
mod threads;
mod world;
