mod counting;
mod sketches;
mod threads;
