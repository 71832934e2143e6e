//! What the engines share: the memory, the counters, the trace.

use crate::arbiter::Arbiter;
use crate::sram::Sram;
use crate::time::Time;
use crate::trace::{Event, Trace};

/// What a board counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accesses of processor, engines or host where nothing is.
    pub outside: u64,
    /// Host DMA transfers started.
    pub dma_transfers: u64,
    /// Host DMA transfers that a new one cut short.
    pub dma_restarts: u64,
    /// Pieces of host DMA that nobody on the bus answered.
    pub dma_aborts: u64,
    /// Lists that led to a block that is none.
    pub chain_faults: u64,
    /// Host writes that a full hardware FIFO refused.
    pub fifo_full: u64,
    /// Send DMAs that a new one cut short.
    pub send_restarts: u64,
    /// Packets whose end was sent.
    pub packets_sent: u64,
    /// Packets whose end arrived.
    pub packets_received: u64,
    /// Of those, packets with a wrong CRC-8.
    pub bad_crc: u64,
    /// Polled reads when nothing had arrived.
    pub empty_reads: u64,
    /// Sends given up because the link said stop for too long.
    pub link_timeouts: u64,
}

/// Memory, counters, trace and arbiter of a board.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sram: Sram,
    pub(crate) counters: Counters,
    pub(crate) trace: Trace,
    pub(crate) arbiter: Arbiter,
}

impl Shared {
    /// An engine reads `bytes`; what is outside SRAM reads as zero.
    pub(crate) fn read(&mut self, now: Time, address: u32, bytes: &mut [u8]) {
        self.arbiter.engine(bytes.len());
        if let Some(from) = self.slice(address, bytes.len()) {
            bytes.copy_from_slice(from);
            return;
        }
        self.outside(now, address);
        for (offset, byte) in (0..).zip(bytes) {
            *byte = self
                .sram
                .slice(address.wrapping_add(offset), 1)
                .and_then(|b| b.first().copied())
                .unwrap_or(0);
        }
    }

    /// An engine writes `bytes`; what is outside SRAM is lost.
    pub(crate) fn write(&mut self, now: Time, address: u32, bytes: &[u8]) {
        self.arbiter.engine(bytes.len());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Some(to) = self.sram.slice_mut(address, length) {
            to.copy_from_slice(bytes);
            return;
        }
        self.outside(now, address);
        for (offset, &byte) in (0..).zip(bytes) {
            if let Some([place]) = self.sram.slice_mut(address.wrapping_add(offset), 1) {
                *place = byte;
            }
        }
    }

    /// Something touched `address`, where nothing is.
    pub(crate) fn outside(&mut self, now: Time, address: u32) {
        self.counters.outside += 1;
        self.trace.push(now, Event::Outside { address });
    }

    fn slice(&self, address: u32, length: usize) -> Option<&[u8]> {
        self.sram.slice(address, u32::try_from(length).ok()?)
    }
}
