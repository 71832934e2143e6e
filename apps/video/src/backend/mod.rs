//! The adapter's half of the process: the interface, the machine on it, the extension, and the classifier
//! that leads the streams' packets there.
//!
//! AF_XDP where it can be had. Where it cannot (no driver, no capability for BPF, another program on the
//! interface) packets come through AF_PACKET, and that is said. Where packets are forwarded, too, the router's
//! library owns the interfaces and ours is a guest there ([`beside`]). Nothing is claimed before the extension
//! knows the streams.

pub mod beside;
pub mod meter;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spine_abi::Message;
use spine_abi::endpoint::Endpoint;
use spine_client::memory::{Region, RegionError};
use spine_io::dma::{Acknowledgement, FrameBuffer, Grant, GrantError, Start};
use spine_io::runtime::Statistics;
use spine_io::{
    AdapterHandle, AdapterSetup, Budget, ExtensionId, Machine, RegionSource, TrustedKey,
};
use spine_nic::open::{
    self, Backend as Wanted, Claims, FrameCount, Mode, Modes, OpenError, PortClaim, Ports,
    Steering, SteeringError,
};
use spine_nic::xdp::{XdpError, queues};
use spine_os::linker::Linker;
use spine_video_extension::protocol::{self, Counter};
use spine_xdp_progs::Counter as Classified;

use self::beside::{Beside, BesideError, Settings};
use self::meter::{Measured, Meter};
use crate::cli::BackendChoice;
use crate::colour::{Colorimetry, Range};
use crate::format::Format;
use crate::interface::Interface;
use crate::stream::Stream;

