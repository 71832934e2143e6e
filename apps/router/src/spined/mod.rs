//! Adapters of a running `spined`: the same router, on interfaces that the daemon owns.
//!
//! The extension is loaded there by the communication library; the table's region is shared with it by its
//! file, so routes go on being written by this process alone, swaps and their acknowledgements cross by the
//! FIFOs, and what is claimed is told to the daemon (`classifier`). When this process ends, however it does,
//! the daemon unloads the extension and the kernel forwards; when the daemon ends, the router does, too.
//!
//! The router takes those of the daemon's interfaces that it is given, and no others: a packet whose way out is
//! one of the rest is the kernel's, as it is for any other interface. A next hop's `peer` is the daemon's number of
//! an adapter, not the position of its interface ([`Interfaces`](crate::interfaces::Interfaces)).
//!
//! Left out: interfaces of the daemon together with interfaces of one's own, which have no frames in common.

mod classifier;
mod statistics;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use spine_abi::{Endpoint, Message};
use spine_client::memory::Region;
use spine_client::{
    AdapterInfo, AdapterStatistics as Counted, Client, ClientError, ExtensionNumber, Load,
};
use spine_fib::protocol::{FORWARD, SWAPPED};

use self::classifier::{Told, Wire};
use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::Classifier;
use crate::netlink::state::IfIndex;

/// Why the daemon's adapters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpinedError {
    /// It does not have all interfaces that the router was given.
    #[error(
        "spined owns {owned}, and not {missing}: a router takes all of its interfaces from spined, or none (--iface)"
    )]
    Interfaces {
        /// All interfaces of the daemon.
        owned: String,
        /// Those of the router that are not among them.
        missing: String,
    },
    /// It refuses, or is gone.
    #[error("the adapters of spined: {0}")]
    Client(#[from] ClientError),
}

/// A daemon that owns an interface.
pub struct Owner {
    client: Client,
    adapters: Vec<AdapterInfo>,
}

/// The router's extension on the adapters of a daemon.
pub struct Spined {
    client: Rc<RefCell<Client>>,
    adapters: Vec<Attached>,
}

#[derive(Clone)]
struct Attached {
    interface: String,
    extension: ExtensionNumber,
    /// What the adapter had counted before.
    before: Counted,
}

impl Owner {
    /// This machine's daemon, if it owns an interface.
    pub fn of(interface: &str) -> Option<Self> {
        let mut client = Client::open("spine-router").ok()?;
        let adapters = client.adapters().ok()?;
        let owns = adapters.iter().any(|adapter| adapter.interface == interface);
        owns.then_some(Self { client, adapters })
    }

    /// The daemon's numbers of the adapters of the given interfaces, in their order.
    ///
    /// # Errors
    /// [`SpinedError::Interfaces`].
    pub fn numbers(&self, given: &[String]) -> Result<Vec<u16>, SpinedError> {
        numbers(&self.adapters, given)
    }

    /// Loads the extension on the adapters of these interfaces, with the table as its region. It is given no
    /// packet yet, and nobody else can claim destinations on them.
    ///
    /// # Errors
    /// [`SpinedError::Client`]: by the policy, for one, or because destinations are another extension's. Nothing
    /// stays behind.
    pub fn load(
        self,
        interfaces: &[String],
        module: &[u8],
        table: &Region,
    ) -> Result<Spined, SpinedError> {
        let Self { mut client, .. } = self;
        let mut adapters = Vec::new();
        for interface in interfaces {
            let before = client.statistics(interface)?;
            let load = Load {
                interface: interface.clone(),
                claimant: true,
                handler: Some(FORWARD.0),
                ..Load::default()
            };
            let extension = client.load(&load, module, &[table])?.number;
            adapters.push(Attached { interface: interface.clone(), extension, before });
        }
        Ok(Spined { client: Rc::new(RefCell::new(client)), adapters })
    }
}

fn numbers(adapters: &[AdapterInfo], given: &[String]) -> Result<Vec<u16>, SpinedError> {
    let of = |name: &String| adapters.iter().find(|adapter| adapter.interface == *name);
    let missing: Vec<&str> =
        given.iter().filter(|name| of(name).is_none()).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(given.iter().filter_map(of).map(|adapter| adapter.index).collect());
    }
    Err(SpinedError::Interfaces {
        owned: adapters.iter().map(|at| at.interface.as_str()).collect::<Vec<_>>().join(", "),
        missing: missing.join(", "),
    })
}

