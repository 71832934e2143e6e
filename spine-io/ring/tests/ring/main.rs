//! The FIFO between an application and its adapter: at its edges, between two ends, against a hostile one, and over
//! every interleaving.

mod common;
mod edges;
mod ends;
mod hostile;
mod model;
