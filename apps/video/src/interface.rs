//! The interface that streams come in on, as far as we must know it.

use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use spine_nic::open::{self, OpenError};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is opened by.
    pub found: open::Interface,
}

impl Interface {
    /// Looks an interface of this network namespace up.
    ///
    /// # Errors
    /// [`OpenError::NoInterface`], [`OpenError::NotEthernet`], [`OpenError::Netlink`].
    pub fn find(name: &str) -> Result<Self, OpenError> {
        let found = open::Interface::find(&[name])?;
        let found =
            found.into_iter().next().ok_or_else(|| OpenError::NoInterface(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), found })
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
}