impl Spined {
    /// The adapters, for the host half.
    pub fn adapters(&self) -> Vec<Box<dyn Adapter>> {
        let handle = |attached: &Attached| {
            let (client, attached) = (Rc::clone(&self.client), attached.clone());
            Box::new(Handle { client, attached }) as Box<dyn Adapter>
        };
        self.adapters.iter().map(handle).collect()
    }

    /// The daemon's classifiers of these interfaces, which are the adapters' in their order.
    pub fn classifier(&self, interfaces: &[IfIndex]) -> Box<dyn Classifier> {
        let wires = interfaces.iter().zip(&self.adapters);
        let wires = wires.map(|(index, at)| Wire {
            index: *index,
            extension: at.extension,
            changes: Vec::new(),
        });
        Box::new(Told::new(Rc::clone(&self.client), wires.collect()))
    }

    /// Takes the extension off the adapters: the kernel has every packet again.
    ///
    /// # Errors
    /// [`SpinedError::Client`]: an adapter has unloaded it before, or the daemon is gone.
    pub fn unload(&self) -> Result<(), SpinedError> {
        let mut client = self.client.borrow_mut();
        self.adapters.iter().try_for_each(|at| Ok(client.unload(at.extension)?))
    }

    /// What the daemon's classifiers counted since the router came: packets claimed, and passed by reason.
    ///
    /// # Errors
    /// [`SpinedError::Client`]: the daemon is gone.
    pub fn classified(&self) -> Result<BTreeMap<String, u64>, SpinedError> {
        let mut all = BTreeMap::new();
        for Attached { interface, before, .. } in &self.adapters {
            let now = self.client.borrow_mut().statistics(interface)?;
            for (name, count) in statistics::since(&now.classifier, &before.classifier) {
                *all.entry(name).or_default() += count;
            }
        }
        Ok(all)
    }
}

/// One adapter of the daemon.
struct Handle {
    client: Rc<RefCell<Client>>,
    attached: Attached,
}

impl Handle {
    fn error(&self, what: impl ToString) -> AdapterError {
        AdapterError { name: self.attached.interface.clone(), what: what.to_string() }
    }
}

impl Adapter for Handle {
    fn name(&self) -> &str {
        &self.attached.interface
    }

    fn send(&mut self, message: Message) -> Result<(), AdapterError> {
        let (extension, handler) = (self.attached.extension, message.header().handler.0);
        let sent = self.client.borrow_mut().send(extension, handler, message.arguments());
        sent.map_err(|error| self.error(error))
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, AdapterError> {
        let mut client = self.client.borrow_mut();
        // The extension says nothing else.
        match client.wait_for(self.attached.extension, SWAPPED.0, timeout) {
            Ok(arguments) => Ok(Some(Message::small(SWAPPED, Endpoint::Extension(0), &arguments))),
            Err(ClientError::Timeout(_)) => Ok(None),
            Err(ClientError::Ended(why)) => {
                Err(self.error(format!("its extension was unloaded: {why}")))
            }
            Err(error) => Err(self.error(error)),
        }
    }

    fn statistics(&self) -> Result<AdapterStatistics, AdapterError> {
        let now = self.client.borrow_mut().statistics(&self.attached.interface);
        let now = now.map_err(|error| self.error(error))?;
        Ok(statistics::translate(&now, &self.attached.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(interface: &str, index: u16) -> AdapterInfo {
        let (interface, mode) = (interface.to_owned(), String::new());
        AdapterInfo { interface, index, mode, extensions: 0 }
    }

    #[test]
    fn interfaces_are_the_daemons_or_refused_with_what_it_has_and_what_it_lacks() {
        let adapters = [adapter("b", 0), adapter("a", 1), adapter("c", 2)];
        let given = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            numbers(&adapters, &names).map_err(|error| error.to_string())
        };
        assert_eq!(given(&["a", "b", "c"]), Ok(vec![1, 0, 2]));
        assert_eq!(given(&["c", "a"]), Ok(vec![2, 1]));
        let why = given(&["x", "a", "y"]).expect_err("refused");
        assert!(why.starts_with("spined owns b, a, c, and not x, y:"), "{why}");
    }
}
