//! Section 7's hardware, which the LANai 4 does not have: switches in `Config::extra`, all off.
//!
//! Chained DMA follows the block format of the LANai 7 (SRC), the hardware FIFO the doorbell region of the PCI64 boards
//! (DOC); strided DMA is the paper's own idea and needs no file: two registers, and the host DMA skips after each row. The
//! registers of all three are at offsets of our own. (DER)

pub(crate) mod chain;
pub(crate) mod fifo;
