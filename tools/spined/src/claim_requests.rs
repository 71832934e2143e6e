//! An application changes what its extension claims.
//!
//! Everything is decided before anything is told to the classifier: whose extension it is, whether destinations of
//! the interface are another one's, what the policy lets the user claim, and how much. Each change is put to the
//! policy with the domains that the extension has, as at its loading.

use ipnet::Ipv4Net;
use spine_client::daemon::protocol::{Answer, Claim, ClaimChange, ExtensionNumber};

use crate::claims::{ADDRESSES, Claims};
use crate::clients::{Standing, Who};
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
        if let Some((rival, other)) =
            self.extensions.claimant(extension.wire).filter(|it| it.0 != *number)
            && other.who.standing <= extension.who.standing
        {
            return Err(taken((rival, other)));
        }
        let taken = changes.iter().filter_map(|change| match change {
            ClaimChange::Take(prefix) => Some(prefix.trunc()),
            _ => None,
        });
        let taken: Vec<Ipv4Net> = taken.collect();
        let limits = self.covers(who, extension, &taken).map_err(|refusal| refusal.to_string())?;
        fits(extension, changes)?;
        let mut usage = self.extensions.usage(extension.who.user);
        usage.claims -= extension.claims.prefixes.len() as u64;
        let claims = extension.claims.count_after(changes) as u64;
        if let Some(over) = usage.over(Usage { claims, ..Usage::default() }, &limits) {
            return Err(over);
        }

        let (wire, owner) = (extension.wire, extension.who.clone());
        let claimant = Claims::new(&[], Vec::new(), true);
        if !extension.claims.claimant {
            self.take_over(wire, &claimant, &owner);
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
            let told = wire.steering.set_handler(wire.ifindex, extension.stamp());
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
        other.name, other.who.user, other.interface
    )
}

impl Extensions {
    /// The extension that claims destinations on an interface, or will.
    pub(crate) fn claimant(&self, wire: usize) -> Option<(ExtensionNumber, &Extension)> {
        self.after(0).find(|(_, it)| it.wire == wire && it.claims.claimant)
    }

    /// Those that have what these claims are for: the claimant of an interface, and who has the ports.
    pub(crate) fn rivals(
        &self,
        wire: usize,
        claims: &Claims,
    ) -> impl Iterator<Item = (ExtensionNumber, &Extension)> {
        let port = |it: &Extension| claims.ports.iter().any(|port| it.claims.ports.contains(port));
        self.after(0).filter(move |(_, it)| {
            it.wire == wire && (claims.claimant && it.claims.claimant || port(it))
        })
    }

    /// Refuses claims on an interface beside which others cannot be had, unless those are of somebody who stands
    /// lower with the policy: they give way.
    ///
    /// # Errors
    /// A sentence: whose they are.
    pub(crate) fn no_rival(
        &self,
        wire: usize,
        claims: &Claims,
        standing: Standing,
    ) -> Result<(), String> {
        let stays = |(_, it): &(_, &Extension)| it.who.standing <= standing;
        let Some((number, other)) = self.rivals(wire, claims).find(stays) else { return Ok(()) };
        match claims.ports.iter().find(|port| other.claims.ports.contains(port)) {
            Some(port) => Err(format!(
                "extension {number} ({}, of user {}) has claimed UDP port {port} on {} already",
                other.name, other.who.user, other.interface
            )),
            None => Err(taken((number, other))),
        }
    }
}
