//! What the fuzz targets do. The tests of tenancy-server include [`bodies`] too, and replay the seeds through it.

pub mod bodies;
