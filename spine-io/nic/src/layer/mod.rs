//! Layers: the trait [`Nic`](crate::Nic) stacked on another, to record it, to show it, to disturb it, or to join several queues.

pub mod capture;
pub mod fault;
pub mod multiqueue;
pub mod tap;
