//! The way into the kernel for packets that only the extension found to be the kernel's.
//!
//! On AF_PACKET a packet cannot be put back in "as received" on its own interface: the socket would get
//! it again, and the rules that keep it from the kernel would drop it again. So it comes in by another
//! one: a veth made for this, whose other end lies in a network namespace that nobody sees and that
//! only this socket holds. However the process ends, the kernel removes the namespace with the socket,
//! and both ends with the namespace.
//!
//! The interface forwards and believes every sender ([`IFLA_INET_CONF`]); it has no address. (A TUN
//! device would do the same, but `/dev/net/tun` is not for everybody on every machine.)
//!
//! Left out: ICMP redirects, since no packet comes in where it goes out; and the kernel's rules for the
//! interface a packet really came from: where they would decide otherwise for this one, the router takes nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

use crate::netlink::socket::{NetlinkError, NetlinkSocket};
use crate::netlink::wire::{attribute, nested};
use crate::packet::{PacketError, PacketSender};
use crate::punt::inject;

/// Both ends, which only ever see each other.
const NEAR_MAC: [u8; 6] = [2, b's', b'p', b'i', b'n', b'e'];
const FAR_MAC: [u8; 6] = [2, b'i', b'o', b'r', b't', b'r'];
const FAR: &str = "far";
/// A packet of any length may have to go in.
const MTU: u32 = 65_535;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
/// struct ifinfomsg: family, type, index, flags, and which of the flags are changed.
const LINK_HEADER: usize = 16;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const AF_INET: u16 = 2;
const IFLA_INET_CONF: u16 = 1;
/// Settings of an interface, by number (linux/ip.h).
const FORWARDING: u16 = 1;
const RP_FILTER: u16 = 8;

/// Why there is no such way.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The namespace.
    #[error(
        "handing packets to the kernel takes a network namespace of our own (CAP_SYS_ADMIN; run as root, or in `unshare -Urn`): {0}"
    )]
    Namespace(io::Error),
    /// The interface.
    #[error("cannot make the interface that hands packets to the kernel: {0}")]
    Interface(#[from] NetlinkError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] PacketError),
    /// The thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// The way in.
pub(super) struct Entrance {
    sender: PacketSender,
    requests: NetlinkSocket,
    near: u32,
    frame: Vec<u8>,
}

impl Entrance {
    /// Makes it, in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, EntranceError> {
        let home = File::open("/proc/thread-self/ns/net").map_err(EntranceError::Namespace)?;
        let requests = NetlinkSocket::open(NETLINK_ROUTE)?;
        let name = format!("spine-{}", std::process::id());
        let sender = far_end(&home, &name)?;
        let near = if_nametoindex(name.as_str()).map_err(|error| NetlinkError::Refused {
            what: "index of an interface just made",
            error: error.into(),
        })?;
        // From here on it is removed if anything fails.
        let mut entrance = Self { sender, requests, near, frame: Vec::new() };
        let conf = [
            attribute(FORWARDING, &1_u32.to_ne_bytes()),
            attribute(RP_FILTER, &0_u32.to_ne_bytes()),
        ];
        let conf = nested(AF_INET, &nested(IFLA_INET_CONF, &conf.concat()));
        let up = [header(near, IFF_UP), nested(IFLA_AF_SPEC, &conf)].concat();
        entrance.requests.request("set an interface up", RTM_NEWLINK, 0, &up)?;
        Ok(entrance)
    }
}

/// Makes the pair, the near end under this name at home, in a thread that goes into a new namespace.
fn far_end(home: &File, name: &str) -> Result<PacketSender, EntranceError> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| EntranceError::Namespace(error.into()))?;
        let mut hidden = NetlinkSocket::open(NETLINK_ROUTE)?;
        let create = NLM_F_CREATE | NLM_F_EXCL;
        hidden.request("make a veth", RTM_NEWLINK, create, &pair(home, name))?;
        let far = if_nametoindex(FAR).map_err(|error| EntranceError::Namespace(error.into()))?;
        hidden.request("set a veth up", RTM_NEWLINK, 0, &header(far, IFF_UP))?;
        Ok(PacketSender::open(FAR)?)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("spine-entrance".to_owned());
        let thread = thread.spawn_scoped(scope, make).map_err(EntranceError::Thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What makes a veth with one end here and one at home.
fn pair(home: &File, name: &str) -> Vec<u8> {
    let end = |mac: [u8; 6], name: &str| {
        let name = [name.as_bytes(), &[0]].concat();
        [
            attribute(IFLA_ADDRESS, &mac),
            attribute(IFLA_IFNAME, &name),
            attribute(IFLA_MTU, &MTU.to_ne_bytes()),
        ]
        .concat()
    };
    let home = attribute(IFLA_NET_NS_FD, &home.as_raw_fd().to_ne_bytes());
    let near = [header(0, 0), end(NEAR_MAC, name), home].concat();
    let info = [
        attribute(IFLA_INFO_KIND, b"veth\0"),
        nested(IFLA_INFO_DATA, &nested(VETH_INFO_PEER, &near)),
    ];
    [header(0, 0), end(FAR_MAC, FAR), nested(IFLA_LINKINFO, &info.concat())].concat()
}

/// A message's fixed part: about the interface with this index, with these flags set.
fn header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = vec![0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

impl inject::Entrance for Entrance {
    fn admit(&mut self, _ifindex: u32, packet: &[u8]) -> io::Result<()> {
        let addresses = NEAR_MAC.len() + FAR_MAC.len();
        self.frame.clear();
        self.frame.extend(NEAR_MAC);
        self.frame.extend(FAR_MAC);
        self.frame.extend(packet.get(addresses..).unwrap_or_default());
        self.sender.send(&self.frame)
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // The kernel would do the same, but not at once.
        let gone = self.requests.request("remove a veth", RTM_DELLINK, 0, &header(self.near, 0));
        if let Err(error) = gone {
            tracing::debug!(%error, "left to the kernel");
        }
    }
}
