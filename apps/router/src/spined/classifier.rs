//! The daemon's classifiers, as the router writes them: through the daemon, many changes at a time.
//!
//! The router has one set of claims for all of its interfaces, the daemon a classifier for each; so each is told what is
//! ours from its own. What the daemon finds out by itself (the machine's addresses, an interface's own) it is only asked to look
//! at again.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::{IpNet, Ipv4Net};
use spine_client::{ClaimChange, Client, ExtensionNumber};
use spine_nic::open::Ingresses;
use spine_rules::Kept;

use crate::claims::{Classifier, ClassifierError};
use crate::netlink::state::IfIndex;
use crate::ownership::Reach;

/// An interface, and the extension that claims on it.
pub(super) struct Wire {
    pub(super) index: IfIndex,
    pub(super) extension: ExtensionNumber,
    /// Not yet told.
    pub(super) changes: Vec<ClaimChange>,
}

/// Classifiers that are told by way of the daemon.
pub(super) struct Told {
    client: Rc<RefCell<Client>>,
    wires: Vec<Wire>,
}

impl Told {
    pub(super) fn new(client: Rc<RefCell<Client>>, wires: Vec<Wire>) -> Self {
        Self { client, wires }
    }

    fn later(&mut self, change: impl Fn(usize) -> ClaimChange) -> Result<(), ClassifierError> {
        for (number, wire) in self.wires.iter_mut().enumerate() {
            wire.changes.push(change(number));
        }
        Ok(())
    }

    fn extension(&self, interface: IfIndex) -> Result<ExtensionNumber, ClassifierError> {
        let wire = self.wires.iter().find(|wire| wire.index == interface);
        let unknown = || ClassifierError(format!("interface {interface} has no adapter"));
        Ok(wire.ok_or_else(unknown)?.extension)
    }
}

impl Classifier for Told {
    /// A daemon's classifiers are told of prefixes, and not yet of sets.
    fn reach(&self) -> Reach {
        Reach { destinations: true, sets: 0 }
    }

    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), ClassifierError> {
        let prefix = ipv4(prefix)?;
        self.later(|wire| match from.0 >> wire & 1 {
            1 => ClaimChange::Take(prefix),
            _ => ClaimChange::Leave(prefix),
        })
    }

    fn set_kept(&mut self, _interface: IfIndex, sets: &[Kept]) -> Result<(), ClassifierError> {
        if sets.is_empty() {
            return Ok(());
        }
        Err(ClassifierError("a daemon's adapters cannot leave a part to the kernel".to_owned()))
    }

    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), ClassifierError> {
        let prefix = ipv4(prefix)?;
        self.later(|_| ClaimChange::Forget(prefix))
    }

    fn set_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        let address = ipv4(address.into())?.addr();
        self.later(|_| ClaimChange::Own(address))
    }

    fn remove_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        let address = ipv4(address.into())?.addr();
        self.later(|_| ClaimChange::Disown(address))
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        let extension = self.extension(interface)?;
        self.client.borrow_mut().set_claiming(extension, enabled).map_err(refused)
    }

    /// The daemon looks for itself which address that is.
    fn set_mac(&mut self, interface: IfIndex, _mac: [u8; 6]) -> Result<(), ClassifierError> {
        let extension = self.extension(interface)?;
        self.client.borrow_mut().claim(extension, &[]).map_err(refused)
    }

    fn flush(&mut self) -> Result<(), ClassifierError> {
        let (mut client, mut told) = (self.client.borrow_mut(), Ok(()));
        // All are told, whatever one of them answers.
        for wire in &mut self.wires {
            if wire.changes.is_empty() {
                continue;
            }
            if let Err(error) = client.claim(wire.extension, &wire.changes) {
                told = Err(refused(error));
            }
            wire.changes.clear();
        }
        told
    }
}

/// A daemon is told of IPv4 alone: it does not claim IPv6.
fn ipv4(prefix: IpNet) -> Result<Ipv4Net, ClassifierError> {
    match prefix {
        IpNet::V4(prefix) => Ok(prefix),
        IpNet::V6(prefix) => {
            Err(ClassifierError(format!("{prefix}: a daemon leaves IPv6 to the kernel")))
        }
    }
}

fn refused(error: impl ToString) -> ClassifierError {
    ClassifierError(error.to_string())
}
