//! Installing an extension that a job has made.
//!
//! What was allowed when the load was asked for, and when the job began, is looked at once more on either side
//! of the adapter's answer: others may have come before.

use std::os::fd::OwnedFd;

use spine_abi::HandlerNumber;
use spine_client::daemon::protocol::{Answer, Bill, ExtensionNumber};
use spine_io::stats::Mail;
use spine_io::{AdapterHandle, ExtensionId};

use super::fifo::Opened;
use crate::asks::Caller;
use crate::clients::ClientId;
use crate::extensions::{Extension, Usage};
use crate::job::{Order, Prepared};
use crate::peers;
use crate::server::Server;

/// What is to be installed, without the instance itself.
struct Arrival {
    order: Order,
    made: Prepared,
    /// The numbers of its handlers on the adapter.
    numbers: Vec<u16>,
    keep: bool,
    receiver: HandlerNumber,
}

impl Server {
    /// Has the adapter install what a job has made.
    ///
    /// # Errors
    /// A sentence; nothing is installed.
    pub(super) fn install(
        &mut self,
        caller: Caller,
        order: Order,
        mut made: Prepared,
        keep: bool,
        handler: Option<u16>,
    ) -> Result<(), String> {
        let receiver = receiver(&made.name, &made.handlers, handler)?;
        let wire = order.wire;
        self.may_arrive(&order, &made)?;
        let opening = self.open_fifo(caller.client, wire, made.limits.messages_per_second)?;
        let mut loaded = made.loaded.take().ok_or("there is no instance")?;
        // Who loads ten extensions has the share of one.
        loaded.set_remotes(peers::places(&self.wires.peers, wire, &order.peers)?);
        let user = order.who.user;
        let numbers = self.extensions.numbers.give(wire, user, &made.handlers)?;
        loaded.set_egress(made.egress);
        loaded.set_owner(made.owner(&order), numbers.iter().copied().map(HandlerNumber).collect());
        let question = move |adapter: &AdapterHandle| {
            let opened = opening.open(adapter)?;
            loaded.set_application(opened.fifo());
            match adapter.install(loaded) {
                Ok(place) => Ok((place, opened)),
                Err(error) => {
                    opened.close(adapter);
                    Err(error.to_string())
                }
            }
        };
        let given = numbers.clone();
        let arrival = Arrival { order, made, numbers, keep, receiver };
        let asked = self.ask_for(caller, wire, question, move |server, caller, installed| {
            server.installed(caller, arrival, installed);
        });
        if let Err(why) = asked {
            self.extensions.numbers.take_back(wire, &given);
            return Err(why);
        }
        self.extensions.expect_arrival(wire);
        Ok(())
    }

    /// Whether it may still be installed.
    fn may_arrive(&self, order: &Order, made: &Prepared) -> Result<(), String> {
        self.extensions.still(order.wire, &order.shown, &made.linkage.links)?;
        self.extensions.are_new(order.wire, order.client, &made.name, &made.handlers)?;
        let region_bytes = order.regions.iter().map(|(_, bytes)| bytes).sum();
        let claims = order.claims.prefixes.len() as u64;
        let more = Usage { extensions: 1, memory: made.memory, region_bytes, claims };
        if let Some(over) = self.extensions.usage(order.who.user).over(more, &made.limits) {
            return Err(over);
        }
        self.may_claim(order.wire, &order.claims, &order.who)
    }

