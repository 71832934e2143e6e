//! The data path: adapters on their wires, the gate in front of them, the kernel behind them.
//!
//! Opened closed: while the router starts the kernel forwards as before. What fails undoes everything
//! before it, because everything here ends when it is dropped.

mod handles;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use spine_fib::protocol::FORWARD;
use spine_io::lanai::{Card, Live, Speed};
use spine_io::{AdapterSetup, Budget, ExtensionId, Machine, RegionSource, TrustedKey};
use spine_nic::Nic;
use spine_nic::buffer::FrameMemory;
use spine_nic::layer::capture::{Capture, CaptureOptions, wall_clock};
use spine_nic::punt::inject::{KernelCounts, KernelEndpoint};
use spine_os::memory::{Region, RegionError};
use spine_os::probe::BudgetTimes;

use self::handles::{GateHandle, Handle};
use crate::adapters::Adapter;
use crate::claims::Classifier;
use crate::wire::{self, Gate, NicKind, PortClaim, WireError, Wires};

/// How to open the data path.
#[derive(Debug)]
pub struct Options<'a> {
    /// The kind of wire.
    pub nic: NicKind,
    /// How fast a model of the paper's card on each wire runs; `None`: no model.
    pub model: Option<Speed>,
    /// The same where the wires are AF_PACKET's for want of AF_XDP.
    pub instead: Option<Speed>,
    /// The wires.
    pub wires: wire::Options<'a>,
    /// One processor for each; adapters are dealt out to them in turn.
    pub cores: &'a [Option<usize>],
    /// Where to capture packets: the name of the interface is put in front of the extension.
    pub capture: Option<&'a Path>,
    /// The linker whose images the adapters run.
    pub key: TrustedKey,
}

