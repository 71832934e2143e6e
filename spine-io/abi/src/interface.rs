//! The interfaces the runtime exports to extensions, grouped in domains (SPINE 3.3.2, 3.3.3).
//!
//! An extension imports a function as `(import "spine:<domain>" "<name>" ...)`; domains that other
//! extensions export are in [`declaration`](crate::declaration). The linker resolves
//! the import against the domains it was granted; the adapter binds the number to a function. A
//! verdict that sends a packet somewhere needs the domain of that place, too: the adapter checks it
//! against the domains in the image.

use core::fmt;

/// A set of domains, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Domains(pub u32);

/// A named set of interfaces (SPINE 3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Domain {
    /// Messages, handlers, regions: what no extension can do without. Always granted.
    Core = 1 << 0,
    /// Reading, writing, keeping and releasing buffers through references.
    Buffer = 1 << 1,
    /// This adapter's own wire.
    Net = 1 << 2,
    /// Other adapters.
    Peer = 1 << 3,
    /// Messages to the application.
    Host = 1 << 4,
    /// Packets to the kernel's stack.
    Kernel = 1 << 5,
    /// DMA into the frame buffers that the application grants, and publishing them.
    FrameBuffer = 1 << 6,
    /// Messages to itself, later.
    Timer = 1 << 7,
}

impl Domain {
    /// All domains.
    pub const ALL: &[Self] = &[
        Self::Core,
        Self::Buffer,
        Self::Net,
        Self::Peer,
        Self::Host,
        Self::Kernel,
        Self::FrameBuffer,
        Self::Timer,
    ];

    /// The name after `spine:` in an import.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Buffer => "buffer",
            Self::Net => "net",
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::FrameBuffer => "framebuffer",
            Self::Timer => "timer",
        }
    }

    /// The domain of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|domain| domain.name() == name)
    }
}

impl Domains {
    /// What every extension has.
    pub const CORE: Self = Self(Domain::Core as u32);

