//! A machine: all adapters of a process, connected, each on its processor.
//!
//! Made once with all interfaces; what changes later are the extensions. Dropping it stops the
//! processors and closes the interfaces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use spine_abi::HandlerNumber;
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory, Pool};
use spine_nic::clock::{Monotonic, ThreadTime};
use spine_nic::punt::KernelPort;
use spine_remote::{RemoteSetup, Remotes};
use wasmtime::Engine;

use crate::endpoint::{Outlets, peer};
use crate::extension::{TrustedKey, ended};
use crate::handle::{self, AdapterHandle};
use crate::processor::{Processor, ProcessorShared};
use crate::runtime::Adapter;

/// What one adapter is made of.
pub struct AdapterSetup {
    /// Its interface.
    pub nic: Box<dyn Nic>,
    /// The frames that are at home here.
    pub frames: Vec<Frame>,
    /// Where packets for the kernel go; without one they are dropped and counted.
    pub kernel: Option<Box<dyn KernelPort>>,
    /// The handler of packets that no classifier stamped.
    pub unstamped: HandlerNumber,
    /// Which processor runs it: an index into the machine's cores.
    pub processor: usize,
    /// Endpoints on other machines that are reached by its wire. To its extensions they are peers,
    /// numbered after the adapters of this machine.
    pub remotes: Vec<RemoteSetup>,
}

