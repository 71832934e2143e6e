//! What was granted, and for how long: the policy as it is now, put to what is there already.
//!
//! A grant is asked for as an extension is loaded, as it is installed (the policy may have been read again while it
//! was linked), with each change of its claims, and when the policy is read again: what it covers no more is unloaded, or
//! goes on and is shown as not covered, as the configuration says ([`Revoked`]). The log says which.
//!
//! Claims that cannot be had beside each other go to who stands higher with the policy: root's router finds its
//! interfaces, whoever was there before, and who had to give way is told.

use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::Deserialize;
use spine_abi::interface::Domain;
use spine_policy::{Asker, Limits, Policy, Refusal, Wish};

use crate::claims::Claims;
use crate::clients::Who;
use crate::extensions::Extension;
use crate::job::{Order, Prepared};
use crate::server::Server;

/// What becomes of an extension whose grant was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Revoked {
    /// It is unloaded.
    #[default]
    Unload,
    /// It goes on, and is shown as not covered.
    Mark,
}

impl Server {
    /// Goes by another policy from now on.
    pub(crate) fn follow_policy(&mut self, policy: Policy) {
        tracing::warn!(grants = policy.grants(), "the policy was read again");
        self.clients.stand(&policy);
        self.extensions.stand(&policy);
        self.policy = Arc::new(policy);
        let all: Vec<_> = self.extensions.after(0).map(|(number, _)| number).collect();
        for number in all {
            let Some(extension) = self.extensions.get(number) else { continue };
            let taken: Vec<Ipv4Net> = extension.claims.taken().collect();
            let refused = self.covers(&extension.who, extension, &taken).err();
            match (refused, self.revoked) {
                (None, _) => self.mark(number, None),
                (Some(refusal), Revoked::Mark) => {
                    let (name, user) = (&extension.name, extension.who.user);
                    let why = refusal.to_string();
                    tracing::warn!(number, name, user, why, "an extension is not covered any more");
                    self.mark(number, Some(why));
                }
                (Some(refusal), Revoked::Unload) => {
                    let (name, user) = (&extension.name, extension.who.user);
                    let why = refusal.to_string();
                    tracing::warn!(
                        number,
                        name,
                        user,
                        why,
                        "an extension is unloaded: its grant is gone"
                    );
                    self.unload(number, &format!("its grant was taken away: {why}"), None);
                }
            }
        }
    }

    fn mark(&mut self, number: u64, uncovered: Option<String>) {
        if let Some(extension) = self.extensions.get_mut(number) {
            extension.uncovered = uncovered;
        }
    }

    /// Whether the policy lets a user have an extension that is there, with these destinations; answers his limits.
    ///
    /// # Errors
    /// What he lacks.
    pub(crate) fn covers(
        &self,
        who: &Who,
        extension: &Extension,
        prefixes: &[Ipv4Net],
    ) -> Result<Limits, Refusal> {
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
            prefixes,
            claimant: extension.claims.claimant,
            ports: &extension.claims.ports,
            peers: &extension.peers,
            exports: domain.as_ref().map(|domain| domain.name()),
            links: &links,
        };
        self.policy.decide(&asker, &wish).map(|granted| granted.limits)
    }

    /// Whether what an order was granted is granted still: the policy may have been read again meanwhile.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn is_granted_still(&self, order: &Order, made: &Prepared) -> Result<(), String> {
        if order.who.user == 0 || Arc::ptr_eq(&made.policy, &self.policy) {
            return Ok(());
        }
        Err(format!(
            "the policy was read again while the extension {} was linked: load it again",
            made.name
        ))
    }

    /// Has those give way who have what these claims are for, and stand lower with the policy.
    pub(crate) fn take_over(&mut self, wire: usize, claims: &Claims, who: &Who) {
        let lower = self.extensions.rivals(wire, claims);
        let lower: Vec<_> = lower
            .filter(|(_, it)| it.who.standing > who.standing)
            .map(|(number, it)| (number, it.name.clone(), it.interface.clone()))
            .collect();
        for (number, name, interface) in lower {
            let why = format!("{} has more right to what it claimed on {interface}", who.name);
            tracing::warn!(number, name, why, "an extension gives way");
            self.unload(number, &why, None);
        }
    }
}
