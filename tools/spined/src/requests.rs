//! What clients ask for, followed or refused.

use std::os::fd::OwnedFd;

use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::HOST_FIFO;
use spine_io::stats::Mail;
use spine_io::{Allowance, ExtensionId, FifoId, LoadError};
use spine_os::daemon::protocol::{
    AdapterInfo, Answer, Call, ExtensionNumber, Load, PAGE, Request, VERSION,
};
use spine_os::policy::Limits;

use crate::claims::Claims;
use crate::clients::{ClientId, FIFOS_OF_USER, Who};
use crate::extensions::{Extension, Usage};
use crate::job::{Done, Order, Prepared, Then};
use crate::server::Server;
use crate::statistics;

/// Messages that a client's FIFO holds each way.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^32")]
const FIFO_MESSAGES: u32 = HOST_FIFO as u32;

impl Server {
    /// Follows a call: answers it, or starts the job that will.
    pub(crate) fn follow(&mut self, id: ClientId, call: Call, descriptors: Vec<OwnedFd>) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        let who = client.who.clone();
        if !client.greeted {
            return match call.request {
                Request::Hello { version: VERSION, program } => {
                    client.greeted = true;
                    tracing::debug!(client = ?id, user = who.name, program = ?program, "hello");
                    let daemon = concat!("spined ", env!("CARGO_PKG_VERSION")).to_owned();
                    self.answer(id, call.id, Ok(Answer::Hello { version: VERSION, daemon }));
                }
                Request::Hello { version, .. } => self.send_away(
                    id,
                    &format!("this spined speaks version {VERSION} of the protocol, not {version}"),
                ),
                _ => self.send_away(id, "the first request must be hello"),
            };
        }
        let result = match call.request {
            Request::Hello { .. } => Err("hello was said before".to_owned()),
            Request::Adapters => Ok(self.adapters()),
            Request::Extensions { after } => Ok(self.page(after)),
            Request::Load(load) => match self.load_order(id, call.id, who, load, descriptors) {
                Ok(order) => return self.submit(order),
                Err(why) => Err(why),
            },
            Request::Replace { extension, signature } => {
                match self.replace_order(id, call.id, who, extension, signature, descriptors) {
                    Ok(order) => return self.submit(order),
                    Err(why) => Err(why),
                }
            }
            Request::Unload { extension } => self.unload_for(id, &who, extension),
            Request::Attach { extension } => {
                let attached = self.attach(id, &who, extension);
                return self.answer_with(id, call.id, attached);
            }
            Request::Claim(claim) => self.change_claims(&who, &claim),
            Request::Statistics { interface } => self.statistics(&interface),
        };
        self.answer(id, call.id, result);
    }

    fn adapters(&self) -> Answer {
        let describe = |(position, adapter): (usize, &spine_io::AdapterHandle)| AdapterInfo {
            interface: adapter.name().to_owned(),
            index: adapter.index(),
            mode: adapter.statistics().map(|found| found.mode).unwrap_or_default(),
            extensions: u32::try_from(self.extensions.on(position)).unwrap_or(u32::MAX),
        };
        Answer::Adapters(self.wires.machine.adapters().iter().enumerate().map(describe).collect())
    }

    fn page(&self, after: ExtensionNumber) -> Answer {
        let mut found = self.extensions.after(after);
        let page = found.by_ref().take(PAGE);
        let adapters = self.wires.machine.adapters().iter();
        // One that does not answer has counted nothing.
        let mail: Vec<_> =
            adapters.map(|adapter| adapter.statistics().unwrap_or_default().mail).collect();
        let describe = |(number, extension): (ExtensionNumber, &Extension)| {
            let of_place = |(place, _): &&(ExtensionId, Mail)| *place == extension.place;
            let mail = mail.get(extension.wire).and_then(|all| all.iter().find(of_place));
            extension.describe(number, mail.map_or_else(Mail::default, |(_, mail)| *mail))
        };
        let extensions = page.map(describe).collect();
        Answer::Extensions { extensions, more: found.next().is_some() }
    }

    fn statistics(&mut self, interface: &str) -> Result<Answer, String> {
        let position = self.position(interface)?;
        let adapter = self.wires.machine.adapters().get(position).ok_or("the adapter is gone")?;
        let counted = adapter.statistics().map_err(|error| error.to_string())?;
        let classified = match self.wires.wires.get(position) {
            Some(wire) => wire.classifier.counters().map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let user_of = |fifo| self.clients.user_of(position, fifo);
        Ok(Answer::Statistics(Box::new(statistics::translate(&counted, &classified, user_of))))
    }

    fn position(&self, interface: &str) -> Result<usize, String> {
        self.wires.position(interface).ok_or_else(|| {
            let names: Vec<&str> = self.wires.wires.iter().map(|wire| wire.name.as_str()).collect();
            format!("spined has no adapter on {interface:?}; it has {}", names.join(", "))
        })
    }

    /// The extension of this number, if the user may command it.
    pub(crate) fn commanded(
        &mut self,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<&mut Extension, String> {
        let found = self.extensions.get_mut(number);
        let extension = found.ok_or_else(|| format!("there is no extension {number}"))?;
        if who.user != 0 && who.user != extension.user {
            return Err(format!("extension {number} ({}) is another user's", extension.name));
        }
        Ok(extension)
    }

    fn unload_for(
        &mut self,
        id: ClientId,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<Answer, String> {
        self.commanded(who, number)?;
        let extension = self.extensions.get(number).ok_or("it is gone already")?;
        if let Some((importer, it)) = self.extensions.importer_of(extension) {
            return Err(format!(
                "extension {importer} ({}) is linked against what {number} ({}) exports: unload that one first",
                it.name, extension.name
            ));
        }
        // Who asks is told by the answer.
        self.commanded(who, number)?.listeners.retain(|listener| *listener != id);
        self.unload(number, &format!("{} unloaded it", who.name));
        Ok(Answer::Done)
    }

    fn attach(
        &mut self,
        id: ClientId,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<(Answer, Vec<OwnedFd>), String> {
        let Extension { wire, place, messages_per_second, .. } = *self.commanded(who, number)?;
        let (fifo, beside) = self.fifo(id, wire, messages_per_second)?;
        let adapter = self.wires.machine.adapters().get(wire).ok_or("the adapter is gone")?;
        adapter.share(place, fifo).map_err(|error| match error {
            // The adapter has just unloaded it.
            LoadError::NoExtension { .. } => format!("there is no extension {number} any more"),
            error => error.to_string(),
        })?;
        let extension = self.commanded(who, number)?;
        if !extension.listeners.contains(&id) {
            extension.listeners.push(id);
        }
        Ok((Answer::Attached(extension.describe(number, Mail::default())), beside))
    }

    /// A client's FIFO to an adapter, and what it must be given to use it if it is new.
    fn fifo(
        &mut self,
        id: ClientId,
        wire: usize,
        each_second: u32,
    ) -> Result<(FifoId, Vec<OwnedFd>), String> {
        let client = self.clients.all.get(&id).ok_or("the client is gone")?;
        if let Some(fifo) = client.fifos.get(&wire) {
            return Ok((*fifo, Vec::new()));
        }
        let owner = client.who.user;
        if self.clients.fifos_of(owner, wire) >= FIFOS_OF_USER {
            return Err(format!(
                "{FIFOS_OF_USER} connections of this user talk with this adapter, and no more can"
            ));
        }
        let adapter = self.wires.machine.adapters().get(wire).ok_or("the adapter is gone")?;
        let allowance = Allowance { owner, each_second };
        let opened = adapter.open_fifo_within(FIFO_MESSAGES, allowance);
        let (fifo, fds) = opened.map_err(|error| error.to_string())?;
        if let Some(client) = self.clients.all.get_mut(&id) {
            client.fifos.insert(wire, fifo);
        }
        Ok((fifo, fds.into_fds().into()))
    }

    fn load_order(
        &self,
        client: ClientId,
        call: u64,
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
        self.extensions.no_rival(wire, &claims)?;
        Ok(Order {
            client,
            call,
            who,
            wasm,
            signature: load.signature,
            wire,
            interface: load.interface,
            claims,
            shown: self.extensions.shown(wire),
            domains: load.domains.map(|names| domains(&names)).transpose()?,
            fuel: load.fuel,
            regions: files.into_iter().zip(load.regions).collect(),
            then: Then::Load { keep: load.keep, handler: load.handler },
        })
    }

    fn replace_order(
        &mut self,
        client: ClientId,
        call: u64,
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
            client,
            call,
            who,
            wasm,
            signature,
            wire,
            interface: extension.interface.clone(),
            claims: extension.claims.clone(),
            shown: Vec::new(),
            domains: None,
            fuel: Some(extension.fuel),
            regions,
            then: Then::Replace(number),
        };
        order.shown = self.extensions.shown(wire);
        Ok(order)
    }

    fn submit(&mut self, order: Order) {
        if !self.policy.knows(order.who.user, &order.who.groups) {
            let why = format!(
                "the policy grants {} nothing on {}: no domain, and so no extension",
                order.who.name, order.interface
            );
            return self.answer(order.client, order.call, Err(why));
        }
        if let Some(client) = self.clients.all.get_mut(&order.client) {
            client.busy = true;
        }
        let has = self.extensions.usage(order.who.user);
        self.jobs.submit(order, &self.policy, has);
    }

    /// Installs what a job has made, if its client is still there.
    pub(crate) fn finish(&mut self, done: Done) {
        let (id, call) = (done.order.client, done.order.call);
        match self.clients.all.get_mut(&id) {
            Some(client) => client.busy = false,
            None => return,
        }
        let result = done.result.and_then(|prepared| match done.order.then {
            Then::Load { keep, handler } => self.install(done.order, prepared, keep, handler),
            Then::Replace(number) => {
                let swapped = self.swap(&done.order, number, prepared);
                swapped.map(|answer| (answer, Vec::new()))
            }
        });
        self.answer_with(id, call, result);
    }

    fn install(
        &mut self,
        order: Order,
        prepared: Prepared,
        keep: bool,
        handler: Option<u16>,
    ) -> Result<(Answer, Vec<OwnedFd>), String> {
        let Prepared { mut loaded, name, handlers, domains, linkage, memory, fuel, limits, signer } =
            prepared;
        self.extensions.still(order.wire, &order.shown, &linkage.links)?;
        let region_bytes = order.regions.iter().map(|(_, bytes)| bytes).sum();
        let claims = order.claims.prefixes.len() as u64;
        let more = Usage { extensions: 1, memory, region_bytes, claims };
        if let Some(over) = self.extensions.usage(order.who.user).over(more, &limits) {
            return Err(over);
        }
        let (client, wire) = (order.client, order.wire);
        let receiver = receiver(&name, &handlers, handler)?;
        self.extensions.no_rival(order.wire, &order.claims)?;
        let Limits { messages_per_second, .. } = limits;
        let (fifo, beside) = self.fifo(order.client, order.wire, messages_per_second)?;
        let adapter = self.wires.machine.adapters().get(order.wire).ok_or("the adapter is gone")?;
        loaded.set_application(fifo);
        let installed = adapter.install(loaded).map_err(|error| error.to_string());
        let place = match installed {
            Ok(place) => place,
            Err(why) => {
                self.close_unused(order.client, order.wire, &beside);
                return Err(why);
            }
        };
        // Whoever was there before was unloaded by the adapter itself, and the notice is on its way.
        if let Some(gone) = self.extensions.at(order.wire, place.0) {
            self.extensions.expect_notice(order.wire, place.0);
            self.struck_out(gone, "its handlers were stopped too often");
        }
        let number = self.extensions.insert(Extension {
            name,
            wire: order.wire,
            interface: order.interface,
            place,
            user: order.who.user,
            owner: (!keep).then_some(order.client),
            listeners: vec![order.client],
            handlers,
            domains,
            linkage,
            claims: order.claims,
            receiver,
            regions: order.regions,
            memory,
            fuel,
            messages_per_second,
            version: 1,
            signer,
        });
        if let Err(why) = self.claim(number) {
            self.close_unused(client, wire, &beside);
            return Err(why);
        }
        let extension = self.extensions.get(number).ok_or("it is gone again")?;
        Ok((Answer::Loaded(extension.describe(number, Mail::default())), beside))
    }

    /// Closes a FIFO that was opened for nothing: the client never gets its end.
    fn close_unused(&mut self, id: ClientId, wire: usize, opened: &[OwnedFd]) {
        if opened.is_empty() {
            return;
        }
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        if let Some(fifo) = client.fifos.remove(&wire) {
            self.close_fifo(wire, fifo);
        }
    }

    /// Closes a client's FIFO. What it sent before is delivered.
    pub(crate) fn close_fifo(&self, wire: usize, fifo: FifoId) {
        let adapter = self.wires.machine.adapters().get(wire);
        if let Some(Err(error)) = adapter.map(|adapter| adapter.close_fifo(fifo)) {
            tracing::error!(%error, "cannot close a FIFO");
        }
    }

    /// Puts what a job has made in an extension's place.
    fn swap(
        &mut self,
        order: &Order,
        number: ExtensionNumber,
        prepared: Prepared,
    ) -> Result<Answer, String> {
        let Prepared { loaded, name, handlers, domains, linkage, memory, limits, signer, .. } =
            prepared;
        let who = &order.who;
        self.extensions.still(order.wire, &order.shown, &linkage.links)?;
        let user = self.commanded(who, number)?.user;
        let mut usage = self.extensions.usage(user);
        let extension = self.commanded(who, number)?;
        usage.memory -= extension.memory;
        let more = Usage { memory, ..Usage::default() };
        if let Some(over) = usage.over(more, &limits) {
            return Err(over);
        }
        let (wire, place) = (extension.wire, extension.place);
        // What the classifier stamps on claimed packets must find a handler still.
        let stamped = extension.receiver.0;
        if !extension.claims.is_empty() && !handlers.contains(&stamped) {
            return Err(format!(
                "the packets this extension claimed are for its handler {stamped}, which the new version lacks"
            ));
        }
        let adapter = self.wires.machine.adapters().get(wire).ok_or("the adapter is gone")?;
        adapter.replace(place, loaded).map_err(|error| error.to_string())?;
        let extension = self.commanded(who, number)?;
        extension.version += 1;
        (extension.name, extension.handlers) = (name, handlers);
        (extension.domains, extension.memory) = (domains, memory);
        (extension.linkage, extension.signer) = (linkage, signer);
        Ok(Answer::Loaded(extension.describe(number, Mail::default())))
    }

    /// Has the classifier give an extension the packets it claims; without them it is not loaded.
    fn claim(&mut self, number: ExtensionNumber) -> Result<(), String> {
        let Some(extension) = self.extensions.get(number) else { return Ok(()) };
        let Some(wire) = self.wires.wires.get_mut(extension.wire) else { return Ok(()) };
        let claimed = wire.claim(&extension.claims, extension.receiver);
        claimed.map_err(|error| {
            self.unload(number, "its packets could not be claimed");
            error.to_string()
        })
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

/// The module, and the regions behind it.
fn first(descriptors: Vec<OwnedFd>) -> Result<(OwnedFd, Vec<OwnedFd>), String> {
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
