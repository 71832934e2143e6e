//! Claims: which packets of an interface go to an extension, and which stay the kernel's.
//!
//! Two ways, which the classifier knows: by destination prefix, for one extension of an interface at a time, its
//! *claimant* (the classifier stamps one handler number on what prefixes claim), and by UDP port, for as many as
//! there are ports; a port goes before a prefix. What comes from or goes to an address of this machine stays the
//! kernel's, whatever prefix is claimed; the packets to a claimed port are the extension's in any case, as a
//! socket's would be. What nobody claimed is the kernel's.
//!
//! Invariants: what an application says can only give its own extension less. That an address is this machine's
//! is believed, since the packets become the kernel's; that one is not, or that the interface has another
//! link-layer address, is not: the daemon looks for itself, with each change.
//!
//! Left out: noticing by itself that this machine has a new address. A claimant that follows the kernel says so;
//! for one that does not, packets to the address are claimed until its next change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_abi::HandlerNumber;
use spine_client::daemon::protocol::{ClaimChange, PREFIXES_NAMED};
use spine_nic::open::{PortClaim, Steering as _, SteeringError};

use crate::wires::{self, Wire};

/// Addresses that an application may name as this machine's: half of what a classifier knows, so that there is
/// always room for those that the daemon finds.
pub(crate) const ADDRESSES: usize = spine_xdp_progs::ADDRESSES as usize / 2;

/// Prefixes of extensions that have ended which are forgotten at a time: some milliseconds' worth.
const FORGOTTEN: usize = 4096;

/// What the classifier was told on an extension's behalf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Destinations: the extension's, or (`false`) the kernel's within those around them.
    pub(crate) prefixes: BTreeMap<Ipv4Net, bool>,
    /// UDP ports, at any address of the interface.
    pub(crate) ports: Vec<u16>,
    /// Addresses that its application named as this machine's.
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
    /// Whether it claims destinations, now or later.
    pub(crate) claimant: bool,
    /// Whether it is not given what it claims by prefix.
    pub(crate) paused: bool,
}

impl Claims {
    /// Those that an extension is loaded with. One that says its prefixes later begins paused.
    pub(crate) fn new(prefixes: &[Ipv4Net], ports: Vec<u16>, later: bool) -> Self {
        Self {
            prefixes: prefixes.iter().map(|prefix| (prefix.trunc(), true)).collect(),
            ports,
            addresses: BTreeSet::new(),
            claimant: later || !prefixes.is_empty(),
            paused: later,
        }
    }

    /// Whether there are none, and will be none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.claimant && self.ports.is_empty()
    }

    /// The destinations that are the extension's, in order.
    pub(crate) fn taken(&self) -> impl Iterator<Item = Ipv4Net> {
        self.prefixes.iter().filter(|(_, taken)| **taken).map(|(prefix, _)| *prefix)
    }

    /// The first of them: what clients are shown.
    pub(crate) fn shown(&self) -> Vec<Ipv4Net> {
        self.taken().take(PREFIXES_NAMED).collect()
    }

    /// How many prefixes there are when these changes are made.
    pub(crate) fn count_after(&self, changes: &[ClaimChange]) -> usize {
        let mut touched: BTreeMap<Ipv4Net, bool> = BTreeMap::new();
        for change in changes {
            match change {
                ClaimChange::Take(prefix) | ClaimChange::Leave(prefix) => {
                    touched.insert(prefix.trunc(), true);
                }
                ClaimChange::Forget(prefix) => {
                    touched.insert(prefix.trunc(), false);
                }
                ClaimChange::Own(_) | ClaimChange::Disown(_) => {}
            }
        }
        let known = |prefix: &Ipv4Net| self.prefixes.contains_key(prefix);
        let more = touched.iter().filter(|(prefix, there)| **there && !known(prefix)).count();
        let less = touched.iter().filter(|(prefix, there)| !**there && known(prefix)).count();
        self.prefixes.len() + more - less
    }
}

