//! An application changes what its extension claims.
//!
//! Everything is decided before anything is told to the classifier: whose extension it is, whether destinations of
//! the interface are another one's, what the policy lets the user claim, and how much. Each change is put to the
//! policy with the domains that the extension has, as at its loading.

use ipnet::Ipv4Net;
use spine_abi::interface::Domain;
use spine_client::daemon::protocol::{Answer, Claim, ClaimChange, ExtensionNumber};
use spine_policy::{Asker, Limits, Wish};

use crate::claims::{ADDRESSES, Claims};
use crate::clients::Who;
use crate::extensions::{Extension, Extensions, Usage};
use crate::server::Server;

impl Server {
    /// Follows a request to change what an extension claims.
    ///
    /// # Errors
    /// A sentence; nothing has changed then.
    pub(crate) fn change_claims(&mut self, who: &Who, claim: &Claim) -> Result<Answer, String> {
        let Claim { extension: number, enabled, changes } = claim;
        self.commanded(who, *number)?;
        let extension = self.extensions.get(*number).ok_or("it is gone already")?;
        if let Some(other) = self.extensions.claimant(extension.wire).filter(|it| it.0 != *number) {
            return Err(taken(other));
        }
        let limits = self.may_take(who, extension, changes)?;
        fits(extension, changes)?;
        let mut usage = self.extensions.usage(extension.user);
        usage.claims -= extension.claims.prefixes.len() as u64;
        let claims = extension.claims.count_after(changes) as u64;
        if let Some(over) = usage.over(Usage { claims, ..Usage::default() }, &limits) {
            return Err(over);
        }

        let extension = self.extensions.get_mut(*number).ok_or("it is gone already")?;
        let wire = self.wires.wires.get_mut(extension.wire).ok_or("its interface is gone")?;
        if !extension.claims.claimant {
            wire.become_claimants().map_err(|error| error.to_string())?;
        }
        let changed = wire.change(&mut extension.claims, changes);
        changed.map_err(|error| error.to_string())?;
        if !extension.claims.claimant {
            (extension.claims.claimant, extension.claims.paused) = (true, true);
            let told = wire.steering.set_handler(wire.ifindex, extension.receiver);
            told.map_err(|error| error.to_string())?;
        }
        if let Some(enabled) = enabled {
            wire.give(*enabled).map_err(|error| error.to_string())?;
            extension.claims.paused = !enabled;
        }
        Ok(Answer::Done)
    }

    /// Goes on forgetting what extensions claimed that have ended, a little in each turn.
    pub(crate) fn forget_claims(&mut self) {
        for wire in &mut self.wires.wires {
            match wire.forget_some() {
                Ok(false) => {}
                // To be woken at once for the rest.
                Ok(true) => self.bell.ring(),
                Err(error) => {
                    tracing::error!(interface = wire.name, %error, "cannot forget what was claimed");
                }
            }
        }
    }

    /// Whether the policy lets the user claim what the changes take; answers his limits.
    fn may_take(
        &self,
        who: &Who,
        extension: &Extension,
        changes: &[ClaimChange],
    ) -> Result<Limits, String> {
        let prefixes: Vec<Ipv4Net> = changes
            .iter()
            .filter_map(|change| match change {
                ClaimChange::Take(prefix) => Some(prefix.trunc()),
                _ => None,
            })
            .collect();
        let shown = self.extensions.shown(extension.wire);
        let called = |name: &str| extension.linkage.links.iter().any(|link| link == name);
        let links: Vec<(u32, &str)> = shown
            .iter()
            .filter(|one| called(one.name()))
            .map(|one| (one.user, one.name()))
            .collect();
        let domain = extension.linkage.domain();
        let asker = Asker {
            user: who.user,
            name: &who.name,
            groups: &who.groups,
            signer: extension.signer,
        };
        let wish = Wish {
            extension: &extension.name,
            interface: &extension.interface,
            domains: extension.domains.with(Domain::Core),
            prefixes: &prefixes,
            ports: &extension.claims.ports,
            peers: &extension.peers,
            exports: domain.as_ref().map(|domain| domain.name()),
            links: &links,
        };
        self.policy.decide(&asker, &wish).map_err(|refusal| refusal.to_string())
    }
}

/// Whether there is room for the addresses that the changes name.
fn fits(extension: &Extension, changes: &[ClaimChange]) -> Result<(), String> {
    let named = changes.iter().filter(|change| matches!(change, ClaimChange::Own(_))).count();
    if named > 0 && extension.claims.addresses.len() + named > ADDRESSES {
        return Err(format!(
            "an application may name {ADDRESSES} addresses of this machine on an interface, and these are more"
        ));
    }
    Ok(())
}

/// Whose the destinations of an interface are, as a sentence.
fn taken((number, other): (ExtensionNumber, &Extension)) -> String {
    format!(
        "extension {number} ({}, of user {}) claims destinations on {} already, and one extension of an interface can",
        other.name, other.user, other.interface
    )
}

impl Extensions {
    /// The extension that claims destinations on an interface, or will.
    pub(crate) fn claimant(&self, wire: usize) -> Option<(ExtensionNumber, &Extension)> {
        self.after(0).find(|(_, it)| it.wire == wire && it.claims.claimant)
    }

    /// Refuses claims on an interface beside which others cannot be had.
    ///
    /// # Errors
    /// A sentence: whose they are.
    pub(crate) fn no_rival(&self, wire: usize, claims: &Claims) -> Result<(), String> {
        if claims.claimant
            && let Some(other) = self.claimant(wire)
        {
            return Err(taken(other));
        }
        for (number, other) in self.after(0).filter(|(_, it)| it.wire == wire) {
            if let Some(port) = claims.ports.iter().find(|port| other.claims.ports.contains(port)) {
                return Err(format!(
                    "extension {number} ({}, of user {}) has claimed UDP port {port} on {} already",
                    other.name, other.user, other.interface
                ));
            }
        }
        Ok(())
    }
}
