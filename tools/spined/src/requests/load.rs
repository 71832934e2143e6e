//! Loading, up to the job that makes the instance, and what becomes of what it made.

use std::os::fd::OwnedFd;

use spine_abi::interface::{Domain, Domains};
use spine_client::daemon::protocol::Load;

use crate::asks::Caller;
use crate::claims::Claims;
use crate::clients::Who;
use crate::job::{Done, Order, Then};
use crate::peers;
use crate::server::Server;

impl Server {
    pub(super) fn load_order(
        &self,
        caller: Caller,
        who: Who,
        load: Load,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Order, String> {
        let wire = self.position(&load.interface)?;
        let (wasm, files) = first(descriptors)?;
        if files.len() != load.regions.len() {
            return Err(format!(
                "{} regions are announced, and {} came",
                load.regions.len(),
                files.len()
            ));
        }
        let claims = Claims::new(&load.prefixes, load.ports, load.claimant);
        self.may_claim(wire, &claims, &who)?;
        peers::places(&self.wires.peers, wire, &load.peers)?;
        Ok(Order {
            client: caller.client,
            call: caller.call,
            who,
            wasm,
            signature: load.signature,
            wire,
            interface: load.interface,
            claims,
            peers: load.peers,
            shown: self.extensions.shown(wire),
            domains: load.domains.map(|names| domains(&names)).transpose()?,
            fuel: load.fuel,
            regions: files.into_iter().zip(load.regions).collect(),
            then: Then::Load { keep: load.keep, handler: load.handler },
        })
    }

    /// Refuses claims that cannot be had beside another's.
    pub(super) fn may_claim(&self, wire: usize, claims: &Claims, who: &Who) -> Result<(), String> {
        let ports = self.wires.wires.get(wire).map_or(&[][..], |wire| &wire.peer_ports);
        if let Some(port) = claims.ports.iter().find(|port| ports.contains(port)) {
            return Err(format!(
                "messages between machines come to UDP port {port}: nobody else's"
            ));
        }
        self.extensions.no_rival(wire, claims, who.standing)
    }

    /// Starts the job that makes an instance, for whom it is granted anything at all.
    ///
    /// # Errors
    /// A sentence: that, or too many wait, or too many files are held for this user.
    pub(super) fn submit(&mut self, order: Order) -> Result<(), String> {
        if !self.policy.knows(order.who.user, &order.who.groups) {
            return Err(format!(
                "the policy grants {} nothing on {}: no domain, and so no extension",
                order.who.name, order.interface
            ));
        }
        let (has, all) = self.descriptors_held(order.who.user);
        self.descriptors.refuse(&order.who, has, all, order.descriptors())?;
        let (client, has) = (order.client, self.extensions.usage(order.who.user));
        self.jobs.submit(order, &self.policy, has)?;
        if let Some(client) = self.clients.all.get_mut(&client) {
            client.busy = true;
        }
        Ok(())
    }

    /// Descriptors that clients have the daemon hold: those of a user, and all of them.
    pub(crate) fn descriptors_held(&self, user: u32) -> (usize, usize) {
        let held = self.clients.descriptors().chain(self.jobs.descriptors());
        held.chain(self.extensions.descriptors()).fold((0, 0), |(has, all), (of, count)| {
            (has + if of == user { count } else { 0 }, all + count)
        })
    }

    /// Goes on with what a job has made, if its client is still there.
    pub(crate) fn finish(&mut self, done: Done) {
        let Order { client, call, who, .. } = &done.order;
        let caller = Caller { client: *client, call: *call, user: who.user };
        match self.clients.all.get_mut(&caller.client) {
            Some(client) => client.busy = false,
            None => return,
        }
        let begun = done.result.and_then(|prepared| match done.order.then {
            Then::Load { keep, handler } => {
                self.install(caller, done.order, prepared, keep, handler)
            }
            Then::Replace(number) => self.replace(caller, done.order, number, prepared),
        });
        if let Err(why) = begun {
            self.answer(caller.client, caller.call, Err(why));
        }
    }
}

/// The module, and the regions behind it.
pub(super) fn first(descriptors: Vec<OwnedFd>) -> Result<(OwnedFd, Vec<OwnedFd>), String> {
    let mut descriptors = descriptors.into_iter();
    let wasm = descriptors.next().ok_or("no file came with the request")?;
    Ok((wasm, descriptors.collect()))
}

fn domains(names: &[String]) -> Result<Domains, String> {
    names.iter().try_fold(Domains::CORE, |set, name| match Domain::from_name(name) {
        Some(domain) => Ok(set.with(domain)),
        None => {
            let known: Vec<&str> = Domain::ALL.iter().map(|domain| domain.name()).collect();
            Err(format!("there is no domain {name:?}; there are {}", known.join(", ")))
        }
    })
}
