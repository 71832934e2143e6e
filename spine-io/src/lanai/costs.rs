//! What the events of SPINE's runtime cost on the card, and the engines they wait for.
//!
//! Each figure says where it is from. *Published*: in the SPINE paper. *Assumed*: from the literature of
//! the time, not retrieved. *Derived*: no single event's cost was published except the route handler's;
//! these 21 are one division of the published sums. *Fitted*: chosen so that one published figure comes
//! out, which that figure therefore does not confirm.

/// The size of a message, which the host DMA moves beside the packet. Published (3.2).
pub const MESSAGE_BYTES: u64 = 256;
/// The size of a FIFO pointer. Derived: a word of the card's processor.
pub const POINTER_BYTES: u64 = 4;

/// Time from the start of a host DMA to its first byte. Assumed.
pub const HOST_DMA_START_NS: u64 = 1_000;
/// Bytes a second over the 32-bit, 33 MHz PCI bus. Assumed: 132 MB/s is the peak.
pub const PCI_BYTES_PER_SECOND: u64 = 110_000_000;
/// Bytes a second over the Myrinet link, each way. Published for the hardware.
pub const LINK_BYTES_PER_SECOND: u64 = 160_000_000;
/// From the post of a FIFO's tail to the egress card's credit. Derived: what its few events take.
pub const CREDIT_NS: u64 = 7_600;

/// One look at everything when no event is ready. Fitted: to the published 14,100 packets/s of "Wire",
/// whose period of 70.9 us is 45.0 us of events and three transfers, each seen at the end of a poll.
pub const IDLE_POLL_NS: u32 = 8_600;

/// What the router's handler takes for a packet. Published (Figure 6: from 16 to 20 us).
pub const ROUTE_HANDLER_NS: u64 = 4_000;
/// The time that a unit of a handler's fuel takes. Fitted: the router's handler uses so much fuel, as a
/// mean over the reference trace (1000 routes in an LC-trie), that this makes it the published 4.0 us.
pub const ROUTER_PICOSECONDS_PER_FUEL: u64 = 4_860;

/// Events an egress card needs for a packet, and each one's cost. Derived: the mean event of 2.5 us.
pub const MEAN_EVENT_NS: u32 = 2_500;

/// Receive buffers. Assumed.
pub const RECEIVE_BUFFERS: usize = 4;
/// Packets that wait in the network before a sender loses one. Assumed: Myrinet has back pressure.
pub const UPSTREAM: usize = 4;
/// The card's memory in bytes. Published (2.3).
pub const SRAM_BYTES: usize = 1 << 20;
/// Bytes of that memory for the runtime itself. Derived: twice the firmware of the time (76,256 bytes).
pub const RUNTIME_BYTES: usize = 160 << 10;
/// Bytes of a receive buffer. Derived: the packet that the link's driver of the time received.
pub const BUFFER_BYTES: usize = 2_048;

/// A fast processor's events, against this one's: 200 MHz for 33 MHz, and 0.5 us an event. Published
/// (7.3).
pub const FAST_PROCESSOR: (u32, u32) = (1, 5);

/// The time that `bytes` take over a bus or link.
pub const fn transfer_ns(bytes: u64, bytes_per_second: u64) -> u64 {
    bytes * 1_000_000_000 / bytes_per_second
}

/// The time that the host DMA takes for `bytes`.
pub const fn host_dma_ns(bytes: u64) -> u64 {
    HOST_DMA_START_NS + transfer_ns(bytes, PCI_BYTES_PER_SECOND)
}