    /// The set of all that exist.
    pub const fn all() -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < Domain::ALL.len() {
            set |= Domain::ALL[i] as u32;
            i += 1;
        }
        Self(set)
    }

    /// The set with `domain` added.
    #[must_use]
    pub const fn with(self, domain: Domain) -> Self {
        Self(self.0 | domain as u32)
    }

    /// Whether `domain` is in the set.
    #[inline]
    pub const fn contains(self, domain: Domain) -> bool {
        self.0 & domain as u32 != 0
    }

    /// Whether every domain of `other` is in this set.
    pub const fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The members, in the order of [`Domain::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Domain> {
        Domain::ALL.iter().copied().filter(move |domain| self.contains(*domain))
    }
}

impl fmt::Display for Domains {
    /// The names of the members: `core, net`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, domain) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(domain.name())?;
        }
        Ok(())
    }
}

/// A WebAssembly value type, as far as interfaces use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
}

/// One function the runtime exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The domain it is visible in.
    pub domain: Domain,
    /// Its name in the domain.
    pub name: &'static str,
    /// Its parameters.
    pub parameters: &'static [Value],
    /// Its result.
    pub result: Option<Value>,
    /// Whether its caller may be stopped during the call (SPINE 3.3.2); handlers reach only these.
    pub ephemeral: bool,
    /// Fuel deducted from the caller for each call, besides what the call adds by its size.
    pub cost: u64,
}

use Value::{I32, I64};

/// `next(verdict) -> (context << 32) | slot`: hands in the verdict on the last message (the first
/// call's is ignored) and gives the address of the next message's slot, and the context of its
/// handler; zero when the burst is done. Renews the fuel.
pub const NEXT: Interface = Interface {
    domain: Domain::Core,
    name: "next",
    parameters: &[I64],
    result: Some(I64),
    ephemeral: true,
    cost: 0,
};

/// `add_handler(number, context) -> 0`: installs a handler that the manifest declares, with the
/// context it will be invoked with (the paper's AddHandler, Figure 2). From `init` only.
pub const ADD_HANDLER: Interface = Interface {
    domain: Domain::Core,
    name: "add_handler",
    parameters: &[I32, I32],
    result: Some(I32),
    ephemeral: false,
    cost: 0,
};

/// `region(index) -> (length << 32) | address`, zero when there is none: where the region that the
/// application shares stands in the extension's memory. From `init` only.
pub const REGION: Interface = Interface {
    domain: Domain::Core,
    name: "region",
    parameters: &[I32],
    result: Some(I64),
    ephemeral: false,
    cost: 0,
};

/// `read(buffer, offset, into, length) -> length`: copies from a buffer's data into memory.
/// Fuel: one unit for each 16 bytes besides the call's cost.
pub const READ: Interface = Interface {
    domain: Domain::Buffer,
    name: "read",
    parameters: &[I64, I32, I32, I32],
    result: Some(I32),
    ephemeral: true,
    cost: 20,
};

/// `write(buffer, offset, from, length) -> length`: copies from memory into a buffer's data.
/// Fuel as [`READ`].
pub const WRITE: Interface = Interface { name: "write", ..READ };

/// `release(buffer) -> 0`: gives back a buffer that was kept.
pub const RELEASE: Interface = Interface {
    domain: Domain::Buffer,
    name: "release",
    parameters: &[I64],
    result: Some(I32),
    ephemeral: true,
    cost: 20,
};

/// `send(message) -> 0`: queues the 256-byte small message at `message` for the application.
/// The header's source is overwritten by the runtime.
pub const SEND_HOST: Interface = Interface {
    domain: Domain::Host,
    name: "send",
    parameters: &[I32],
    result: Some(I32),
    ephemeral: true,
    cost: 50,
};

/// `send(peer, message) -> 0`: queues a small message for a handler on another adapter.
pub const SEND_PEER: Interface = Interface {
    domain: Domain::Peer,
    name: "send",
    parameters: &[I32, I32],
    result: Some(I32),
    ephemeral: true,
    cost: 50,
};

/// `arm(microseconds, handler, token) -> timer`: has a small message with `token` (8 bytes, little-endian) as its
/// arguments sent to a handler of one's own, from the runtime, when so much time has passed; at least
/// [`TIMER_MICROSECONDS`](crate::limits::TIMER_MICROSECONDS). Answers a number to cancel it by.
pub const ARM: Interface = Interface {
    domain: Domain::Timer,
    name: "arm",
    parameters: &[I32, I32, I64],
    result: Some(I32),
    ephemeral: true,
    cost: 50,
};

/// `cancel(timer) -> 0`: the timer is not due any more.
pub const CANCEL: Interface = Interface {
    domain: Domain::Timer,
    name: "cancel",
    parameters: &[I32],
    result: Some(I32),
    ephemeral: true,
    cost: 50,
};

/// Everything the runtime exports.
pub const INTERFACES: &[Interface] =
    &[NEXT, ADD_HANDLER, REGION, READ, WRITE, RELEASE, SEND_HOST, SEND_PEER, ARM, CANCEL];

/// Fuel deducted from the caller for each call of an interface that another extension exports, besides what
/// the callee uses. In a release build a call takes 150 ns there and back, three times what so many plain
/// instructions take (`spine-bench call`, 2-core AMD EPYC virtual machine, 2026-11-24), as calls into the runtime take
/// four times theirs (`spine-bench watchdog`): well within what the worst instructions take.
pub const EXTENSION_CALL: u64 = 600;

/// The prefix of the module's name in imports from the runtime's domains; a domain that another extension
/// exports is imported by its plain name.
pub const MODULE_PREFIX: &str = "spine:";

/// The exports the runtime uses: the loop over a burst, of type `() -> ()`.
pub const EXPORT_RUN: &str = "run";
/// The initialisation, of type `() -> ()`; optional.
pub const EXPORT_INIT: &str = "init";
/// The linear memory.
pub const EXPORT_MEMORY: &str = "memory";
/// The shadow stack's pointer, which the runtime restores after it stops a handler.
pub const EXPORT_STACK_POINTER: &str = "__stack_pointer";
