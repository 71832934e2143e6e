//! The daemon's classifiers, as the router writes them: through the daemon, many changes at a time.
//!
//! The router has one set of claims for all of its interfaces, the daemon a classifier for each; so each is told the
//! same. What the daemon finds out by itself (the machine's addresses, an interface's own) it is only asked to look
//! at again.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use ipnet::Ipv4Net;
use spine_client::{ClaimChange, Client, ExtensionNumber};

use crate::claims::{Classifier, ClassifierError};
use crate::netlink::state::IfIndex;

/// An interface, and the extension that claims on it.
pub(super) struct Wire {
    pub(super) index: IfIndex,
    pub(super) extension: ExtensionNumber,
}

/// Classifiers that are told by way of the daemon.
pub(super) struct Told {
    client: Rc<RefCell<Client>>,
    wires: Vec<Wire>,
    /// Not yet told.
    changes: Vec<ClaimChange>,
}

impl Told {
    pub(super) fn new(client: Rc<RefCell<Client>>, wires: Vec<Wire>) -> Self {
        Self { client, wires, changes: Vec::new() }
    }

    fn later(&mut self, change: ClaimChange) -> Result<(), ClassifierError> {
        self.changes.push(change);
        Ok(())
    }

    fn extension(&self, interface: IfIndex) -> Result<ExtensionNumber, ClassifierError> {
        let wire = self.wires.iter().find(|wire| wire.index == interface);
        let unknown = || ClassifierError(format!("interface {interface} has no adapter"));
        Ok(wire.ok_or_else(unknown)?.extension)
    }
}

impl Classifier for Told {
    fn set_claim(&mut self, prefix: Ipv4Net, ours: bool) -> Result<(), ClassifierError> {
        self.later(if ours { ClaimChange::Take(prefix) } else { ClaimChange::Leave(prefix) })
    }

    fn remove_claim(&mut self, prefix: Ipv4Net) -> Result<(), ClassifierError> {
        self.later(ClaimChange::Forget(prefix))
    }

    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.later(ClaimChange::Own(address))
    }

    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.later(ClaimChange::Disown(address))
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
        if self.changes.is_empty() {
            return Ok(());
        }
        let (mut client, mut told) = (self.client.borrow_mut(), Ok(()));
        // All are told, whatever one of them answers.
        for wire in &self.wires {
            if let Err(error) = client.claim(wire.extension, &self.changes) {
                told = Err(refused(error));
            }
        }
        self.changes.clear();
        told
    }
}

fn refused(error: impl ToString) -> ClassifierError {
    ClassifierError(error.to_string())
}