/// Frames of each queue, and so ring entries: a sender's bursts and this kernel's stalls together need more
/// than 8192 entries at 160,000 packets a second. All queues together, at most: 256 MiB of 2 KiB.
const FRAMES: FrameCount = FrameCount { each_queue: 32768, beside: 0, most: 1 << 17 };
/// Fuel of a packet: all of a largest one converted, with a wide margin.
const BUDGET: Budget = Budget { message: 200_000, entry: 1_600_000, strikes: 100 };
/// How long the extension may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Why packets do not reach an adapter.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The interface.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its queues.
    #[error(transparent)]
    Queues(#[from] XdpError),
    /// What leads packets to the adapter.
    #[error("cannot claim packets: {0}")]
    Steering(#[from] SteeringError),
    /// The router beside us.
    #[error(transparent)]
    Beside(#[from] BesideError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] spine_io::MachineError),
    /// The extension.
    #[error(transparent)]
    Load(#[from] spine_io::LoadError),
    /// Memory shared with it.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Memory shared with it.
    #[error("cannot share memory with the adapter: {0}")]
    Share(std::io::Error),
    /// A window.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The extension does not answer.
    #[error("the extension did not take stream {0}")]
    Configure(String),
}

/// What to open.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// The streams.
    pub streams: &'a [Stream],
    /// Which way packets come.
    pub choice: BackendChoice,
    /// How AF_XDP gets them.
    pub mode: Mode,
    /// The adapter's core.
    pub core: Option<usize>,
    /// The linker whose images it runs.
    pub key: TrustedKey,
    /// Interfaces between which and ours packets are forwarded, too.
    pub router: &'a [String],
}

/// The adapter with the extension. The fields' order is the order in which they end: first nothing is
/// claimed any more, then the adapter stops.
pub struct Backend {
    steering: Option<Box<dyn Steering>>,
    router: Option<Beside>,
    machine: Arc<Machine>,
    counters: Region,
    extension: ExtensionId,
    measured: Arc<Measured>,
    /// What the router is asked for when it begins.
    claims: Vec<PortClaim>,
    /// The interface's addresses.
    addresses: Vec<Ipv4Addr>,
}

impl Backend {
    /// Opens the interface, loads the extension; nothing is received yet. `say` is told what everybody
    /// should know.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn open(
        options: &Options<'_>,
        linker: &Arc<Linker>,
        image: &[u8],
        say: impl Fn(&str),
    ) -> Result<Self, BackendError> {
        if !options.router.is_empty() {
            let settings = Settings {
                interface: &options.interface.name,
                others: options.router,
                core: options.core,
                frames: FRAMES.of(queues(&options.interface.name)?),
            };
            let (router, machine) = Beside::open(&settings, linker)?;
            let backend = Self::on(options, machine, image)?;
            return Ok(Self { router: Some(router), ..backend });
        }
        let (opened, handler) = (open(options)?, unstamped(options.streams));
        if let Some(why) = &opened.instead {
            say(&format!("packets come through AF_PACKET, which is slower: {why}"));
        }
        opened.notes().iter().for_each(|note| say(note));
        let Ports { memory, ports, mut steering, .. } = opened;
        let (mut setups, mut measured) = (Vec::new(), Arc::default());
        for port in ports {
            steering.set_enabled(port.interface.index, true)?;
            // Where rings hold bytes, their packets are not told.
            let (nic, meter) = Meter::new(port.nic, port.ring.unwrap_or(u64::MAX));
            measured = meter;
            let setup = AdapterSetup::new(Box::new(nic), port.frames);
            setups.push(AdapterSetup { unstamped: handler, ..setup });
        }
        let machine = Machine::start(setups, &memory, &[options.core], options.key)?;
        let backend = Self::on(options, Arc::new(machine), image)?;
        Ok(Self { steering: Some(steering), measured, ..backend })
    }

    /// Loads the extension on the first adapter of a machine.
    fn on(
        options: &Options<'_>,
        machine: Arc<Machine>,
        image: &[u8],
    ) -> Result<Self, BackendError> {
        let counters = Region::create("video-counters", protocol::REGION_BYTES)?;
        let file = counters.as_fd().try_clone_to_owned().map_err(BackendError::Share)?;
        let region = RegionSource { file, bytes: counters.len() };
        let extension = adapter(&machine).load(image, vec![region], BUDGET)?;
        Ok(Self {
            steering: None,
            router: None,
            machine,
            counters,
            extension,
            measured: Arc::default(),
            claims: Vec::new(),
            addresses: options.interface.addresses(),
        })
    }

    /// Tells the extension of a stream, and claims its packets.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn receive(&mut self, index: usize, stream: &Stream) -> Result<(), BackendError> {
        self.configure(index, stream)?;
        if let Some(steering) = &mut self.steering {
            let address = stream.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let handler = of_wire(stream.format).handler();
            steering.claim_port(PortClaim { address, port: stream.port, handler })?;
            steering.set_all_enabled(true)?;
        }
        if self.router.is_some() {
            // Not at any address: what only passes through is the router's.
            let addresses = stream.address.map_or_else(|| self.addresses.clone(), |one| vec![one]);
            let (port, handler) = (stream.port, of_wire(stream.format).handler());
            self.claims.extend(addresses.into_iter().map(|address| PortClaim {
                address,
                port,
                handler,
            }));
        }
        Ok(())
    }

    /// Says that all streams were told of: a router beside us forwards from here on.
    ///
    /// # Errors
    /// [`BackendError::Beside`].
    pub fn begin_forwarding(&mut self) -> Result<(), BackendError> {
        let claims = std::mem::take(&mut self.claims);
        Ok(self.router.as_mut().map_or(Ok(()), |router| router.begin(claims))?)
    }

    /// Why the router beside us does not run any more, if there is one and it does not.
    pub fn router_trouble(&mut self) -> Option<BesideError> {
        self.router.as_mut().and_then(Beside::trouble)
    }

    fn configure(&self, index: usize, stream: &Stream) -> Result<(), BackendError> {
        let refused = || BackendError::Configure(stream.to_string());
        let octets = |address: Option<Ipv4Addr>| address.map_or([0; 4], |address| address.octets());
        let side = |pixels| u16::try_from(pixels).map_err(|_| refused());
        let message = protocol::Stream {
            index: u8::try_from(index).map_err(|_| refused())?,
            format: Some(of_wire(stream.format)),
            colour: protocol::Colour {
                bt709: stream.colorimetry == Colorimetry::Bt709,
                full_range: stream.range == Range::Full,
            },
            payload_type: stream.payload_type.unwrap_or(protocol::ANY_PAYLOAD_TYPE),
            port: stream.port,
            destination: octets(stream.address),
            source: octets(stream.source),
            width: side(stream.size.width())?,
            height: side(stream.size.height())?,
            generation: 1,
        };
        let bytes = message.to_bytes();
        let adapter = adapter(&self.machine);
        adapter.send(Message::small(protocol::CONFIGURE, Endpoint::Host, &bytes))?;
        let deadline = Instant::now() + ANSWER;
        while let Some(answer) = adapter.receive(deadline.saturating_duration_since(Instant::now()))
        {
            if answer.header().handler == protocol::CONFIGURED && answer.arguments() == bytes {
                return Ok(());
            }
        }
        Err(refused())
    }

    /// Grants a window's memory; waits until it has begun.
    ///
    /// # Errors
    /// [`BackendError::Grant`].
    pub fn grant(&self, window: usize, buffer: FrameBuffer) -> Result<(), BackendError> {
        let rectangle = buffer.geometry.whole();
        let window = u8::try_from(window).unwrap_or(u8::MAX);
        let grant = Grant { window, buffer, rectangle, start: Start::AtOnce };
        self.begin(grant)?.wait(ANSWER)?;
        Ok(())
    }

    /// Asks for a grant, without waiting.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn begin(&self, grant: Grant) -> Result<Acknowledgement, GrantError> {
        adapter(&self.machine).grant(self.extension, grant)
    }

    /// Takes a window away; after the acknowledgement nothing is written there.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn revoke(&self, window: u8) -> Result<Acknowledgement, GrantError> {
        adapter(&self.machine).revoke(self.extension, window)
    }

    /// What the extension counted for a stream.
    pub fn counted(&self, stream: usize, counter: Counter) -> u64 {
        self.counters.load_u64(protocol::counter_at(stream, counter)).unwrap_or_default()
    }

    /// Packets to a stream's port that are no stream's all the same: sent to another address, or no UDP.
    pub fn unknown(&self) -> u64 {
        self.counters.load_u64(protocol::UNKNOWN_STREAM).unwrap_or_default()
    }

    /// What the classifier did with every packet of the interface, by name; nothing without a classifier.
    pub fn classified(&self) -> BTreeMap<&'static str, u64> {
        self.counters_of_steering().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// All it counts; nothing where the kernel does not.
    fn counters_of_steering(&self) -> Vec<(&'static str, u64)> {
        let counters = self.steering.as_ref().and_then(|steering| steering.counters().ok());
        counters.unwrap_or_default()
    }

    /// What the adapter counted.
    ///
    /// # Errors
    /// [`BackendError::Load`]: it has stopped.
    pub fn statistics(&self) -> Result<Statistics, BackendError> {
        Ok(adapter(&self.machine).statistics()?)
    }

    /// IP fragments to the streams' addresses that the classifier saw; `None` without a classifier.
    pub fn fragments(&self) -> Option<u64> {
        let name = Classified::Fragments.name();
        self.counters_of_steering()
            .into_iter()
            .find_map(|(counter, count)| (counter == name).then_some(count))
    }

    /// How far behind it has been.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.machine.is_running()
    }

    /// Gives all packets back to the kernel, as at the beginning; answers what a router beside us did.
    ///
    /// # Errors
    /// [`BackendError::Beside`].
    pub fn stop(&mut self) -> Result<Option<spine_router::report::Report>, BackendError> {
        if let Some(steering) = &mut self.steering
            && let Err(error) = steering.set_all_enabled(false)
        {
            // It ends with the process anyway.
            tracing::warn!(%error, "the classifier still claims packets");
        }
        Ok(self.router.take().map(|mut router| router.end()).transpose()?)
    }
}

