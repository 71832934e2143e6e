//! Every limit, with the relations between them asserted at compile time.

/// Bytes of a message: the header and the arguments (SPINE 3.2).
pub const MESSAGE_BYTES: usize = 256;
/// Bytes of a message's header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a message's arguments (SPINE 3.2).
pub const ARGUMENT_BYTES: usize = 240;

/// Messages that one event carries at most, and so messages an extension is given in one entry.
pub const BURST: usize = 64;

/// The largest Ethernet frame an adapter handles: a page less the 256 bytes XDP keeps in front.
pub const FRAME_BYTES: usize = 4096 - 256;
/// Bytes of a packet that a handler may ask to see, or to have written back, in its slot.
pub const PREFIX_BYTES: usize = FRAME_BYTES;
/// The stride between slots is a multiple of this, so that no two share a cache line.
pub const SLOT_ALIGN: usize = 64;

/// Handlers one extension may have.
pub const HANDLERS: usize = 64;
/// Handler numbers are below this, so that an adapter's table is an array.
pub const HANDLER_NUMBERS: usize = 1024;
/// Interfaces of one domain that an extension exports.
pub const INTERFACES: usize = 32;
/// Parameters of one of them.
pub const PARAMETERS: usize = 8;
/// Domains of other extensions that one extension is linked against.
pub const LINKS: usize = 8;
/// Timers that one extension has at one time.
pub const TIMERS: usize = 16;
/// Microseconds after which a timer is due at the earliest; one for sooner is due then.
pub const TIMER_MICROSECONDS: u32 = 100;
/// Extensions that a call is in at one time, the first caller included: each has a native stack of its
/// own on the adapter's.
pub const NESTING: usize = 4;
/// Extensions loaded on one adapter at one time.
pub const EXTENSIONS: usize = 128;
/// Regions one extension may be given.
pub const REGIONS: usize = 4;
/// Windows (places in frame buffers) that one extension may fill.
pub const WINDOWS: usize = 16;
/// Elements of one DMA list.
pub const DMA_ELEMENTS: usize = 16;
/// Adapters of one process.
pub const ADAPTERS: usize = 64;
/// Bytes of an extension's name.
pub const NAME_BYTES: usize = 32;

/// Bytes of one extension's own linear memory before slots and regions, at most.
pub const MEMORY_BYTES: usize = 16 << 20;
/// Bytes of one region, at most.
pub const REGION_BYTES: usize = 256 << 20;
/// A WebAssembly page.
pub const PAGE_BYTES: usize = 65536;
/// Bytes of a .wasm that the linker takes, names and debugging sections included.
pub const MODULE_BYTES: usize = 16 << 20;
/// Bytes of code in it.
pub const CODE_BYTES: usize = 2 << 20;
/// Functions in it, imported ones included.
pub const FUNCTIONS: usize = 10_000;
/// Bytes of one function, locals of one, and blocks inside each other in it: a compiler's time and memory grow
/// faster than these.
pub const FUNCTION_BYTES: usize = 256 << 10;
/// See [`FUNCTION_BYTES`]. Parameters are not counted: a type has 1000 at most.
pub const LOCALS: usize = 4096;
/// See [`FUNCTION_BYTES`].
pub const BLOCKS: usize = 1024;
/// Locals and parameters times ways between blocks (each target of a branch; a loop counts as 16), of all functions
/// together: what there may be to merge.
pub const MERGES: usize = 8_000_000;
/// Locals that the loops of one function carry from round to round, each counted for each loop it is set in, and those of
/// all functions together. Measured, a compiler takes 0.07 s for a function with so many, and five for four times
/// as many.
pub const CARRIED: usize = 10_000;
/// See [`CARRIED`].
pub const CARRIED_BY_ALL: usize = 400_000;
/// Types in it, and imports, globals, exports, segments of data and of elements: an adapter keeps something of
/// each for as long as the extension is there.
pub const ITEMS: usize = 10_000;
/// Elements of all its segments, whether they are ever put into a table or not.
pub const SEGMENT_ELEMENTS: usize = 65_536;
/// Elements of its table.
pub const TABLE_ELEMENTS: usize = 4096;
/// Bytes of an image, at most.
pub const IMAGE_BYTES: usize = 64 << 20;

/// Events that wait on one adapter at most.
pub const EVENTS: usize = 1024;
/// Messages waiting for the host, or from the host, per adapter.
pub const HOST_FIFO: usize = 256;

/// Fuel one message may use unless configured otherwise: about ten times what the router's handler
/// uses (734 units; `spine-bench dispatch` prints it).
pub const FUEL_PER_MESSAGE: u64 = 8_000;
/// Nanoseconds of an adapter's time that one entry is meant to take, and one user's extensions together in one
/// round: about ten bursts of the router's.
pub const ENTRY_NANOS: u64 = 50_000;
/// Strikes (stopped or trapped handlers) after which an extension is unloaded.
pub const STRIKES: u32 = 100;

const _: () = assert!(HEADER_BYTES + ARGUMENT_BYTES == MESSAGE_BYTES);
const _: () = assert!(MESSAGE_BYTES.is_multiple_of(SLOT_ALIGN));
const _: () = assert!(BURST.is_power_of_two() && BURST <= 64);
const _: () = assert!(PREFIX_BYTES <= u16::MAX as usize);
const _: () = assert!(PREFIX_BYTES >= ARGUMENT_BYTES);
// In 64 bits: the crate is compiled for wasm32, too, where four gigabytes are no `usize`.
const _: () = assert!(REGIONS as u64 * REGION_BYTES as u64 + (MEMORY_BYTES as u64) < (4_u64 << 30));
const _: () = assert!(ADAPTERS <= 1 << 12, "an endpoint has 12 bits for its index");
const _: () = assert!(BURST * (MESSAGE_BYTES + PREFIX_BYTES) < REGION_BYTES);
