//! Offsets of the registers that do something.

/// Interrupt status; the LANai 4's processor uses r31 instead.
pub const ISR: u32 = 0x28;
/// External (host) interrupt mask.
pub const EIMR: u32 = 0x2C;
/// Interrupt timer, counts down.
pub const IT: u32 = 0x30;
/// Real-time clock, counts up.
pub const RTC: u32 = 0x34;
/// Checksum accumulator.
pub const CKS: u32 = 0x38;
/// Host DMA: PCI address.
pub const EAR: u32 = 0x3C;
/// Host DMA: SRAM address.
pub const LAR: u32 = 0x40;
/// Host DMA: bytes left; a write starts it.
pub const DMA_CTR: u32 = 0x44;
/// Receive DMA: next word.
pub const RMP: u32 = 0x48;
/// Receive DMA: last word; a write arms it.
pub const RML: u32 = 0x4C;
/// Send DMA: next word.
pub const SMP: u32 = 0x50;
/// Send DMA: last word; a write starts it.
pub const SML: u32 = 0x54;
/// Send DMA: last word of the packet; a write starts it.
pub const SMLT: u32 = 0x58;
/// Takes one received byte.
pub const RB: u32 = 0x60;
/// Takes two received bytes.
pub const RH: u32 = 0x64;
/// Takes four received bytes.
pub const RW: u32 = 0x68;
/// Bytes of the first word that the next send leaves out.
pub const SA: u32 = 0x6C;
/// Sends one byte.
pub const SB: u32 = 0x70;
/// Sends two bytes.
pub const SH: u32 = 0x74;
/// Sends four bytes.
pub const SW: u32 = 0x78;
/// Ends the packet.
pub const ST: u32 = 0x7C;
/// Host DMA: direction.
pub const DMA_DIR: u32 = 0x80;
/// Period of the link's time-out.
pub const TIMEOUT: u32 = 0x88;
/// Link control.
pub const MYRINET: u32 = 0x8C;

// Section 7's hardware. The offsets are ours: the LANai 4 has nothing there. [DER]

/// Chained DMA: a write starts the list (2 = L2E, 4 = E2L).
pub const PULSE: u32 = 0xA0;
/// Chained DMA: first block of the list to the host.
pub const CHAIN_L2E: u32 = 0xA4;
/// Chained DMA: first block of the list from the host.
pub const CHAIN_E2L: u32 = 0xA8;
/// Strided DMA: bytes of a row; 0 is off.
pub const STRIDE_ROW: u32 = 0xAC;
/// Strided DMA: from the start of a row to the start of the next, in host memory.
pub const STRIDE_STEP: u32 = 0xB0;
/// Hardware FIFO: where it is in SRAM.
pub const FIFO_BASE: u32 = 0xB4;
/// Hardware FIFO: entries, a power of two; 0 is off.
pub const FIFO_SIZE: u32 = 0xB8;
/// Hardware FIFO: entries ever written, counted by the hardware.
pub const FIFO_PUT: u32 = 0xBC;
/// Hardware FIFO: entries ever taken, counted by the firmware.
pub const FIFO_GET: u32 = 0xC0;