/// Why there is no data path.
#[derive(Debug, thiserror::Error)]
pub enum DataPathError {
    /// The wires.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A processor.
    #[error(transparent)]
    Machine(#[from] spine_io::MachineError),
    /// A capture file.
    #[error(transparent)]
    Capture(#[from] spine_nic::layer::capture::CaptureError),
    /// An extension.
    #[error(transparent)]
    Load(#[from] spine_io::LoadError),
    /// The probe's memory.
    #[error("cannot make the memory that a budget's time is measured on: {0}")]
    Probe(RegionError),
    /// A region's file.
    #[error("cannot share the table with an adapter: {0}")]
    Region(std::io::Error),
}

/// What an open data path consists of. The fields' order is the order in which they end: first
/// nothing is claimed any more, then the adapters stop, then the kernel gets what still waits.
pub struct DataPath {
    gate: Rc<RefCell<Box<dyn Gate>>>,
    machine: Arc<Machine>,
    kernel: KernelEndpoint,
    count: usize,
    finishes_checksums: bool,
    model: Option<Speed>,
    instead: Option<WireError>,
    /// The router's extension on each adapter, once it is loaded.
    loaded: RefCell<Vec<ExtensionId>>,
}

impl DataPath {
    /// Opens it; nothing is the adapters' yet.
    ///
    /// # Errors
    /// [`DataPathError`], and everything is as before.
    pub fn open(options: &Options<'_>) -> Result<Self, DataPathError> {
        let opened = wire::open(options.nic, &options.wires)?;
        let Wires { memory, wires, kernel, mut gate, finishes_checksums, instead } = opened;
        let fallback = instead.as_ref().and(options.instead);
        let speed = options.model.or(fallback);
        let mut setups = Vec::new();
        for (index, wire) in wires.into_iter().enumerate() {
            setups.push(AdapterSetup {
                remotes: Vec::new(),
                nic: model(capture(wire.nic, &memory, options.capture)?, speed),
                frames: wire.frames,
                kernel: Some(Box::new(kernel.sender(wire.ifindex))),
                unstamped: FORWARD,
                processor: index % options.cores.len().max(1),
            });
        }
        let count = setups.len();
        let machine = Machine::start(setups, &memory, options.cores, options.key)?;
        gate.set_all_enabled(true)?;
        Ok(Self {
            gate: Rc::new(RefCell::new(gate)),
            machine: Arc::new(machine),
            kernel,
            count,
            finishes_checksums,
            model: speed,
            instead,
            loaded: RefCell::default(),
        })
    }

    /// Loads the extension on every adapter, with the table as its region.
    ///
    /// # Errors
    /// [`DataPathError`]; adapters that have it already keep it.
    pub fn load(&self, image: &[u8], table: &Region) -> Result<(), DataPathError> {
        for adapter in self.machine.adapters() {
            let file = table.file().try_clone().map_err(DataPathError::Region)?;
            let region = RegionSource { file: file.into(), bytes: table.len() };
            let extension = adapter.load(image, vec![region], Budget::default())?;
            self.loaded.borrow_mut().push(extension);
        }
        Ok(())
    }

    /// Times what one budget takes on the first adapter's processor, ordinarily and at worst, and has
    /// all adapters count the turns that take longer than that; `None` where time is not measured.
    ///
    /// # Errors
    /// [`DataPathError`]; nothing is counted then.
    pub fn time_budgets(&self, probe: &[u8]) -> Result<Option<BudgetTimes>, DataPathError> {
        let machine = &self.machine;
        let Some(first) = machine.adapters().first() else { return Ok(None) };
        let region = spine_os::probe::region().map_err(DataPathError::Probe)?;
        let file = region.file().try_clone().map_err(DataPathError::Region)?;
        let region = RegionSource { file: file.into(), bytes: region.len() };
        let budget = Budget::default();
        let nanos = first.probe(probe, vec![region], budget)?;
        let Some(times) = BudgetTimes::from_nanos(&nanos) else { return Ok(None) };
        // An entry may spend its budget and one message's on top.
        let messages = u32::try_from(budget.entry / budget.message.max(1) + 1).unwrap_or(u32::MAX);
        for adapter in machine.adapters() {
            adapter.expect(times.worst.saturating_mul(messages))?;
        }
        Ok(Some(times))
    }

    /// The running adapters, for whoever shares them with the router.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Claims packets to a UDP port of this machine for another extension than the router's.
    ///
    /// # Errors
    /// [`DataPathError::Wire`].
    pub fn claim_port(&self, claim: PortClaim) -> Result<(), DataPathError> {
        Ok(self.gate.borrow_mut().claim_port(claim)?)
    }

    /// The adapters, for the host half.
    pub fn adapters(&self) -> Vec<Box<dyn Adapter>> {
        let loaded = self.loaded.borrow();
        let port =
            |index| Handle::new(Arc::clone(&self.machine), index, loaded.get(index).copied());
        (0..self.count).map(|index| Box::new(port(index)) as Box<dyn Adapter>).collect()
    }

    /// The classifier, for the host half.
    pub fn classifier(&self) -> Box<dyn Classifier> {
        Box::new(GateHandle(Rc::clone(&self.gate)))
    }

    /// What the gate counted since it was made: packets claimed, and passed by reason.
    ///
    /// # Errors
    /// [`DataPathError::Wire`].
    pub fn classified(&self) -> Result<Vec<(&'static str, u64)>, DataPathError> {
        Ok(self.gate.borrow().counters()?)
    }

    /// Whether packets come with the checksums that their senders left to a card.
    pub fn finishes_checksums(&self) -> bool {
        self.finishes_checksums
    }

    /// How fast the model on the wires runs; `None`: there is none.
    pub fn model(&self) -> Option<Speed> {
        self.model
    }

    /// Why the wires are not of the fastest kind, where that was to be found out.
    pub fn instead(&self) -> Option<&WireError> {
        self.instead.as_ref()
    }

    /// System calls for sleeping and waking, beside those of the adapters' wires.
    pub fn syscalls(&self) -> u64 {
        self.machine.syscalls()
    }

    /// Whether all processors still run.
    pub fn is_running(&self) -> bool {
        self.machine.is_running()
    }

    /// Stops claiming: from here on the kernel has every packet. What is in the adapters still leaves.
    ///
    /// # Errors
    /// [`DataPathError::Wire`].
    pub fn disable(&self) -> Result<(), DataPathError> {
        Ok(self.gate.borrow_mut().set_all_enabled(false)?)
    }

    /// What became of packets handed to the kernel so far.
    pub fn handed_over(&self) -> KernelCounts {
        self.kernel.counts()
    }
}

/// A wire with a card's model on it, if one is wanted.
fn model(nic: Box<dyn Nic>, speed: Option<Speed>) -> Box<dyn Nic> {
    match speed {
        None => nic,
        Some(speed) => Box::new(Live::new(nic, Card::default(), speed)),
    }
}

/// A wire with a capture on it, if one is wanted.
fn capture(
    nic: Box<dyn Nic>,
    memory: &Arc<FrameMemory>,
    path: Option<&Path>,
) -> Result<Box<dyn Nic>, DataPathError> {
    let Some(path) = path else { return Ok(nic) };
    let path = capture_path(path, nic.name());
    let options = CaptureOptions::default();
    Ok(Box::new(Capture::new(nic, Arc::clone(memory), &path, options, wall_clock)?))
}

/// `dir/trace.pcap` for interface `a` is `dir/trace.a.pcap`.
fn capture_path(path: &Path, interface: &str) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let extension = if extension.is_empty() { "pcap".into() } else { extension };
    path.with_extension(format!("{interface}.{extension}"))
}
