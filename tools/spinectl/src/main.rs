//! The command line of a running spined.
fn main() {}
