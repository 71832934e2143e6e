//! AF_XDP: packets from the driver into our frames, and back, by descriptor.
//!
//! One [`SharedUmem`] holds the frames of the whole process, and every socket uses it, so that a packet
//! goes from one interface to another without a copy. A [`XdpNic`] is one socket: one queue of one
//! interface. Which packets it gets is decided by the classifier ([`attach`]).
//!
//! The order of setting up: attach the classifier (which says native or generic), bind a socket for
//! each queue, put them into the classifier's map, tell it to claim packets.
//!
//! What `xsk-rs` marks unsafe, and the socket options no crate has, are in `sys.rs`.

pub mod attach;
mod socket;
mod sys;
mod umem;

use std::io;

pub use socket::{XdpMode, XdpNic, XdpOptions};
pub use umem::{Rings, SharedUmem};

use crate::buffer::MemoryError;

/// Why there is no AF_XDP socket, or no memory for its frames.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// Frames of a size or number that cannot be.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A ring's size is not a power of two.
    #[error("an AF_XDP ring of {0} descriptors is not possible: take a power of two")]
    RingSize(u32),
    /// The kernel did not register the frames.
    #[error("the kernel refused {frames} frames of {bytes} bytes for AF_XDP: {source}")]
    Umem {
        /// How many were asked for.
        frames: u32,
        /// Bytes of each.
        bytes: usize,
        /// What it said.
        source: io::Error,
    },
    /// No interface has that name.
    #[error("there is no interface {interface:?} in this network namespace")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The interface has fewer queues.
    #[error("{interface} has no queue {queue}, only {queues}: see ethtool -l {interface}")]
    NoQueue {
        /// The interface.
        interface: String,
        /// The queue that was asked for.
        queue: u32,
        /// How many there are.
        queues: u32,
    },
    /// Another socket has the queue, and kept it for the second we waited.
    #[error("queue {queue} of {interface} is taken by another AF_XDP socket: end its owner first")]
    Taken {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// The interface is not up.
    #[error("{interface} is down: ip link set dev {interface} up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// An interface bound before works without copies, and all that share frames work alike.
    #[error(
        "{interface} cannot do without copies, as the interfaces before it do: \
         ask for --xdp-mode copy for all of them"
    )]
    MixedModes {
        /// The interface.
        interface: String,
    },
    /// An interface that was to do without copies.
    #[error("the driver of {interface} cannot do without copies: ask for another --xdp-mode")]
    NoZeroCopy {
        /// The interface.
        interface: String,
    },
    /// The process may not open AF_XDP sockets.
    #[error("AF_XDP needs the capability CAP_NET_RAW: run as root, or grant it with setcap")]
    Permission,
    /// The kernel said something else.
    #[error("no AF_XDP socket on queue {queue} of {interface}: {source}")]
    Socket {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What it said.
        source: io::Error,
    },
}

/// How many receive queues an interface of this network namespace has.
///
/// Asks the driver; one that does not tell is looked up in `/sys/class/net`, and the answer is one
/// where that says nothing either.
///
/// # Errors
/// [`XdpError::NoInterface`].
pub fn queues(interface: &str) -> Result<u32, XdpError> {
    if nix::net::if_::if_nametoindex(interface).is_err() {
        return Err(XdpError::NoInterface { interface: interface.to_owned() });
    }
    if let Ok(queues) = sys::receive_channels(interface) {
        return Ok(queues.max(1));
    }
    let Ok(entries) = std::fs::read_dir(format!("/sys/class/net/{interface}/queues")) else {
        return Ok(1);
    };
    let is_receive = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"rx-");
    let found = entries.flatten().filter(|entry| is_receive(&entry.file_name())).count();
    Ok(u32::try_from(found).unwrap_or(u32::MAX).max(1))
}

/// The name of an interface's driver.
///
/// # Errors
/// What the kernel says; EOPNOTSUPP where there is none.
pub fn driver(interface: &str) -> io::Result<String> {
    sys::driver(interface)
}

/// Whether a driver takes VLAN tags from received packets (`rx-vlan-offload`), as far as it says.
pub fn strips_tags(interface: &str) -> bool {
    sys::strips_tags(interface)
}

/// The number behind an error of xsk-rs's, which keeps it as the source.
fn kernel_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let number = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    match number {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}
