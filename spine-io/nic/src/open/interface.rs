//! An interface before it is opened: what the kernel says of it.

use netlink_packet_core::Parseable as _;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::OpenError;
use crate::netlink::socket::NetlinkSocket;

const RTM_GETLINK: u16 = 18;
/// Bytes of struct ifinfomsg.
const HEADER_BYTES: usize = 16;

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// What kind of software interface it is ("veth", "bridge", …); `None` for a card's.
    pub kind: Option<String>,
    /// Whether what is sent there comes back to this machine and nobody else.
    pub is_loopback: bool,
    /// Whether there was somebody at the other end of its wire when it was looked up.
    pub has_carrier: bool,
    /// The XDP program attached to it, if there is one, by its id.
    pub xdp_program: Option<u32>,
}

impl Interface {
    /// Looks interfaces up by their names or alternative names, all in one look. What comes back is called by its name.
    ///
    /// # Errors
    /// [`OpenError::NoInterface`] and [`OpenError::NotEthernet`] for the first that is not to be had;
    /// [`OpenError::Netlink`].
    pub fn find<Name: AsRef<str>>(names: &[Name]) -> Result<Vec<Self>, OpenError> {
        let mut socket = NetlinkSocket::open(NETLINK_ROUTE)?;
        let all = socket.dump("interfaces", RTM_GETLINK, &[0; HEADER_BYTES], |raw| {
            LinkMessage::parse(raw.payload).ok().map(|message| read(&message))
        })?;
        let find = |name: &Name| {
            let name = name.as_ref();
            let is_called = |found: &&Found| found.interface.name == name;
            let found = all.iter().find(is_called);
            let also_called = |found: &&Found| found.other_names.iter().any(|other| other == name);
            let found = found.or_else(|| all.iter().find(also_called));
            let found = found.ok_or_else(|| OpenError::NoInterface(name.to_owned()))?;
            if found.has_mac {
                Ok(found.interface.clone())
            } else {
                Err(OpenError::NotEthernet(name.to_owned()))
            }
        };
        names.iter().map(find).collect()
    }

    /// Bytes of its longest packets, with Ethernet header and one VLAN tag. What is sent to the loopback interface says nothing of that.
    pub(super) fn longest_packet(&self) -> u32 {
        if self.is_loopback { 0 } else { self.mtu.saturating_add(super::frames::LINK_BYTES) }
    }

    /// Whether no card is behind it. Then packets may come with checksums that their sender left to a card:
    /// the kernel knows that of its own packets, and XDP does not.
    pub fn is_virtual(&self) -> bool {
        self.kind.is_some() || self.is_loopback
    }
}

/// An interface of whatever kind.
struct Found {
    interface: Interface,
    /// What else it is called (`ip link property add dev NAME altname OTHER`).
    other_names: Vec<String>,
    /// Whether it has an Ethernet address.
    has_mac: bool,
}

/// What a message says.
fn read(message: &LinkMessage) -> Found {
    let mut interface = Interface {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        kind: None,
        is_loopback: message.header.flags.contains(LinkFlags::Loopback),
        has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        xdp_program: None,
    };
    let (mut has_mac, mut other_names) = (false, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::PropList(properties) => {
                other_names.extend(properties.iter().filter_map(|property| match property {
                    Prop::AltIfName(name) => Some(name.clone()),
                    _ => None,
                }));
            }
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(address) => {
                if let Ok(mac) = address.as_slice().try_into() {
                    interface.mac = mac;
                    has_mac = true;
                }
            }
            LinkAttribute::LinkInfo(of) => {
                interface.kind = of.iter().find_map(|of| match of {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::Xdp(of) => {
                interface.xdp_program = of.iter().find_map(|of| match of {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Found { interface, other_names, has_mac }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_one_that_is_not_there_is_named() {
        let found = Interface::find(&["lo"]).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].index), ("lo", 1));
        assert!(found[0].is_loopback && found[0].mtu >= 1500);
        let error = Interface::find(&["lo", "no-such-if"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no interface \"no-such-if\" in this network namespace (see `ip link`)"
        );
    }
}
