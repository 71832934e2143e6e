//! What the classifier is told: interfaces, sockets, addresses, and which packets are ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use nix::errno::Errno;
use spine_abi::HandlerNumber;
use spine_xdp_progs::{Counter, Ingresses, Kept, Port, control, flow_key, maps};

use super::error::errno;
use super::{AttachError, Classifier};

impl Classifier {
    /// Says which sockets, address and handler an attached interface has; replaces what was said before.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_port(&mut self, ifindex: u32, port: Port) -> Result<(), AttachError> {
        done(maps::PORTS, self.ports.insert(ifindex, port.to_bytes(), 0))
    }

    /// Switches claiming of IPv4 by destination on one interface, where [`set_enabled`](Self::set_enabled) is for all of
    /// it: such a packet is claimed if both say so. Claimed ports, and messages between hosts, ask only the other.
    ///
    /// # Errors
    /// [`AttachError::Map`]; [`MapError::KeyNotFound`] in it if the interface has no port.
    pub fn set_port_enabled(&mut self, ifindex: u32, enabled: bool) -> Result<(), AttachError> {
        let bytes = self.ports.get(&ifindex, 0);
        let bytes = bytes.map_err(|error| AttachError::Map { map: maps::PORTS, error })?;
        let port = Port { enabled, ..Port::from_bytes(&bytes) };
        self.set_port(ifindex, port)
    }

    /// Puts an AF_XDP socket with a receive ring at an index; it leaves by itself when it is closed.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_socket(&mut self, index: u32, socket: &impl AsRawFd) -> Result<(), AttachError> {
        done(maps::SOCKETS, self.sockets.set(index, socket.as_raw_fd(), 0))
    }

    /// Names an address of this machine, or a broadcast address of one of its networks: packets to or
    /// from it are the kernel's.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_address(&mut self, address: IpAddr) -> Result<(), AttachError> {
        match address {
            IpAddr::V4(v4) => done(maps::ADDRESSES, self.addresses.insert(v4.octets(), 1, 0)),
            IpAddr::V6(v6) => {
                done(maps::ADDRESSES_IPV6, self.addresses_ipv6.insert(v6.octets(), 1, 0))
            }
        }
    }

    /// Takes [`set_address`](Self::set_address) back; no error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn remove_address(&mut self, address: IpAddr) -> Result<(), AttachError> {
        match address {
            IpAddr::V4(v4) => gone(maps::ADDRESSES, self.addresses.remove(&v4.octets())),
            IpAddr::V6(v6) => gone(maps::ADDRESSES_IPV6, self.addresses_ipv6.remove(&v6.octets())),
        }
    }

    /// Says from which interfaces packets to a prefix are ours, and not the kernel's; the longest prefix decides, and
    /// without any they are the kernel's. `length` is 0 to 32, for IPv6 to 128.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_claim(
        &mut self,
        prefix: IpAddr,
        length: u8,
        from: Ingresses,
    ) -> Result<(), AttachError> {
        let length = u32::from(length);
        match prefix {
            IpAddr::V4(v4) => {
                let key = Key::new(length, v4.octets());
                done(maps::CLAIMS, self.claims.insert(&key, from.0, 0))
            }
            IpAddr::V6(v6) => {
                let key = Key::new(length, v6.octets());
                done(maps::CLAIMS_IPV6, self.claims_ipv6.insert(&key, from.0, 0))
            }
        }
    }

    /// Takes [`set_claim`](Self::set_claim) back; no error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn remove_claim(&mut self, prefix: IpAddr, length: u8) -> Result<(), AttachError> {
        let length = u32::from(length);
        match prefix {
            IpAddr::V4(v4) => {
                gone(maps::CLAIMS, self.claims.remove(&Key::new(length, v4.octets())))
            }
            IpAddr::V6(v6) => {
                gone(maps::CLAIMS_IPV6, self.claims_ipv6.remove(&Key::new(length, v6.octets())))
            }
        }
    }

    /// Writes sets of packets that the kernel keeps at these numbers; which are in force on an interface its
    /// [port](Self::set_port) says.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_kept(&mut self, first: u32, sets: &[Kept]) -> Result<(), AttachError> {
        for (number, set) in (first..).zip(sets) {
            done(maps::KEPT, self.kept.set(number, set.to_bytes(), 0))?;
        }
        Ok(())
    }

    /// The same of IPv6.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_kept_ipv6(
        &mut self,
        first: u32,
        sets: &[Kept<Ipv6Addr>],
    ) -> Result<(), AttachError> {
        for (number, set) in (first..).zip(sets) {
            done(maps::KEPT_IPV6, self.kept_ipv6.set(number, set.to_bytes(), 0))?;
        }
        Ok(())
    }

    /// Packets that the kernel kept, by [`Kept::counter`].
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn kept_packets(&self, counter: u32) -> Result<u64, AttachError> {
        let values = self.kept_packets.get(&counter, 0);
        let values = values.map_err(|error| AttachError::Map { map: maps::KEPT_PACKETS, error })?;
        Ok(values.iter().sum())
    }

    /// Starts claiming packets (`true`), or gives the kernel all of them (`false`, as at first).
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_enabled(&mut self, enabled: bool) -> Result<(), AttachError> {
        self.enabled = enabled;
        self.set_control()
    }

    /// Claims the packets to a UDP port for a handler, whatever is routed where; replaces what was said of
    /// that port before. 0.0.0.0 is any unicast address: see [`flow_key`]. Fragments to the
    /// address are counted from then on ([`Counter::Fragments`]) and stay the kernel's.
    ///
    /// # Errors
    /// [`AttachError::NoFlow`] for port or handler zero; [`AttachError::Map`], and nothing is claimed.
    pub fn claim_port(
        &mut self,
        address: Ipv4Addr,
        port: u16,
        handler: HandlerNumber,
    ) -> Result<(), AttachError> {
        if port == 0 || !handler.is_some() {
            return Err(AttachError::NoFlow { address, port, handler });
        }
        done(maps::FLOWS, self.flows.insert(flow_key(address, 0), 1, 0))?;
        let key = flow_key(address, port);
        if let Err(error) = done(maps::FLOWS, self.flows.insert(key, u32::from(handler.0), 0)) {
            self.forget_fragments(address)?;
            return Err(error);
        }
        self.claimed_ports.insert((address, port));
        self.set_control()
    }

    /// Takes [`claim_port`](Self::claim_port) back: the packets are the router's or the kernel's again. No
    /// error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn release_port(&mut self, address: Ipv4Addr, port: u16) -> Result<(), AttachError> {
        if self.claimed_ports.remove(&(address, port)) {
            gone(maps::FLOWS, self.flows.remove(&flow_key(address, port)))?;
            self.forget_fragments(address)?;
        }
        self.set_control()
    }

    /// Fragments to an address are of no interest once no port is claimed there.
    fn forget_fragments(&mut self, address: Ipv4Addr) -> Result<(), AttachError> {
        if self.claimed_ports.range((address, 0)..=(address, u16::MAX)).next().is_some() {
            return Ok(());
        }
        gone(maps::FLOWS, self.flows.remove(&flow_key(address, 0)))
    }

    /// Claims messages between hosts on a link (their EtherType is `spine-remote`'s),
    /// or leaves them to the kernel, as at first. Those by UDP are claimed by their
    /// [port](Self::claim_port).
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_hosts(&mut self, claimed: bool) -> Result<(), AttachError> {
        self.hosts = claimed;
        self.set_control()
    }

    fn set_control(&mut self) -> Result<(), AttachError> {
        let value = control(self.enabled, !self.claimed_ports.is_empty(), self.hosts);
        done(maps::CONTROL, self.control.set(0, value, 0))
    }

    /// Packets by what became of them since [`load`](Self::load), on all interfaces and CPUs.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, AttachError> {
        let total = |counter: &Counter| {
            let values = self.counters.get(&(*counter as u32), 0);
            let values = values.map_err(|error| AttachError::Map { map: maps::COUNTERS, error })?;
            Ok((*counter, values.iter().sum()))
        };
        Counter::ALL.iter().map(total).collect()
    }
}

fn done(map: &'static str, result: Result<(), MapError>) -> Result<(), AttachError> {
    result.map_err(|error| AttachError::Map { map, error })
}

/// Like [`done`], for entries that need not have been there.
pub(super) fn gone(map: &'static str, result: Result<(), MapError>) -> Result<(), AttachError> {
    match result {
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(()),
        result => done(map, result),
    }
}
