//! The places a message can go besides a local handler: host, peer, network, kernel (SPINE 3.2).

pub mod allowance;
pub mod fifo;
mod outlets;
pub mod peer;

pub(crate) use fifo::Fifos;
pub(crate) use outlets::{NOBODY, Outlets};
