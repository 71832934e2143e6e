//! The daemon that owns interfaces and lets several applications load extensions.
fn main() {}