fn adapter(machine: &Machine) -> &AdapterHandle {
    // Made with one (`open`).
    &machine.adapters()[0]
}

/// The format in the extension's numbers.
const fn of_wire(format: Format) -> protocol::Format {
    match format {
        Format::Bgra => protocol::Format::Bgra,
        Format::Rgb => protocol::Format::Rgb,
        Format::Uyvy => protocol::Format::Uyvy,
        Format::Uyvp => protocol::Format::Uyvp,
    }
}

/// The handler for packets that nobody stamped: one that can do all the formats there are.
fn unstamped(streams: &[Stream]) -> spine_abi::HandlerNumber {
    let converted =
        streams.iter().any(|stream| of_wire(stream.format).handler() == protocol::CONVERT);
    if converted { protocol::CONVERT } else { protocol::BLIT }
}

/// Opens the interface for the streams' ports.
fn open(options: &Options<'_>) -> Result<Ports, OpenError> {
    let backend = match options.choice {
        BackendChoice::Auto => Wanted::Auto,
        BackendChoice::Xdp => Wanted::Xdp,
        BackendChoice::Packet => Wanted::Packet,
    };
    let interfaces = [options.interface.found.clone()];
    let modes = Modes::from(options.mode);
    let options = open::Options {
        frames: FRAMES,
        claims: Claims::Ports,
        punts: false,
        ..open::Options::new(&interfaces, &modes, unstamped(options.streams))
    };
    open::open(backend, &options)
}
