//! Every constant of the model, each with where it comes from.
//!
//! Much about this hardware was never published, or could not be read again. So no number stands alone: a [`Marked`]
//! constant says how it is known, and [`constants`] lists them all for whoever prints or doubts them.

mod behaviour;
mod board;
mod mark;

pub use board::{Config, Extra, SramSize, constants};
pub use mark::{Constant, Mark, Marked};
