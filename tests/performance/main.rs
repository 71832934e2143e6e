//! What is measured, one after the other: the bars that figures must reach on whatever machine this is.
//!
//! Ratios, differences and counts: how fast a machine is is its own business.

mod bare;
mod dispatcher;
mod economy;
