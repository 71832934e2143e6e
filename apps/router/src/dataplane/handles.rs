//! What the host half holds of the data path: an adapter each, and the steering.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use spine_abi::{Message, Notice, Reason};
use spine_io::{ExtensionId, Machine};
use spine_nic::open::{Steering, SteeringError};

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::state::IfIndex;

/// One adapter, as the host half sees it.
pub(super) struct Handle {
    machine: Arc<Machine>,
    index: usize,
    name: String,
    extension: Option<ExtensionId>,
}

impl Handle {
    pub(super) fn new(machine: Arc<Machine>, index: usize, extension: Option<ExtensionId>) -> Self {
        let name = machine.adapters()[index].name().to_owned();
        Self { machine, index, name, extension }
    }

    fn error(&self, what: impl ToString) -> AdapterError {
        AdapterError { name: self.name.clone(), what: what.to_string() }
    }
}

impl Adapter for Handle {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: Message) -> Result<(), AdapterError> {
        let sent = self.machine.adapters()[self.index].send(message);
        sent.map_err(|error| self.error(error))
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, AdapterError> {
        let machine = &self.machine;
        match machine.adapters()[self.index].receive(timeout) {
            None if !machine.is_running() => Err(self.error("its processor has ended")),
            None => Ok(None),
            Some(message) => match Notice::from_message(&message) {
                // Of an application that shares the adapter.
                Some(Notice::Unloaded { extension, .. })
                    if self.extension.is_some_and(|ours| ours.0 != extension) =>
                {
                    self.receive(timeout)
                }
                Some(Notice::Unloaded { offence, strikes, .. }) => Err(self.error(format!(
                    "its extension was unloaded: its handlers {}, {strikes} times within a minute",
                    offence.text()
                ))),
                Some(Notice::Removed { .. }) => Err(self.error("its extension was unloaded")),
                None => Ok(Some(message)),
            },
        }
    }

    fn statistics(&self) -> Result<AdapterStatistics, AdapterError> {
        let machine = &self.machine;
        let asked = machine.adapters()[self.index].statistics();
        let all = asked.map_err(|error| self.error(error))?;
        let mut dropped: std::collections::BTreeMap<Reason, u64> =
            all.counters.dropped.iter().collect();
        for (reason, count) in [
            (Reason::Oversized, all.nic.oversized),
            (Reason::ReceiveLost, all.nic.receive_lost),
            (Reason::TransmitFull, all.nic.transmit_failed),
        ] {
            if count > 0 {
                *dropped.entry(reason).or_default() += count;
            }
        }
        Ok(AdapterStatistics {
            mode: all.mode,
            received: all.nic.received,
            transmitted: all.nic.transmitted,
            forwarded: all.counters.forwarded,
            to_kernel: all.counters.to_kernel.iter().collect(),
            dropped,
            syscalls: all.nic.syscalls,
            late: all.nic.late,
            left_out: Duration::from_nanos(all.nic.left_out),
        })
    }
}

/// The steering, as the control loop sees it.
pub(super) struct SteeringHandle(pub(super) Rc<RefCell<Box<dyn Steering>>>);

impl SteeringHandle {
    fn tell(
        &mut self,
        what: impl FnOnce(&mut dyn Steering) -> Result<(), SteeringError>,
    ) -> Result<(), ClassifierError> {
        what(self.0.borrow_mut().as_mut()).map_err(|error| ClassifierError(error.to_string()))
    }
}

impl Classifier for SteeringHandle {
    fn set_claim(&mut self, prefix: Ipv4Net, ours: bool) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_claim(prefix, ours))
    }

    fn remove_claim(&mut self, prefix: Ipv4Net) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.remove_claim(prefix))
    }

    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_address(address))
    }

    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.remove_address(address))
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_enabled(interface, enabled))
    }

    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_mac(interface, mac))
    }
}