    /// Takes in an extension that an adapter has installed, or undoes it.
    fn installed(
        &mut self,
        caller: Option<Caller>,
        arrival: Arrival,
        installed: Result<(ExtensionId, Opened), String>,
    ) {
        let wire = arrival.order.wire;
        let (place, opened) = match installed {
            Ok(installed) => installed,
            Err(why) => {
                self.extensions.arrived(wire, None);
                self.extensions.numbers.take_back(wire, &arrival.numbers);
                return self.answer_caller(caller, Err(why));
            }
        };
        // Whoever was there before was unloaded by the adapter itself, and the notice is on its way.
        if let Some(gone) = self.extensions.at(wire, place.0) {
            self.extensions.expect_notice(wire, place.0);
            self.struck_out(gone, "its handlers were stopped too often");
        }
        let ended = self.extensions.arrived(wire, Some(place.0));
        let refused = match caller {
            None => Err("nobody waits for it any more".to_owned()),
            Some(Caller { client, .. }) => self
                .may_arrive(&arrival.order, &arrival.made)
                .and_then(|()| self.is_granted_still(&arrival.order, &arrival.made))
                .and_then(|()| self.still_room(client, wire, &opened)),
        };
        if let Err(why) = refused {
            if ended.is_none() {
                self.take_off(wire, place, &arrival.made.name, None);
            }
            // Its adapter takes it off before it is asked to install the next.
            self.extensions.numbers.take_back(wire, &arrival.numbers);
            self.close_unused(wire, opened);
            return self.answer_caller(caller, Err(why));
        }
        let Some(Caller { client, .. }) = caller else { return };
        let beside = self.take_fifo(client, wire, opened);
        self.take_over(wire, &arrival.order.claims, &arrival.order.who);
        let number = self.extensions.insert(arrival.into_extension(client, place));
        let answer = match self.claim(number) {
            Ok(()) => self.loaded(number, beside),
            Err(why) => {
                self.forget_fifo(client, wire, &beside);
                Err(why)
            }
        };
        self.answer_caller(caller, answer);
        if let Some(notice) = ended {
            self.hear_of_end(number, notice);
        }
    }

    fn loaded(
        &self,
        number: ExtensionNumber,
        beside: Vec<OwnedFd>,
    ) -> Result<(Answer, Vec<OwnedFd>), String> {
        let extension = self.extensions.get(number).ok_or("it is gone again")?;
        Ok((
            Answer::Loaded(Box::new(extension.describe(number, Mail::default(), Bill::default()))),
            beside,
        ))
    }

    /// Closes a FIFO that its client has not been given.
    fn forget_fifo(&mut self, id: ClientId, wire: usize, opened: &[OwnedFd]) {
        let Some(client) = self.clients.all.get_mut(&id).filter(|_| !opened.is_empty()) else {
            return;
        };
        if let Some(fifo) = client.fifos.remove(&wire) {
            self.close_fifo(wire, fifo);
        }
    }

    /// Has the classifier give an extension the packets it claims; without them it is not loaded.
    fn claim(&mut self, number: ExtensionNumber) -> Result<(), String> {
        let Some(extension) = self.extensions.get(number) else { return Ok(()) };
        let Some(wire) = self.wires.wires.get_mut(extension.wire) else { return Ok(()) };
        let claimed = wire.claim(&extension.claims, extension.stamp());
        if claimed.is_ok() && !extension.claims.is_empty() {
            self.wires.unstamped(extension.wire, extension.stamp());
        }
        claimed.map_err(|error| {
            self.unload(number, "its packets could not be claimed", None);
            error.to_string()
        })
    }
}

impl Arrival {
    fn into_extension(self, client: ClientId, place: ExtensionId) -> Extension {
        let Self { order, made, numbers, keep, receiver } = self;
        Extension {
            name: made.name,
            wire: order.wire,
            interface: order.interface,
            place,
            who: order.who,
            owner: (!keep).then_some(client),
            listeners: vec![client],
            handlers: made.handlers,
            numbers,
            client: order.client,
            domains: made.domains,
            linkage: made.linkage,
            claims: order.claims,
            peers: order.peers,
            receiver,
            regions: order.regions,
            memory: made.memory,
            fuel: made.fuel,
            messages_per_second: made.limits.messages_per_second,
            version: 1,
            signer: made.signer,
            uncovered: None,
        }
    }
}

/// The handler that packets are for.
fn receiver(name: &str, handlers: &[u16], wanted: Option<u16>) -> Result<HandlerNumber, String> {
    let number = wanted.or_else(|| handlers.first().copied()).unwrap_or(0);
    if handlers.contains(&number) {
        return Ok(HandlerNumber(number));
    }
    Err(format!("the extension {name} has no handler {number}; it has {handlers:?}"))
}
