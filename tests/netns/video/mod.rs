//! `spine-video` between namespaces: the senders people have, faults, groups, several streams, windows.

mod beside_router;
mod desktop;
mod faults;
mod firewall;
mod hostile;
mod pixels;
mod screen;
mod senders;
mod several;
mod windows;

use spine_tests::{Link, Topology};

/// Where the receiver is: the namespace in the middle, on its interface to the sender.
const INTERFACE: &str = "sender";

/// A sender and a receiver.
fn net() -> Topology {
    Topology::star(&[Link::to(INTERFACE, 1)])
}

/// The receiver's address.
const ADDRESS: &str = "10.9.1.1";
/// The sender's address.
const SENDER: &str = "10.9.1.2";
