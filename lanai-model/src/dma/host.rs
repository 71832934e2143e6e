//! The host DMA: one engine, one transfer at a time, either way over PCI.
//!
//! A write to DMA_CTR starts it with whatever EAR, LAR and DMA_DIR hold then. EAR and LAR count along; what is written to
//! them in flight is for the next transfer, and that is what they read as from then on. (DER: no firmware does it) After the
//! start-up the engine moves bytes at its rate; it holds the bus for [`TENURE`] bytes at a time, so that two boards on one bus take turns. Reading DMA_CTR in flight
//! first moves what has had its time, so firmware may use those bytes at once. With `extra` switched on it also skips
//! between rows (strided).

use super::{Flow, add_ones_complement};
use crate::board::Shared;
use crate::bus::HostBus;
use crate::config::Config;
use crate::time::Time;
use crate::trace::Event;

/// Bytes that one grant of the bus is good for. (DER)
const TENURE: u32 = 128;

/// What a transfer is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// From the host to the board.
    pub(crate) from_host: bool,
    /// PCI address.
    pub(crate) ear: u32,
    /// SRAM address.
    pub(crate) lar: u32,
    /// Bytes.
    pub(crate) length: u32,
    /// Bytes of a row and from row to row in host memory; a row of 0 is one row.
    pub(crate) stride: (u32, u32),
}

/// The engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostDma {
    ear: Pointer,
    lar: Pointer,
    left: u32,
    cks: u32,
    running: Option<Running>,
}

/// An address register: what it reads as, and where the transfer under way is.
#[derive(Clone, Copy, Debug, Default)]
struct Pointer {
    register: u32,
    at: u32,
    /// The register was written since the transfer began, and does not count along.
    written: bool,
}

impl Pointer {
    /// A transfer begins here.
    fn start(&mut self, at: u32) {
        *self = Self { register: at, at, written: false };
    }

    /// The transfer goes on this much further.
    fn advance(&mut self, by: u32) {
        self.at = self.at.wrapping_add(by);
        if !self.written {
            self.register = self.at;
        }
    }

    /// The register is written.
    fn set(&mut self, value: u32) {
        self.register = value;
        self.written = true;
    }
}

#[derive(Clone, Copy, Debug)]
struct Running {
    from_host: bool,
    stride: (u32, u32),
    row_left: u32,
    flow: Flow,
    /// Bytes left of this grant; none while a grant is still to be asked for at `ask_at`.
    granted: u32,
    ask_at: Time,
}

impl HostDma {
    /// The PCI address: EAR.
    pub(crate) fn ear(&self) -> u32 {
        self.ear.register
    }

    /// The SRAM address: LAR.
    pub(crate) fn lar(&self) -> u32 {
        self.lar.register
    }

    /// Sets EAR for the next transfer.
    pub(crate) fn set_ear(&mut self, value: u32) {
        self.ear.set(value);
    }

    /// Sets LAR for the next transfer.
    pub(crate) fn set_lar(&mut self, value: u32) {
        self.lar.set(value);
    }

    /// Bytes still to move: DMA_CTR.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// The checksum accumulator.
    pub(crate) fn cks(&self) -> u32 {
        self.cks
    }

    /// Sets the checksum accumulator.
    pub(crate) fn set_cks(&mut self, value: u32) {
        self.cks = value;
    }

    /// Whether a transfer is under way.
    pub(crate) fn busy(&self) -> bool {
        self.running.is_some()
    }

    /// Starts `job`; what was under way is lost, as its registers are.
    pub(crate) fn start(&mut self, now: Time, job: Job, config: &Config, shared: &mut Shared) {
        shared.counters.dma_restarts += u64::from(self.busy());
        shared.counters.dma_transfers += 1;
        let Job { from_host, ear, lar, length, stride } = job;
        shared.trace.push(now, Event::DmaStart { from_host, ear, lar, length });
        self.ear.start(ear);
        self.lar.start(lar);
        self.left = length;
        // Never no time at all: a list of empty blocks that leads to itself must not stop the clock.
        let ask_at = now + config.dma_start_up.max(Time::from_ps(1));
        let flow = Flow::new(ask_at, config.dma_rate);
        self.running =
            Some(Running { from_host, stride, row_left: stride.0, flow, granted: 0, ask_at });
    }

    /// When [`HostDma::advance`] has something to do.
    pub(crate) fn due(&self, config: &Config) -> Option<Time> {
        let running = self.running.as_ref()?;
        if running.granted == 0 {
            return Some(running.ask_at);
        }
        Some(running.flow.due(u64::from(config.burst.max(1).min(running.granted).min(self.left))))
    }

    /// Moves what has had its time by `now`; true if that was the last of it.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        config: &Config,
        shared: &mut Shared,
        host: &mut impl HostBus,
    ) -> bool {
        let Some(mut running) = self.running else { return false };
        loop {
            if self.left == 0 {
                if now < running.ask_at {
                    break;
                }
                self.running = None;
                shared.trace.push(now, Event::DmaDone);
                return true;
            }
            if running.granted == 0 {
                if now < running.ask_at {
                    break;
                }
                running.granted = self.left.min(TENURE);
                let length = config.dma_rate.duration(u64::from(running.granted));
                let start = host.grant(running.ask_at, length);
                if start != running.ask_at || running.flow.due(0) != start {
                    running.flow = Flow::new(start, config.dma_rate);
                }
            }
            let ready =
                u32::try_from(running.flow.ready(now)).unwrap_or(u32::MAX).min(running.granted);
            // A bus of words: what is not the end of a grant moves in fours.
            let count = if ready == running.granted { ready } else { ready & !3 };
            if count == 0 {
                break;
            }
            self.copy(now, &mut running, count, shared, host);
            running.flow.take(u64::from(count));
            running.granted -= count;
            running.ask_at = running.flow.due(0);
        }
        self.running = Some(running);
        false
    }

    /// Moves `count` bytes, row by row if there are rows.
    fn copy(
        &mut self,
        now: Time,
        running: &mut Running,
        count: u32,
        shared: &mut Shared,
        host: &mut impl HostBus,
    ) {
        let (row, step) = running.stride;
        let mut count = count;
        while count > 0 {
            let part = if row == 0 { count } else { count.min(running.row_left.max(1)) };
            let mut buffer = [0; TENURE as usize];
            let part = part.min(TENURE);
            let bytes = buffer.get_mut(..part as usize).unwrap_or(&mut []);
            if running.from_host {
                if !host.read(now, self.ear.at, bytes) {
                    bytes.fill(0xFF);
                    shared.counters.dma_aborts += 1;
                }
                shared.write(now, self.lar.at, bytes);
            } else {
                shared.read(now, self.lar.at, bytes);
                shared.counters.dma_aborts += u64::from(!host.write(now, self.ear.at, bytes));
            }
            self.cks = add_ones_complement(self.cks, bytes);
            self.ear.advance(part);
            self.lar.advance(part);
            self.left -= part;
            count -= part;
            if row != 0 {
                running.row_left = running.row_left.saturating_sub(part);
                if running.row_left == 0 {
                    running.row_left = row;
                    self.ear.advance(step.wrapping_sub(row));
                }
            }
        }
    }
}