impl Wire {
    /// Claims packets for a handler.
    ///
    /// # Errors
    /// [`SteeringError`]; nothing is claimed then.
    pub(crate) fn claim(
        &mut self,
        claims: &Claims,
        handler: HandlerNumber,
    ) -> Result<(), SteeringError> {
        let claimed = self.try_claim(claims, handler);
        if claimed.is_err() {
            self.release(claims);
        }
        claimed
    }

    fn try_claim(&mut self, claims: &Claims, handler: HandlerNumber) -> Result<(), SteeringError> {
        for port in &claims.ports {
            self.claim_port(*port, handler)?;
        }
        if !claims.claimant {
            return Ok(());
        }
        self.become_claimants()?;
        self.look(claims)?;
        for (prefix, taken) in &claims.prefixes {
            self.steering.set_claim((*prefix).into(), (*taken).into())?;
        }
        self.steering.set_handler(self.ifindex, handler)?;
        self.give(!claims.paused)
    }

    fn claim_port(&mut self, port: u16, handler: HandlerNumber) -> Result<(), SteeringError> {
        let address = Ipv4Addr::UNSPECIFIED;
        self.steering.claim_port(PortClaim { address, port, handler })
    }

    /// Makes an interface ready for a claimant: nothing is left of those before.
    ///
    /// # Errors
    /// [`SteeringError`].
    pub(crate) fn become_claimants(&mut self) -> Result<(), SteeringError> {
        while self.forget_some()? {}
        Ok(())
    }

    /// Forgets some prefixes of extensions that have ended, so that a full table keeps nobody waiting; says whether
    /// there are more.
    ///
    /// # Errors
    /// [`SteeringError`]; the others stay to be forgotten.
    pub(crate) fn forget_some(&mut self) -> Result<bool, SteeringError> {
        for _ in 0..FORGOTTEN {
            let Some(prefix) = self.leaving.pop() else { return Ok(false) };
            self.steering.remove_claim(prefix.into())?;
        }
        Ok(true)
    }

