//! The data path: adapters on their ports, the steering in front of them, the kernel behind them.
//!
//! Opened closed: while the router starts the kernel forwards as before. What fails undoes everything
//! before it, because everything here ends when it is dropped.

mod handles;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use spine_client::memory::{Region, RegionError};
use spine_fib::protocol::FORWARD;
use spine_io::lanai::{Card, Live, Speed};
use spine_io::{AdapterSetup, Budget, ExtensionId, Machine, RegionSource, TrustedKey};
use spine_nic::Nic;
use spine_nic::buffer::FrameMemory;
use spine_nic::layer::capture::{Capture, CaptureOptions, wall_clock};
use spine_nic::layer::tap::{Tap, TapSwitch};
use spine_nic::open::{self, Backend, OpenError, PortClaim, Ports, Steering, SteeringError};
use spine_nic::punt::KernelPort;
use spine_nic::punt::inject::{KernelCounts, KernelEndpoint};
use spine_os::probe::BudgetTimes;

use self::handles::{Handle, KeptCounters, SteeringHandle};
use crate::adapters::Adapter;
use crate::claims::Classifier;

/// How to open the data path.
pub struct Options<'a> {
    /// The backend.
    pub backend: Backend,
    /// How fast a model of the paper's card on each port runs; `None`: no model.
    pub model: Option<Speed>,
    /// The same where the ports are AF_PACKET's for want of AF_XDP.
    pub instead: Option<Speed>,
    /// The ports.
    pub ports: open::Options<'a>,
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
    /// The ports.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What keeps packets of adapters and kernel apart.
    #[error("cannot tell packets of adapters and kernel apart: {0}")]
    Steering(#[from] SteeringError),
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
    steering: Rc<RefCell<Box<dyn Steering>>>,
    /// What keeps packets, as the classifier counts them.
    kept: Rc<RefCell<KeptCounters>>,
    machine: Arc<Machine>,
    kernel: Option<KernelEndpoint>,
    count: usize,
    /// What shows the packets of each interface.
    taps: Vec<TapSwitch>,
    frame_bytes: u64,
    /// By adapter.
    unfinished_checksums: Vec<bool>,
    /// By adapter.
    longest: Vec<Option<u32>>,
    model: Option<Speed>,
    instead: Option<OpenError>,
    /// How ports were opened otherwise than they could have been.
    notes: Vec<String>,
    /// The router's extension on each adapter, once it is loaded.
    loaded: RefCell<Vec<ExtensionId>>,
}

impl DataPath {
    /// Opens it; nothing is the adapters' yet.
    ///
    /// # Errors
    /// [`DataPathError`], and everything is as before.
    pub fn open(options: &Options<'_>) -> Result<Self, DataPathError> {
        let opened = open::open(options.backend, &options.ports)?;
        let notes = opened.notes();
        let Ports { memory, ports, punt: kernel, mut steering, instead, .. } = opened;
        let fallback = instead.as_ref().and(options.instead);
        let speed = options.model.or(fallback);
        let unfinished_checksums = ports.iter().map(|port| port.unfinished_checksums).collect();
        let longest = ports.iter().map(|port| port.longest).collect();
        let frame_bytes = u64::from(memory.frames()) * memory.frame_bytes() as u64;
        let (mut setups, mut taps) = (Vec::new(), Vec::new());
        for (index, port) in ports.into_iter().enumerate() {
            let nic = model(capture(port.nic, &memory, options.capture)?, speed);
            let (nic, tap) = Tap::new(nic, Arc::clone(&memory), wall_clock);
            taps.push(tap);
            setups.push(AdapterSetup {
                nic: Box::new(nic),
                frames: port.frames,
                kernel: kernel.as_ref().map(|kernel| punt(kernel, port.interface.index)),
                unstamped: FORWARD,
                processor: index % options.cores.len().max(1),
                remotes: Vec::new(),
            });
        }
        let count = setups.len();
        let machine = Machine::start(setups, &memory, options.cores, options.key)?;
        steering.set_all_enabled(true)?;
        Ok(Self {
            steering: Rc::new(RefCell::new(steering)),
            kept: Rc::default(),
            machine: Arc::new(machine),
            kernel,
            count,
            taps,
            frame_bytes,
            unfinished_checksums,
            longest,
            model: speed,
            instead,
            notes,
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
    /// [`DataPathError::Steering`].
    pub fn claim_port(&self, claim: PortClaim) -> Result<(), DataPathError> {
        Ok(self.steering.borrow_mut().claim_port(claim)?)
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
        let (steering, counters) = (Rc::clone(&self.steering), Rc::clone(&self.kept));
        Box::new(SteeringHandle { steering, counters })
    }

    /// What the steering counted since it was made: packets claimed, and passed by reason.
    ///
    /// # Errors
    /// [`DataPathError::Steering`].
    pub fn classified(&self) -> Result<Vec<(&'static str, u64)>, DataPathError> {
        Ok(self.steering.borrow().counters()?)
    }

    /// What kept a part of the packets from the adapters, and how many of them.
    ///
    /// # Errors
    /// [`DataPathError::Steering`].
    pub fn kept(&self) -> Result<BTreeMap<String, u64>, DataPathError> {
        Ok(self.kept.borrow().count(self.steering.borrow().as_ref())?)
    }

    /// Whether packets come with checksums that their senders left to a card.
    pub fn unfinished_checksums(&self) -> bool {
        self.unfinished_checksums.contains(&true)
    }

    /// Whether those of an adapter's interface do.
    pub fn leaves_checksums_undone(&self, adapter: usize) -> bool {
        self.unfinished_checksums.get(adapter).copied().unwrap_or_default()
    }

    /// Bytes of the longest frame that is an adapter's, where its interface may receive longer ones.
    pub fn longest(&self, adapter: usize) -> Option<u32> {
        self.longest.get(adapter).copied().flatten()
    }

    /// What shows the packets of the interfaces, in the order of the adapters.
    pub fn taps(&self) -> &[TapSwitch] {
        &self.taps
    }

    /// Bytes of all frames.
    pub fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// Whether packets of the adapters are never the kernel's, nor seen by whoever watches those.
    pub fn is_past_the_kernel(&self) -> bool {
        self.steering.borrow().knows_destinations()
    }

    /// How fast the model on the wires runs; `None`: there is none.
    pub fn model(&self) -> Option<Speed> {
        self.model
    }

    /// Why the ports are not AF_XDP's, where that was to be found out.
    pub fn instead(&self) -> Option<&OpenError> {
        self.instead.as_ref()
    }

    /// How ports were opened otherwise than they could have been: sentences for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// System calls for sleeping and waking, beside those of the adapters' ports.
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
    /// [`DataPathError::Steering`].
    pub fn disable(&self) -> Result<(), DataPathError> {
        Ok(self.steering.borrow_mut().set_all_enabled(false)?)
    }

    /// What became of packets handed to the kernel so far.
    pub fn handed_over(&self) -> KernelCounts {
        self.kernel.as_ref().map(KernelEndpoint::counts).unwrap_or_default()
    }
}

/// The way from an adapter back to the kernel.
fn punt(kernel: &KernelEndpoint, interface: u32) -> Box<dyn KernelPort> {
    Box::new(kernel.sender(interface))
}

/// A port with a card's model on it, if one is wanted.
fn model(nic: Box<dyn Nic>, speed: Option<Speed>) -> Box<dyn Nic> {
    match speed {
        None => nic,
        Some(speed) => Box::new(Live::new(nic, Card::default(), speed)),
    }
}

/// A port with a capture on it, if one is wanted.
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
