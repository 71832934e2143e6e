//! What reading or writing a special register does.
//!
//! Most registers just keep what is written, also those that the LANai 4 does not have: nothing here faults. The others are
//! listed in the two matches below, which are the model's view of the chip's register list.

use super::card::Card;
use crate::bus::HostBus;
use crate::dma::{Job, orun};
use crate::extra::chain::{Block, PULSE_E2L, PULSE_L2E};
use crate::link::Link;
use crate::registers::{E2L, isr, offset};
use crate::time::Time;
use crate::trace::{Event, Who};

impl<H: HostBus, L: Link> Card<H, L> {
    /// The register at `offset`, with what reading it does.
    pub(super) fn read_register(&mut self, now: Time, offset: u32) -> u32 {
        match offset & 0xFC {
            offset::ISR => self.visible(),
            offset::IT => self.timers.it(now),
            offset::RTC => self.timers.rtc(now),
            offset::CKS | offset::EAR | offset::LAR | offset::DMA_CTR => {
                self.catch_up(now);
                match offset & 0xFC {
                    offset::CKS => self.host_dma.cks(),
                    offset::EAR => self.host_dma.ear(),
                    offset::LAR => self.host_dma.lar(),
                    _ => self.host_dma.left(),
                }
            }
            offset::RMP => self.receive.rmp,
            offset::RML => self.receive.rml(),
            offset::SMP => self.send.smp,
            offset::SA => self.send.align,
            offset::RB => self.take(now, 1),
            offset::RH => self.take(now, 2),
            offset::RW => self.take(now, 4),
            other => self.register(other),
        }
    }

    /// Writes the register at `offset`, with what that does.
    pub(super) fn write_register(&mut self, now: Time, who: Who, offset: u32, value: u32) {
        let offset = offset & 0xFC;
        if who == Who::Processor {
            self.changing(now);
        }
        self.shared.trace.push(now, Event::Register { who, offset, value });
        match offset {
            offset::ISR => self.write_isr(who, value),
            offset::IT => self.timers.set_it(now, value),
            offset::RTC => self.timers.set_rtc(now, value),
            offset::CKS => {
                self.advance_host_dma(now);
                self.host_dma.set_cks(value);
            }
            offset::EAR => self.host_dma.set_ear(value),
            offset::LAR => self.host_dma.set_lar(value),
            offset::DMA_CTR => self.start_host_dma(now, value),
            offset::RMP => self.receive.rmp = value,
            offset::RML => {
                self.clear(isr::RECV_INT | isr::BUFF_INT | isr::TAIL_INT | isr::ORUN1 | isr::ORUN2);
                let rises = self.receive.arm(now, value, &mut self.shared);
                self.raise(rises);
            }
            offset::SMP => self.send.smp = value,
            offset::SML => self.send.start(now, value, false, &self.config, &mut self.shared),
            offset::SMLT => self.send.start(now, value, true, &self.config, &mut self.shared),
            offset::SA => self.send.align = value,
            offset::SB => self.send.single(now, value, 1, &self.config, &mut self.link),
            offset::SH => self.send.single(now, value, 2, &self.config, &mut self.link),
            offset::SW => self.send.single(now, value, 4, &self.config, &mut self.link),
            offset::ST => {
                let crc_enabled = self.crc_enabled();
                self.send.end(now, crc_enabled, &self.config, &mut self.link);
                self.shared.counters.packets_sent += 1;
            }
            offset::PULSE if self.config.extra.chained_dma => self.pulse(now, value),
            _ => {}
        }
        self.set_register(offset, value);
        self.receive.watch(now, &self.config, &self.link);
        match who {
            Who::Processor => self.changed(),
            Who::Host => self.publish(now),
        }
        self.drive_line(now);
        self.plan(now);
    }

    /// Ones clear, but for the bits by which one side calls the other: the processor sets HOST_SIG, the host sets LANn_SIG
    /// (SRC) and DBG (DER).
    fn write_isr(&mut self, who: Who, value: u32) {
        match who {
            Who::Processor => {
                self.processor_writes_isr(value);
            }
            Who::Host => {
                let calls = isr::LAN_SIG | isr::DBG;
                self.clear(value & !calls);
                self.raise(value & calls);
            }
        }
    }

    fn start_host_dma(&mut self, now: Time, length: u32) {
        self.advance_host_dma(now);
        self.chain = None;
        let from_host = self.register(offset::DMA_DIR) & 1 == E2L;
        let (ear, lar) = (self.host_dma.ear(), self.host_dma.lar());
        let job = Job { from_host, ear, lar, length, stride: self.stride() };
        self.clear(isr::DMA_INT);
        self.host_dma.start(now, job, &self.config, &mut self.shared);
    }

    /// Moves what the host DMA has had time for, so that its registers are exact.
    fn catch_up(&mut self, now: Time) {
        self.advance_host_dma(now);
        if self.isr(now) != self.visible() {
            self.changed();
        }
        self.plan(now);
    }

    fn stride(&self) -> (u32, u32) {
        if self.config.extra.strided_dma {
            (self.register(offset::STRIDE_ROW), self.register(offset::STRIDE_STEP))
        } else {
            (0, 0)
        }
    }

    /// PULSE: starts a list.
    fn pulse(&mut self, now: Time, value: u32) {
        let head = match value {
            v if v & PULSE_L2E != 0 => self.register(offset::CHAIN_L2E),
            v if v & PULSE_E2L != 0 => self.register(offset::CHAIN_E2L),
            _ => return,
        };
        self.clear(isr::DMA_INT);
        if !self.start_block(now, head) {
            self.raise(isr::DMA_INT);
        }
    }

    /// Starts the block at `address`; false if there is none.
    fn start_block(&mut self, now: Time, address: u32) -> bool {
        self.chain = Block::read(address, self.stride(), &self.shared);
        match self.chain {
            Some(block) => {
                self.host_dma.set_cks(0);
                self.host_dma.start(now, block.job(), &self.config, &mut self.shared);
            }
            None => self.shared.counters.chain_faults += 1,
        }
        self.chain.is_some()
    }

    /// After a transfer: finishes its block if it had one; true if another block follows.
    pub(super) fn follow_chain(&mut self, now: Time) -> bool {
        let Some(block) = self.chain.take() else { return false };
        let [_, _, high, low] = self.host_dma.cks().to_be_bytes();
        self.shared.write(now, block.checksum(), &[high, low]);
        if block.wakes() {
            self.raise(isr::WAKE_INT);
        }
        block.next().is_some_and(|next| self.start_block(now, next))
    }

    /// RB, RH, RW: takes `count` bytes that arrived; they are the low bytes of the answer, like a load of that width.
    fn take(&mut self, now: Time, count: usize) -> u32 {
        self.changing(now);
        let (word, taken, ended) = self.receive.take(count);
        self.shared.counters.empty_reads += u64::from(taken == 0);
        self.clear(isr::TAIL_INT | isr::ORUN1 | isr::ORUN2);
        if ended {
            self.raise(isr::TAIL_INT | orun(count.saturating_sub(taken)));
        }
        self.receive.watch(now, &self.config, &self.link);
        self.changed();
        self.plan(now);
        match count {
            1 => word >> 24,
            2 => word >> 16,
            _ => word,
        }
    }
}
