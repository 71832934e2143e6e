//! The interface that streams come in on, as far as we must know it.

use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::sys;

/// The largest MTU that frames of two kilobytes take: less what XDP keeps in front, and the link's header
/// with one VLAN tag.
const SMALL: u32 = 2048 - 256 - 18;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its MTU.
    pub mtu: u32,
}

/// Why an interface is of no use: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No interface has that name.
    #[error("there is no interface {0} in this network namespace")]
    Missing(String),
    /// It has no link-layer address.
    #[error("{0} is not an Ethernet interface")]
    NotEthernet(String),
    /// The system does not tell.
    #[error("cannot ask about {name}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Interface {
    /// Looks an interface of this network namespace up.
    ///
    /// # Errors
    /// [`InterfaceError`].
    pub fn find(name: &str) -> Result<Self, InterfaceError> {
        let system = |source| InterfaceError::System { name: name.to_owned(), source };
        nix::net::if_::if_nametoindex(name)
            .map_err(|_| InterfaceError::Missing(name.to_owned()))?;
        let mut addresses = getifaddrs().map_err(|errno| system(errno.into()))?;
        let mac = addresses.find_map(|found| {
            if found.interface_name != name {
                return None;
            }
            found.address?.as_link_addr()?.addr()
        });
        let mac = mac.ok_or_else(|| InterfaceError::NotEthernet(name.to_owned()))?;
        let mtu = sys::mtu(name).map_err(system)?;
        Ok(Self { name: name.to_owned(), mac, mtu })
    }

    /// Bytes of the frames that its packets need.
    pub fn frame_bytes(&self) -> usize {
        if self.mtu > SMALL { 4096 } else { 2048 }
    }

    /// Its IPv4 addresses.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let addresses = getifaddrs().into_iter().flatten();
        let ours = addresses.filter(|found| found.interface_name == self.name);
        ours.filter_map(|found| Some(found.address?.as_sockaddr_in()?.ip())).collect()
    }

    /// Packets that the interface and its driver dropped since it was made, before anybody saw them; zero where
    /// the kernel does not tell.
    pub fn dropped(&self) -> u64 {
        // Of this network namespace, which /sys need not be.
        let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        dropped(&text, &self.name).unwrap_or(0)
    }

    /// Why nothing can come in, if that can be seen: it is down, or has no link.
    pub fn trouble(&self) -> Option<String> {
        let found = getifaddrs().ok()?.find(|found| found.interface_name == self.name);
        let Some(found) = found else {
            return Some(format!("{} is gone", self.name));
        };
        if !found.flags.contains(InterfaceFlags::IFF_UP) {
            return Some(format!("{0} is down: ip link set dev {0} up", self.name));
        }
        let running = found.flags.contains(InterfaceFlags::IFF_RUNNING);
        (!running)
            .then(|| format!("{} has no link: is the cable in, and the other end up?", self.name))
    }
}

/// The column `drop` of what an interface received, from the text of `/proc/net/dev`.
fn dropped(text: &str, name: &str) -> Option<u64> {
    /// Bytes, packets, errs, drop.
    const DROP: usize = 3;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, numbers) = lines.into_iter().find(|(interface, _)| interface.trim() == name)?;
    numbers.split_whitespace().nth(DROP)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_dropped_is_read_from_its_own_line() {
        let text = "Inter-|   Receive                    |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes\n    \
                    lo: 1 2 3 4 5 6 7 8 9\n  wan0:10 20 30 40 50 60 70 80 90\n";
        assert_eq!(dropped(text, "wan0"), Some(40));
        assert_eq!(dropped(text, "lo"), Some(4));
        assert_eq!(dropped(text, "wan"), None);
    }

    #[test]
    fn interfaces_are_found_and_missing_ones_named() {
        let loopback = Interface::find("lo").unwrap();
        assert!(loopback.mtu >= 1500);
        assert_eq!(loopback.frame_bytes(), 4096);
        assert_eq!(Interface { mtu: 1500, ..loopback }.frame_bytes(), 2048);
        let error = Interface::find("no-such-if").unwrap_err().to_string();
        assert_eq!(error, "there is no interface no-such-if in this network namespace");
    }
}
