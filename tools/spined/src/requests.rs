//! What clients ask for, followed or refused.

use std::os::fd::OwnedFd;

use spine_abi::interface::{Domain, Domains};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_os::daemon::protocol::{
    AdapterInfo, Answer, Call, ExtensionNumber, Load, PAGE, Request, VERSION,
};
use spine_os::policy::Limits;

use crate::claims::Claims;
use crate::clients::{ClientId, Who};
use crate::extensions::{Extension, Usage};
use crate::job::{Done, Order, Prepared, Then};
use crate::server::Server;
use crate::statistics;

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
            Request::Unload { extension } => self.unload_for(&who, extension),
            Request::Attach { extension } => self.attach(id, &who, extension),
            Request::Send { extension, handler, arguments } => {
                self.send(&who, extension, handler, &arguments)
            }
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
        let extensions = page.map(|(number, extension)| extension.describe(number)).collect();
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
        Ok(Answer::Statistics(Box::new(statistics::translate(&counted, &classified))))
    }

    fn position(&self, interface: &str) -> Result<usize, String> {
        self.wires.position(interface).ok_or_else(|| {
            let names: Vec<&str> = self.wires.wires.iter().map(|wire| wire.name.as_str()).collect();
            format!("spined has no adapter on {interface:?}; it has {}", names.join(", "))
        })
    }

    /// The extension of this number, if the user may command it.
    fn commanded(&mut self, who: &Who, number: ExtensionNumber) -> Result<&mut Extension, String> {
        let found = self.extensions.get_mut(number);
        let extension = found.ok_or_else(|| format!("there is no extension {number}"))?;
        if who.user != 0 && who.user != extension.user {
            return Err(format!("extension {number} ({}) is another user's", extension.name));
        }
        Ok(extension)
    }

    fn unload_for(&mut self, who: &Who, number: ExtensionNumber) -> Result<Answer, String> {
        self.commanded(who, number)?;
        let extension = self.extensions.get(number).ok_or("it is gone already")?;
        if let Some((importer, it)) = self.extensions.importer_of(extension) {
            return Err(format!(
                "extension {importer} ({}) is linked against what {number} ({}) exports: unload that one first",
                it.name, extension.name
            ));
        }
        self.unload(number, &format!("{} unloaded it", who.name));
        Ok(Answer::Done)
    }

    fn attach(
        &mut self,
        id: ClientId,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<Answer, String> {
        let extension = self.commanded(who, number)?;
        if !extension.listeners.contains(&id) {
            extension.listeners.push(id);
        }
        Ok(Answer::Done)
    }

    fn send(
        &mut self,
        who: &Who,
        number: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
    ) -> Result<Answer, String> {
        let extension = self.commanded(who, number)?;
        if !extension.handlers.contains(&handler) {
            return Err(format!(
                "extension {number} ({}) has no handler {handler}; it has {:?}",
                extension.name, extension.handlers
            ));
        }
        let (wire, each_second) = (extension.wire, extension.messages_per_second);
        if !self.clients.may_send(who.user, each_second) {
            return Err(format!("more than {each_second} messages in a second: send slower"));
        }
        let adapter = self.wires.machine.adapters().get(wire).ok_or("the adapter is gone")?;
        let message = Message::small(HandlerNumber(handler), Endpoint::Host, arguments);
        adapter.send(message).map_err(|error| error.to_string())?;
        if let Some(extension) = self.extensions.get_mut(number) {
            extension.sent += 1;
        }
        Ok(Answer::Done)
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
        let claims = Claims { prefixes: load.prefixes, ports: load.ports };
        self.may_claim(wire, &claims)?;
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

    fn may_claim(&self, wire: usize, claims: &Claims) -> Result<(), String> {
        match self.extensions.rival(wire, claims) {
            Some(other) => Err(format!(
                "the extension {} has claimed these packets of {} already: a port is one extension's, and so are all prefixes of an interface",
                other.name, other.interface
            )),
            None => Ok(()),
        }
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
            Then::Replace(number) => self.swap(&done.order, number, prepared),
        });
        self.answer(id, call, result);
    }

    fn install(
        &mut self,
        order: Order,
        prepared: Prepared,
        keep: bool,
        handler: Option<u16>,
    ) -> Result<Answer, String> {
        let Prepared { loaded, name, handlers, domains, linkage, memory, fuel, limits } = prepared;
        self.extensions.still(order.wire, &order.shown, &linkage.links)?;
        let region_bytes = order.regions.iter().map(|(_, bytes)| bytes).sum();
        let more = Usage { extensions: 1, memory, region_bytes };
        if let Some(over) = self.extensions.usage(order.who.user).over(more, &limits) {
            return Err(over);
        }
        let receiver = receiver(&name, &handlers, handler)?;
        self.may_claim(order.wire, &order.claims)?;
        let adapter = self.wires.machine.adapters().get(order.wire).ok_or("the adapter is gone")?;
        let place = adapter.install(loaded).map_err(|error| error.to_string())?;
        // Whoever was there before was unloaded by the adapter itself, and the notice is on its way.
        if let Some(gone) = self.extensions.at(order.wire, place.0) {
            self.extensions.expect_notice(order.wire, place.0);
            self.struck_out(gone, "its handlers were stopped too often");
        }
        let Limits { messages_per_second, .. } = limits;
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
            sent: 0,
            received: 0,
            lost: 0,
        });
        self.claim(number)?;
        let described = self.extensions.get(number).map(|extension| extension.describe(number));
        described.map(Answer::Loaded).ok_or_else(|| "it is gone again".to_owned())
    }

    /// Puts what a job has made in an extension's place.
    fn swap(
        &mut self,
        order: &Order,
        number: ExtensionNumber,
        prepared: Prepared,
    ) -> Result<Answer, String> {
        let Prepared { loaded, name, handlers, domains, linkage, memory, limits, .. } = prepared;
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
        extension.linkage = linkage;
        Ok(Answer::Loaded(extension.describe(number)))
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
