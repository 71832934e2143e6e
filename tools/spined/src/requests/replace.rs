//! Putting another version in an extension's place.

use std::os::fd::OwnedFd;

use spine_client::daemon::protocol::{Answer, Bill, ExtensionNumber};
use spine_io::stats::Mail;

use super::load::first;
use crate::asks::Caller;
use crate::clients::Who;
use crate::extensions::Usage;
use crate::job::{Order, Prepared, Then};
use crate::peers;
use crate::server::Server;
use spine_abi::HandlerNumber;
use spine_io::extension::Owner;

impl Server {
    pub(super) fn replace_order(
        &mut self,
        caller: Caller,
        who: Who,
        number: ExtensionNumber,
        signature: Option<String>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Order, String> {
        let (wasm, more) = first(descriptors)?;
        if !more.is_empty() {
            return Err("a replacement brings no regions: it is given those there are".to_owned());
        }
        let extension = self.commanded(&who, number)?;
        let regions = extension.regions.iter().map(|(file, bytes)| Ok((file.try_clone()?, *bytes)));
        let regions = regions.collect::<std::io::Result<_>>().map_err(|error| error.to_string())?;
        let wire = extension.wire;
        let mut order = Order {
            client: caller.client,
            call: caller.call,
            who,
            wasm,
            signature,
            wire,
            interface: extension.interface.clone(),
            claims: extension.claims.clone(),
            peers: extension.peers.clone(),
            shown: Vec::new(),
            domains: None,
            fuel: Some(extension.fuel),
            regions,
            then: Then::Replace(number),
        };
        order.shown = self.extensions.shown(wire);
        Ok(order)
    }

    /// Has the adapter put what a job has made in an extension's place.
    ///
    /// # Errors
    /// A sentence; the old version stays.
    pub(super) fn replace(
        &mut self,
        caller: Caller,
        order: Order,
        number: ExtensionNumber,
        mut made: Prepared,
    ) -> Result<(), String> {
        self.extensions.still(order.wire, &order.shown, &made.linkage.links)?;
        let user = self.commanded(&order.who, number)?.who.user;
        let mut usage = self.extensions.usage(user);
        let extension = self.commanded(&order.who, number)?;
        usage.memory -= extension.memory;
        let more = Usage { memory: made.memory, ..Usage::default() };
        if let Some(over) = usage.over(more, &made.limits) {
            return Err(over);
        }
        let (wire, place) = (extension.wire, extension.place);
        // What the classifier stamps on claimed packets must find a handler still.
        let stamped = extension.receiver.0;
        if !extension.claims.is_empty() && !made.handlers.contains(&stamped) {
            return Err(format!(
                "the packets this extension claimed are for its handler {stamped}, which the new version lacks"
            ));
        }
        let (user, client) = (extension.who.user, extension.client);
        let known = |own: &u16| extension.handlers.iter().position(|it| it == own);
        let known: Vec<Option<u16>> = made
            .handlers
            .iter()
            .map(|own| known(own).and_then(|at| extension.numbers.get(at)).copied())
            .collect();
        let new: Vec<u16> = known
            .iter()
            .zip(&made.handlers)
            .filter(|(known, _)| known.is_none())
            .map(|(_, own)| *own)
            .collect();
        self.extensions.are_new(wire, client, &made.name, &new)?;
        let given = self.extensions.numbers.give(wire, user, &new)?;
        let mut fresh = given.iter().copied();
        let numbers: Vec<u16> =
            known.into_iter().filter_map(|known| known.or_else(|| fresh.next())).collect();
        let mut loaded = made.loaded.take().ok_or("there is no instance")?;
        loaded.set_remotes(peers::places(&self.wires.peers, wire, &order.peers)?);
        loaded.set_egress(made.egress);
        let owner = Owner { client: client.number(), ..made.owner(&order) };
        loaded.set_owner(owner, numbers.iter().copied().map(HandlerNumber).collect());
        let refused = given.clone();
        let asked = self.ask_for(
            caller,
            wire,
            move |adapter| adapter.replace(place, loaded).map_err(|error| error.to_string()),
            move |server, caller, replaced| {
                let answer = match replaced {
                    Ok(()) => server.replaced(number, made, numbers),
                    Err(why) => {
                        server.extensions.numbers.take_back(wire, &given);
                        Err(why)
                    }
                };
                server.answer_caller(caller, answer.map(|answer| (answer, Vec::new())));
            },
        );
        if asked.is_err() {
            self.extensions.numbers.take_back(wire, &refused);
        }
        asked
    }

    /// Notes what is in an extension's place now, whoever still waits to hear of it.
    fn replaced(
        &mut self,
        number: ExtensionNumber,
        made: Prepared,
        numbers: Vec<u16>,
    ) -> Result<Answer, String> {
        let gone = || format!("there is no extension {number} any more");
        let Some(extension) = self.extensions.get_mut(number) else { return Err(gone()) };
        let before = std::mem::replace(&mut extension.numbers, numbers);
        let unused = before.into_iter().filter(|it| !extension.numbers.contains(it));
        let (wire, unused) = (extension.wire, unused.collect::<Vec<_>>());
        self.extensions.numbers.take_back(wire, &unused);
        let extension = self.extensions.get_mut(number).ok_or_else(gone)?;
        extension.version += 1;
        (extension.name, extension.handlers) = (made.name, made.handlers);
        (extension.domains, extension.memory) = (made.domains, made.memory);
        (extension.linkage, extension.signer) = (made.linkage, made.signer);
        Ok(Answer::Loaded(Box::new(extension.describe(number, Mail::default(), Bill::default()))))
    }
}
