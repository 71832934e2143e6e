//! The paper's constants, each with its source.

pub mod plan;
