//! What clients ask for, followed or refused.
//!
//! | file | requests |
//! |---|---|
//! | `look` | adapters, extensions, statistics, peers |
//! | `load`, `install` | load: up to the job, and from there on the adapter |
//! | `replace` | replace |
//! | `crate::claim_requests` | claim |
//! | `fifo`, `own` | attach, unload, and the FIFO that a client gets with its first extension |
//!
//! None of them waits for an adapter: what is asked of one goes by [`crate::asks`], and the client is answered when
//! the answer is there.

mod fifo;
mod install;
mod load;
mod look;
mod own;
mod replace;

use std::os::fd::OwnedFd;

use spine_client::daemon::protocol::{Answer, Call, ExtensionNumber, Request, VERSION};
use spine_io::AdapterHandle;

use crate::asks::Caller;
use crate::clients::{ClientId, Who};
use crate::extensions::Extension;
use crate::server::Server;

pub(crate) use self::look::{Heard, Listing};

/// An answer, and what goes beside it.
type Answered = Result<(Answer, Vec<OwnedFd>), String>;

impl Server {
    /// Follows a call: answers it, or starts what will.
    pub(crate) fn follow(&mut self, id: ClientId, call: Call, descriptors: Vec<OwnedFd>) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        let who = client.who.clone();
        if !client.greeted {
            return self.greet(id, call);
        }
        let caller = Caller { client: id, call: call.id, user: who.user };
        let begun = match call.request {
            Request::Hello { .. } => Err("hello was said before".to_owned()),
            Request::Adapters => {
                let adapters = self.adapters();
                return self.answer(id, call.id, Ok(adapters));
            }
            Request::Extensions { after } => {
                self.list_extensions(caller, after);
                Ok(())
            }
            Request::Peers => {
                self.list_peers(caller);
                Ok(())
            }
            Request::Load(load) => {
                self.load_order(caller, who, load, descriptors).and_then(|order| self.submit(order))
            }
            Request::Replace { extension, signature } => self
                .replace_order(caller, who, extension, signature, descriptors)
                .and_then(|order| self.submit(order)),
            Request::Unload { extension } => self.unload_for(caller, &who, extension),
            Request::Attach { extension } => self.attach(caller, &who, extension),
            Request::Claim(claim) => {
                let changed = self.change_claims(&who, &claim);
                return self.answer(id, call.id, changed);
            }
            Request::Statistics { interface } => self.statistics(caller, &interface),
        };
        if let Err(why) = begun {
            self.answer(id, call.id, Err(why));
        }
    }

    fn greet(&mut self, id: ClientId, call: Call) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        match call.request {
            Request::Hello { version: VERSION, program } => {
                client.greeted = true;
                let user = &client.who.name;
                tracing::debug!(client = ?id, user, program = ?program, "hello");
                let daemon = concat!("spined ", env!("CARGO_PKG_VERSION")).to_owned();
                self.answer(id, call.id, Ok(Answer::Hello { version: VERSION, daemon }));
            }
            Request::Hello { version, .. } => self.send_away(
                id,
                &format!("this spined speaks version {VERSION} of the protocol, not {version}"),
            ),
            _ => self.send_away(id, "the first request must be hello"),
        }
    }

    /// Asks an adapter something for a client, which waits for it.
    fn ask_for<T: Send + 'static>(
        &mut self,
        caller: Caller,
        wire: usize,
        question: impl FnOnce(&AdapterHandle) -> T + Send + 'static,
        then: impl FnOnce(&mut Self, Option<Caller>, T) + Send + 'static,
    ) -> Result<(), String> {
        self.asks.ask(wire, Some(caller), question, then)?;
        if let Some(client) = self.clients.all.get_mut(&caller.client) {
            client.busy = true;
        }
        Ok(())
    }

    /// Answers whoever still waits.
    fn answer_caller(&mut self, caller: Option<Caller>, result: Answered) {
        if let Some(Caller { client, call, .. }) = caller {
            self.answer_with(client, call, result);
        }
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
        if who.user != 0 && who.user != extension.who.user {
            return Err(format!("extension {number} ({}) is another user's", extension.name));
        }
        Ok(extension)
    }
}