    /// Makes these changes to what an extension claims, and brings what the classifier knows of this machine up
    /// to date.
    ///
    /// # Errors
    /// [`SteeringError`]; none of the changes is made then.
    pub(crate) fn change(
        &mut self,
        claims: &mut Claims,
        changes: &[ClaimChange],
    ) -> Result<(), SteeringError> {
        self.look(claims)?;
        let mut undo = Vec::with_capacity(changes.len());
        for change in changes {
            match self.follow(claims, *change) {
                Ok(back) => undo.push(back),
                Err(error) => {
                    for back in undo.into_iter().rev() {
                        if let Err(error) = self.follow(claims, back) {
                            tracing::error!(interface = self.name, %error, "cannot undo a claim");
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes one change, and says how to undo it.
    fn follow(
        &mut self,
        claims: &mut Claims,
        change: ClaimChange,
    ) -> Result<ClaimChange, SteeringError> {
        match change {
            ClaimChange::Take(prefix) => self.say(claims, prefix.trunc(), Some(true)),
            ClaimChange::Leave(prefix) => self.say(claims, prefix.trunc(), Some(false)),
            ClaimChange::Forget(prefix) => self.say(claims, prefix.trunc(), None),
            ClaimChange::Own(address) => {
                self.steering.set_address(address.into())?;
                let new = claims.addresses.insert(address);
                Ok(if new { ClaimChange::Disown(address) } else { ClaimChange::Own(address) })
            }
            ClaimChange::Disown(address) => {
                if !self.addresses.contains(&address) {
                    self.steering.remove_address(address.into())?;
                }
                let known = claims.addresses.remove(&address);
                Ok(if known { ClaimChange::Own(address) } else { ClaimChange::Disown(address) })
            }
        }
    }

    /// Says whose a prefix is, or nothing of it any more; answers how to say what was said before.
    fn say(
        &mut self,
        claims: &mut Claims,
        prefix: Ipv4Net,
        taken: Option<bool>,
    ) -> Result<ClaimChange, SteeringError> {
        let before = claims.prefixes.get(&prefix).copied();
        match taken {
            Some(taken) => {
                self.steering.set_claim(prefix.into(), taken.into())?;
                claims.prefixes.insert(prefix, taken);
            }
            None => {
                self.steering.remove_claim(prefix.into())?;
                claims.prefixes.remove(&prefix);
            }
        }
        Ok(match before {
            Some(true) => ClaimChange::Take(prefix),
            Some(false) => ClaimChange::Leave(prefix),
            None => ClaimChange::Forget(prefix),
        })
    }

    /// Gives the claimant what it claims by prefix, from the next packet on, or the kernel.
    ///
    /// # Errors
    /// [`SteeringError`]; it is as before.
    pub(crate) fn give(&mut self, enabled: bool) -> Result<(), SteeringError> {
        self.steering.set_enabled(self.ifindex, enabled)
    }

    /// Gives packets back to the kernel: all that prefixes claimed at once, before these are
    /// [forgotten](Self::forget_some) one by one. What is refused stays claimed, and its adapter gives it to the
    /// kernel; the log says so.
    pub(crate) fn release(&mut self, claims: &Claims) {
        let mut refused = if claims.claimant { self.give(false).err() } else { None };
        for port in &claims.ports {
            let removed = self.steering.classifier().release_port(Ipv4Addr::UNSPECIFIED, *port);
            refused = removed.err().map(SteeringError::from).or(refused);
        }
        self.leaving.extend(claims.prefixes.keys());
        for address in &claims.addresses {
            if !self.addresses.contains(address) {
                refused = self.steering.remove_address((*address).into()).err().or(refused);
            }
        }
        if let Some(error) = refused {
            tracing::error!(interface = self.name, %error, "cannot give packets back to the kernel");
        }
    }

    /// Brings what the classifier knows of this machine's addresses up to date, the interface's own among them.
    fn look(&mut self, claims: &Claims) -> Result<(), SteeringError> {
        let now: BTreeSet<Ipv4Addr> = wires::own_addresses().collect();
        for gone in self.addresses.difference(&now) {
            if !claims.addresses.contains(gone) {
                self.steering.remove_address((*gone).into())?;
            }
        }
        for new in now.difference(&self.addresses) {
            self.steering.set_address((*new).into())?;
        }
        self.addresses = now;
        let told = self.steering.entry(self.ifindex).map(|entry| entry.mac);
        if let Some(mac) = wires::mac(&self.name).filter(|mac| Some(*mac) != told) {
            self.steering.set_mac(self.ifindex, mac)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_come_to_is_counted_before_they_are_made() {
        let net = |text: &str| text.parse::<Ipv4Net>().expect("a prefix");
        let claims = Claims::new(&[net("10.0.0.0/8"), net("10.1.0.0/16")], Vec::new(), false);
        let one = net("10.1.2.3/16");
        for (changes, count) in [
            (vec![], 2),
            (vec![ClaimChange::Take(one), ClaimChange::Leave(one)], 2),
            (vec![ClaimChange::Forget(one), ClaimChange::Forget(one)], 1),
            (vec![ClaimChange::Forget(one), ClaimChange::Take(one)], 2),
            (vec![ClaimChange::Take(net("10.2.0.0/16")), ClaimChange::Forget(one)], 2),
            (vec![ClaimChange::Own(Ipv4Addr::LOCALHOST), ClaimChange::Take(net("0.0.0.0/0"))], 3),
        ] {
            assert_eq!(claims.count_after(&changes), count, "{changes:?}");
        }
    }

    #[test]
    fn who_says_later_what_it_claims_begins_paused_and_is_the_claimant() {
        let now = Claims::new(&[Ipv4Net::default()], Vec::new(), false);
        assert!(now.claimant && !now.paused && !now.is_empty());
        let later = Claims::new(&[], Vec::new(), true);
        assert!(later.claimant && later.paused && !later.is_empty());
        let never = Claims::new(&[], Vec::new(), false);
        assert!(never.is_empty());
    }
}
