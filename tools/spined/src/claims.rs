//! Claims: which packets of an interface go to an extension, and which stay the kernel's.
//!
//! Two ways, which the classifier knows: by destination prefix, for one extension of an interface at a time
//! (it stamps one handler number on what prefixes claim), and by UDP port, for as many as there are ports;
//! a port goes before a prefix. What comes from or goes to an address of this machine stays the kernel's,
//! whatever prefix is claimed; the packets to a claimed port are the extension's in any case, as a socket's
//! would be. What nobody claimed is the kernel's.
//!
//! Left out: addresses that the machine gets after a claim; they are looked up with each one.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_abi::HandlerNumber;
use spine_io::nic::xdp::attach::AttachError;

use crate::wires::{self, Wire};

/// What the classifier was told on an extension's behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Destinations.
    pub(crate) prefixes: Vec<Ipv4Net>,
    /// UDP ports, at any address of the interface.
    pub(crate) ports: Vec<u16>,
}

impl Claims {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.ports.is_empty()
    }
}

impl Wire {
    /// Claims packets for a handler.
    ///
    /// # Errors
    /// [`AttachError`]; nothing is claimed then.
    pub(crate) fn claim(
        &mut self,
        claims: &Claims,
        handler: HandlerNumber,
    ) -> Result<(), AttachError> {
        if claims.is_empty() {
            return Ok(());
        }
        let claimed = self.try_claim(claims, handler);
        if claimed.is_err() {
            self.release(claims);
        }
        claimed
    }

    fn try_claim(&mut self, claims: &Claims, handler: HandlerNumber) -> Result<(), AttachError> {
        self.know_addresses()?;
        for prefix in &claims.prefixes {
            self.classifier.set_claim(prefix.network(), prefix.prefix_len(), true)?;
            self.claimed.prefixes.push(*prefix);
        }
        for port in &claims.ports {
            self.classifier.claim_port(Ipv4Addr::UNSPECIFIED, *port, handler)?;
            self.claimed.ports.push(*port);
        }
        if !claims.prefixes.is_empty() {
            self.port.handler = handler;
        }
        self.port.enabled = true;
        self.classifier.set_port(self.ifindex, self.port)
    }

    /// Gives packets back to the kernel. What is refused stays claimed and is dropped by the adapter; the
    /// log says so.
    pub(crate) fn release(&mut self, claims: &Claims) {
        if claims.is_empty() {
            return;
        }
        self.claimed.prefixes.retain(|prefix| !claims.prefixes.contains(prefix));
        self.claimed.ports.retain(|port| !claims.ports.contains(port));
        self.port.enabled = !self.claimed.is_empty();
        let mut refused = self.classifier.set_port(self.ifindex, self.port).err();
        for prefix in &claims.prefixes {
            let removed = self.classifier.remove_claim(prefix.network(), prefix.prefix_len());
            refused = removed.err().or(refused);
        }
        for port in &claims.ports {
            let removed = self.classifier.release_port(Ipv4Addr::UNSPECIFIED, *port);
            refused = removed.err().or(refused);
        }
        if let Some(error) = refused {
            tracing::error!(interface = self.name, %error, "cannot give packets back to the kernel");
        }
    }

    /// Brings what the classifier knows of this machine's addresses up to date.
    fn know_addresses(&mut self) -> Result<(), AttachError> {
        let now = wires::own_addresses();
        for gone in self.addresses.iter().filter(|address| !now.contains(address)) {
            self.classifier.remove_address(*gone)?;
        }
        for address in &now {
            self.classifier.set_address(*address)?;
        }
        self.addresses = now;
        Ok(())
    }
}