impl AdapterSetup {
    /// One without a way to the kernel and without other machines, on the first processor, whose packets
    /// somebody stamps: what differs is said beside it.
    pub fn new(nic: Box<dyn Nic>, frames: Vec<Frame>) -> Self {
        Self {
            nic,
            frames,
            kernel: None,
            unstamped: HandlerNumber::NONE,
            processor: 0,
            remotes: Vec::new(),
        }
    }
}

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The operating system refused something every machine needs.
    #[error("cannot start an adapter's processor: {0}")]
    System(#[from] io::Error),
    /// A core that does not exist, or that this process may not use.
    #[error("cannot run on core {core}: {source}; see `nproc` and `taskset -p`")]
    Core {
        /// The core asked for.
        core: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The FIFO of this process to an adapter.
    #[error(transparent)]
    Fifo(#[from] spine_ring::OpenError),
    /// The runtime's engine.
    #[error("cannot configure the WebAssembly runtime: {0}")]
    Engine(String),
    /// An adapter names a processor that is not there.
    #[error("adapter {adapter} is to run on processor {processor}, and there are {processors}")]
    Processor {
        /// The adapter.
        adapter: String,
        /// The processor it names.
        processor: usize,
        /// How many there are.
        processors: usize,
    },
}

/// Running adapters.
pub struct Machine {
    handles: Vec<AdapterHandle>,
    shared: Vec<Arc<ProcessorShared>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Machine {
    /// Starts one thread for each entry of `cores` (`None`: not pinned) and runs the adapters on
    /// them. `key` is the linker whose images they accept.
    ///
    /// # Errors
    /// [`MachineError`]; threads already started have ended then.
    pub fn start(
        adapters: Vec<AdapterSetup>,
        memory: &Arc<FrameMemory>,
        cores: &[Option<usize>],
        key: TrustedKey,
    ) -> Result<Self, MachineError> {
        let shared =
            cores.iter().map(|_| ProcessorShared::new()).collect::<io::Result<Vec<_>>>()?;
        let places: Vec<usize> = adapters.iter().map(|setup| setup.processor).collect();
        let (adapters, handles) = assemble(adapters, memory, &shared, key)?;
        let mut groups: Vec<Vec<Adapter>> = cores.iter().map(|_| Vec::new()).collect();
        for (adapter, place) in adapters.into_iter().zip(places) {
            groups[place].push(adapter);
        }
        let mut machine = Self { handles, shared, threads: Vec::new() };
        for (number, (group, core)) in groups.into_iter().zip(cores).enumerate() {
            machine.spawn(number, group, *core)?;
        }
        Ok(machine)
    }

    /// Connected adapters without processors, for whoever turns them by hand: simulations, benches.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn by_hand(
        adapters: Vec<AdapterSetup>,
        memory: &Arc<FrameMemory>,
        key: TrustedKey,
    ) -> Result<(Vec<Adapter>, Vec<AdapterHandle>), MachineError> {
        let count = adapters.iter().map(|setup| setup.processor + 1).max().unwrap_or(0);
        let shared = (0..count).map(|_| ProcessorShared::new()).collect::<io::Result<Vec<_>>>()?;
        assemble(adapters, memory, &shared, key)
    }

    fn spawn(
        &mut self,
        number: usize,
        adapters: Vec<Adapter>,
        core: Option<usize>,
    ) -> Result<(), MachineError> {
        let shared = Arc::clone(&self.shared[number]);
        let mut adapters = adapters;
        for adapter in &mut adapters {
            adapter.measure(Box::new(Monotonic::default()), Box::new(ThreadTime));
        }
        let processor = Processor::new(adapters, shared, Monotonic::default())?;
        let (report, pinned) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let result = core.map_or(Ok(()), Processor::<Monotonic>::pin);
            let failed = result.is_err();
            let _ = report.send(result);
            if failed { Ok(()) } else { processor.run() }
        };
        let thread = std::thread::Builder::new().name(format!("spine-cpu{number}")).spawn(body)?;
        self.threads.push(thread);
        match (pinned.recv(), core) {
            (Ok(Err(source)), Some(core)) => Err(MachineError::Core { core, source }),
            _ => Ok(()),
        }
    }

    /// The adapters, in the order they were given.
    pub fn adapters(&self) -> &[AdapterHandle] {
        &self.handles
    }

    /// How long whoever asks an adapter something waits for its answer: five seconds unless this says otherwise.
    /// An adapter that is asked to install something does so however late it is, so whoever must know
    /// what became of it waits until it answers ([`Duration::MAX`]); one that has ended answers at once.
    pub fn set_patience(&mut self, patience: Duration) {
        self.handles.iter_mut().for_each(|handle| handle.set_patience(patience));
    }

    /// System calls made for sleeping and waking, over all processors.
    pub fn syscalls(&self) -> u64 {
        self.shared.iter().map(|shared| shared.syscalls()).sum()
    }

    /// Whether every processor still runs.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Stops the processors and waits for them.
    pub fn stop(&mut self) {
        for shared in &self.shared {
            shared.stop.store(true, Ordering::Relaxed);
            shared.doorbell.ring();
        }
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a processor ended"),
                Err(_) => tracing::error!("a processor panicked"),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connects adapters with each other, with their processors' doorbells and with their handles.
fn assemble(
    setups: Vec<AdapterSetup>,
    memory: &Arc<FrameMemory>,
    processors: &[Arc<ProcessorShared>],
    key: TrustedKey,
) -> Result<(Vec<Adapter>, Vec<AdapterHandle>), MachineError> {
    let engine = Engine::new(&spine_engine::config())
        .map_err(|error| MachineError::Engine(format!("{error:#}")))?;
    let mut bells = Vec::new();
    for setup in &setups {
        let processor = processors.get(setup.processor).ok_or_else(|| MachineError::Processor {
            adapter: setup.nic.name().to_owned(),
            processor: setup.processor,
            processors: processors.len(),
        })?;
        bells.push(Arc::clone(&processor.doorbell));
    }
    if let Err(error) = ended::start() {
        tracing::warn!(%error, "no thread for extensions that ended: packets wait while one is taken apart");
    }
    let most = setups.iter().map(|setup| setup.frames.len()).max().unwrap_or(0);
    let (mut adapters, mut handles) = (Vec::new(), Vec::new());
    for (index, (setup, peers)) in (0..).zip(setups.into_iter().zip(peer::mesh(&bells, most))) {
        let (handle, port) = handle::endpoint(
            setup.nic.name(),
            index,
            Arc::clone(&bells[usize::from(index)]),
            Arc::clone(memory),
            engine.clone(),
            key,
        )?;
        let out = Outlets::new(
            setup.nic,
            Arc::clone(memory),
            Pool::new(index, setup.frames),
            peers,
            Remotes::new(setup.remotes),
            setup.kernel,
            port.fifos,
        );
        adapters.push(Adapter::new(out, port.control, setup.unstamped));
        handles.push(handle);
    }
    Ok((adapters, handles))
}
