//! Adapters of a running `spined`: the same router, on interfaces that the daemon owns.
//!
//! The extension is loaded there by the communication library; the table's region is shared with it by its
//! file, so routes go on being written by this process alone, and swaps and their acknowledgements cross by the
//! FIFOs. When this process ends, however it does, the daemon unloads the extension and the kernel
//! forwards; when the daemon ends, the router does, too.
//!
//! Invariant: the position of one of our interfaces is its adapter's index on the daemon, since that is the
//! `peer` of a next hop. So the router takes all interfaces of the daemon, in its order.
//!
//! Left out: claims by prefix. The daemon's classifier gives the extension every packet that is not for this
//! machine, and what the table leaves to the kernel makes the way over the adapter; the same goes for the
//! time in which an obstacle stands in the way. Slower for those packets, and otherwise the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::Ipv4Net;
use spine_abi::{Endpoint, Message, Reason};
use spine_fib::protocol::{FORWARD, SWAPPED};
use spine_os::client::{
    AdapterInfo, AdapterStatistics as Counted, Client, ClientError, ExtensionNumber, Load,
};
use spine_os::memory::Region;

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::state::IfIndex;

/// Why the daemon's adapters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpinedError {
    /// It has interfaces that the router was not given, or the other way round.
    #[error(
        "spined owns {owned}, and a router on it must have exactly those: {given} is given (--iface)"
    )]
    Interfaces {
        /// All interfaces of the daemon.
        owned: String,
        /// Those of the router.
        given: String,
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
        let mut adapters = client.adapters().ok()?;
        adapters.sort_by_key(|adapter| adapter.index);
        let owns = adapters.iter().any(|adapter| adapter.interface == interface);
        owns.then_some(Self { client, adapters })
    }

    /// The positions of the given interfaces in the daemon's order.
    ///
    /// # Errors
    /// [`SpinedError::Interfaces`].
    pub fn order(&self, given: &[String]) -> Result<Vec<usize>, SpinedError> {
        order(&self.adapters, given)
    }

    /// Loads the extension on every adapter, with the table as its region. It gets every packet that is not
    /// for this machine.
    ///
    /// # Errors
    /// [`SpinedError::Client`]: by the policy, for one. Nothing stays behind.
    pub fn load(self, module: &[u8], table: &Region) -> Result<Spined, SpinedError> {
        let Self { mut client, adapters } = self;
        let mut attached = Vec::new();
        for AdapterInfo { interface, .. } in adapters {
            let before = client.statistics(&interface)?;
            let load = Load {
                interface: interface.clone(),
                prefixes: vec![Ipv4Net::default()],
                handler: Some(FORWARD.0),
                ..Load::default()
            };
            let extension = client.load(&load, module, &[table])?.number;
            attached.push(Attached { interface, extension, before });
        }
        Ok(Spined { client: Rc::new(RefCell::new(client)), adapters: attached })
    }
}

fn order(adapters: &[AdapterInfo], given: &[String]) -> Result<Vec<usize>, SpinedError> {
    let position = |adapter: &AdapterInfo| given.iter().position(|name| *name == adapter.interface);
    let found: Option<Vec<usize>> = adapters.iter().map(position).collect();
    found.filter(|found| found.len() == given.len()).ok_or_else(|| SpinedError::Interfaces {
        owned: adapters.iter().map(|at| at.interface.as_str()).collect::<Vec<_>>().join(", "),
        given: given.join(", "),
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

    /// What stands for the classifier.
    pub fn classifier(&self) -> Box<dyn Classifier> {
        Box::new(Everything)
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
            for (name, count) in since(&now.classifier, &before.classifier) {
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
        Ok(translate(&now.map_err(|error| self.error(error))?, &self.attached.before))
    }
}

/// What was counted between two times, in the router's words.
fn translate(now: &Counted, before: &Counted) -> AdapterStatistics {
    let counters = since(&now.counters, &before.counters);
    let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
    let mut dropped = by_reason(since(&now.dropped, &before.dropped));
    for (reason, name) in [
        (Reason::Oversized, "oversized"),
        (Reason::ReceiveLost, "receive_lost"),
        (Reason::TransmitFull, "transmit_failed"),
    ] {
        if counter(name) > 0 {
            *dropped.entry(reason).or_default() += counter(name);
        }
    }
    AdapterStatistics {
        mode: format!("{}, of spined", now.mode),
        received: counter("received"),
        transmitted: counter("transmitted"),
        forwarded: counter("forwarded"),
        to_kernel: by_reason(since(&now.to_kernel, &before.to_kernel)),
        dropped,
        syscalls: counter("wire_syscalls"),
        late: 0,
        left_out: Duration::ZERO,
    }
}

fn since(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let earlier = |name: &str| before.get(name).copied().unwrap_or(0);
    let counts = now.iter().map(|(name, n)| (name.clone(), n.saturating_sub(earlier(name))));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn by_reason(counts: BTreeMap<String, u64>) -> BTreeMap<Reason, u64> {
    let known = |name: &str| Reason::ALL.iter().find(|reason| reason.name() == name).copied();
    counts.into_iter().filter_map(|(name, count)| Some((known(&name)?, count))).collect()
}

/// The daemon's classifier, which was told to claim everything: what the table says decides.
struct Everything;

impl Classifier for Everything {
    fn set_claim(&mut self, _prefix: Ipv4Net, _ours: bool) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn remove_claim(&mut self, _prefix: Ipv4Net) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn set_address(&mut self, _address: Ipv4Addr) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn remove_address(&mut self, _address: Ipv4Addr) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn set_enabled(&mut self, _interface: IfIndex, _enabled: bool) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn set_mac(&mut self, _interface: IfIndex, _mac: [u8; 6]) -> Result<(), ClassifierError> {
        Ok(())
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
    fn the_interfaces_are_the_daemons_in_its_order_or_refused_with_both_lists() {
        let adapters = [adapter("b", 0), adapter("a", 1)];
        let given = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            order(&adapters, &names).map_err(|error| error.to_string())
        };
        assert_eq!(given(&["a", "b"]), Ok(vec![1, 0]));
        for other in [&["a"][..], &["a", "b", "c"], &["a", "c"]] {
            let why = given(other).expect_err("refused");
            assert!(why.contains("spined owns b, a,") && why.contains(&other.join(", ")), "{why}");
        }
    }

    #[test]
    fn only_what_was_counted_since_is_reported_and_under_its_reason() {
        let counted = |times: u64| Counted {
            mode: "copy".to_owned(),
            counters: [("received", 10), ("forwarded", 7), ("receive_lost", 1)]
                .map(|(name, count)| (name.to_owned(), times * count))
                .into(),
            dropped: [("no_handler".to_owned(), 2 * times)].into(),
            to_kernel: [("paused".to_owned(), 3), ("of_another_version".to_owned(), times)].into(),
            ..Counted::default()
        };
        let found = translate(&counted(3), &counted(1));
        assert_eq!((found.received, found.forwarded, found.transmitted), (20, 14, 0));
        let dropped = [(Reason::NoHandler, 4), (Reason::ReceiveLost, 2)];
        assert_eq!(found.dropped, dropped.into());
        assert_eq!(found.to_kernel, BTreeMap::new());
    }
}
