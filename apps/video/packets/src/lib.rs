//! What goes over the wire: pixel formats, and a picture as RTP packets (RFC 4175).
//!
//! A crate of its own, since a test that sends such packets to the receiver needs neither the receiver nor
//! the adapter. Reading packets is the extension's business.
#![forbid(unsafe_code)]

pub mod format;
pub mod packets;
