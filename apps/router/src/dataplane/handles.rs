//! What the host half holds of the data path: an adapter each, and the steering.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spine_abi::{Message, Notice, Reason};
use spine_io::{ExtensionId, Machine};
use spine_nic::open::{self, Ingresses, Steering, SteeringError};
use spine_rules::{Kept, Packets};

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::state::IfIndex;
use crate::ownership::Reach;

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
        let mut dropped: BTreeMap<Reason, u64> = all.counters.dropped.iter().collect();
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

/// What keeps packets, by the number under which the classifier counts them; those beyond its counters share the last.
#[derive(Default)]
pub(super) struct KeptCounters(Vec<String>);

impl KeptCounters {
    fn number(&mut self, why: &str) -> u32 {
        let known = self.0.iter().position(|known| known == why);
        let at = known.unwrap_or_else(|| {
            self.0.push(why.to_owned());
            self.0.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX).min(open::KEPT_COUNTERS - 1)
    }

    /// What kept packets so far, and how many.
    pub(super) fn count(
        &self,
        steering: &dyn Steering,
    ) -> Result<BTreeMap<String, u64>, SteeringError> {
        let last = open::KEPT_COUNTERS - 1;
        let counted = (0..last).zip(&self.0);
        counted.map(|(number, why)| Ok((why.clone(), steering.kept_packets(number)?))).collect()
    }
}

/// The steering, as the control loop sees it.
pub(super) struct SteeringHandle {
    pub(super) steering: Rc<RefCell<Box<dyn Steering>>>,
    pub(super) counters: Rc<RefCell<KeptCounters>>,
}

impl SteeringHandle {
    fn tell(
        &mut self,
        what: impl FnOnce(&mut dyn Steering) -> Result<(), SteeringError>,
    ) -> Result<(), ClassifierError> {
        what(self.steering.borrow_mut().as_mut())
            .map_err(|error| ClassifierError(error.to_string()))
    }
}

impl Classifier for SteeringHandle {
    fn reach(&self) -> Reach {
        let steering = self.steering.borrow();
        Reach { destinations: steering.knows_destinations(), sets: steering.most_kept() }
    }

    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_claim(prefix, from))
    }

    fn set_kept(&mut self, interface: IfIndex, sets: &[Kept]) -> Result<(), ClassifierError> {
        let counters = Rc::clone(&self.counters);
        let number = |kept: &Kept| counters.borrow_mut().number(&kept.why);
        let sets: Vec<_> = sets.iter().map(|kept| as_classified(kept, number(kept))).collect();
        self.tell(|steering| steering.set_kept(interface, &sets))
    }

    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.remove_claim(prefix))
    }

    fn set_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_address(address))
    }

    fn remove_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.remove_address(address))
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_enabled(interface, enabled))
    }

    fn set_enabled_ipv6(
        &mut self,
        interface: IfIndex,
        enabled: bool,
    ) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_enabled_ipv6(interface, enabled))
    }

    fn knows_ipv6(&self) -> bool {
        self.steering.borrow().knows_ipv6()
    }

    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_mac(interface, mac))
    }

    fn set_needed(&mut self, interface: IfIndex, needed: bool) -> Result<(), ClassifierError> {
        self.tell(|steering| steering.set_needed(interface, needed))
    }

    fn missed(&self) -> u64 {
        let counted = self.steering.borrow().counters().unwrap_or_default();
        let stuck = spine_xdp_progs::Counter::AdapterStuck.name();
        counted.into_iter().find(|(name, _)| *name == stuck).map_or(0, |(_, packets)| packets)
    }
}

/// A set as the classifier of IPv4 packets has it.
fn as_classified(kept: &Kept, counter: u32) -> open::Kept {
    let Packets { protocols, source, destination, source_ports, destination_ports, pieces } =
        kept.packets;
    let address = |number| Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX));
    open::Kept {
        protocols: protocols.words(),
        source: (address(source.first), address(source.last)),
        destination: (address(destination.first), address(destination.last)),
        source_ports: (source_ports.first, source_ports.last),
        destination_ports: (destination_ports.first, destination_ports.last),
        whole: pieces.whole,
        pieces: pieces.pieces,
        counter,
    }
}
