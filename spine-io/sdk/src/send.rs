//! Small messages to the application and to other adapters (SPINE 3.1).

use spine_abi::{Endpoint, ErrorCode, HandlerNumber, Message, limits::ARGUMENT_BYTES};

use crate::buffer::count;
use crate::sys;

/// Queues a small message for the application. Needs the `host` domain.
///
/// # Errors
/// [`ErrorCode::BadMessage`]: more than 240 bytes of arguments; [`ErrorCode::Full`]: the FIFO to the
/// host is full.
pub fn send_to_host(handler: HandlerNumber, arguments: &[u8]) -> Result<(), ErrorCode> {
    count(sys::send_host(&small(handler, arguments)?)).map(|_| ())
}

/// Queues a small message for a handler on the adapter with the index `peer`. Needs the `peer` domain.
///
/// # Errors
/// As [`send_to_host`], and [`ErrorCode::NoEndpoint`]: there is no such adapter.
pub fn send_to_peer(peer: u16, handler: HandlerNumber, arguments: &[u8]) -> Result<(), ErrorCode> {
    count(sys::send_peer(peer, &small(handler, arguments)?)).map(|_| ())
}

fn small(handler: HandlerNumber, arguments: &[u8]) -> Result<Message, ErrorCode> {
    if arguments.len() > ARGUMENT_BYTES {
        return Err(ErrorCode::BadMessage);
    }
    // The runtime overwrites the source: an extension cannot speak for somebody else.
    Ok(Message::small(handler, Endpoint::Runtime, arguments))
}
