//! The receive DMA and the polled reads: from the link into SRAM, or into the processor.
//!
//! What arrives waits in a small FIFO. While the DMA is armed it empties the FIFO into SRAM word by word, until it has
//! written the word at RML (BUFF_INT) or the end of a packet (RECV_INT, with ORUN1 and ORUN2 telling how much of the last
//! word is not the packet's); both at once if the packet ends in that word. Then, and before it is armed, the bytes stay
//! where they are for RB, RH and RW; when the FIFO is full the link stops.
//!
//! The last byte of a packet is its CRC. With CRC_ENABLE the hardware puts there what its own CRC over everything gives:
//! zero for a good packet.

use std::collections::VecDeque;

use crate::board::Shared;
use crate::config::Config;
use crate::link::{Link, Piece, crc8};
use crate::registers::isr;
use crate::time::Time;
use crate::trace::Event;

/// The engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiveDma {
    /// Next word.
    pub(crate) rmp: u32,
    rml: u32,
    armed: bool,
    fifo: VecDeque<Flit>,
    ends: usize,
    crc: u8,
    inside_packet: bool,
    /// When the port took its last byte, or found room again.
    free_at: Time,
    blocked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Flit {
    byte: u8,
    end: bool,
}

impl ReceiveDma {
    /// Last word: RML.
    pub(crate) fn rml(&self) -> u32 {
        self.rml
    }

    /// Whether a packet is coming in.
    pub(crate) fn inside_packet(&self) -> bool {
        self.inside_packet
    }

    /// When the next piece is complete, if there is room for it.
    pub(crate) fn due(&self, config: &Config, link: &impl Link) -> Option<Time> {
        let (at, length) = link.next()?;
        self.has_room(config, length)
            .then(|| at.max(self.free_at + config.link_rate.duration(length as u64)))
    }

    fn has_room(&self, config: &Config, length: usize) -> bool {
        self.fifo.is_empty() || self.fifo.len() + length <= config.receive_fifo
    }

    /// Takes note of whether the link has to wait; to be called after everything that fills or empties the FIFO.
    pub(crate) fn watch(&mut self, now: Time, config: &Config, link: &impl Link) {
        let blocked =
            link.next().is_some_and(|(at, length)| at <= now && !self.has_room(config, length));
        if self.blocked && !blocked {
            self.free_at = self.free_at.max(now);
        }
        self.blocked = blocked;
    }

    /// A piece is here; answers the ISR bits that rise.
    pub(crate) fn accept(
        &mut self,
        now: Time,
        piece: &Piece,
        crc_enabled: bool,
        shared: &mut Shared,
    ) -> u32 {
        self.free_at = self.free_at.max(now);
        if !self.inside_packet {
            shared.trace.push(now, Event::PacketHead);
        }
        self.inside_packet = true;
        let last = piece.bytes().len().saturating_sub(1);
        for (index, &byte) in piece.bytes().iter().enumerate() {
            self.crc = crc8(self.crc, byte);
            let end = piece.end && index == last;
            let byte = if end && crc_enabled { self.crc } else { byte };
            self.fifo.push_back(Flit { byte, end });
            self.ends += usize::from(end);
        }
        if piece.end && !piece.bytes().is_empty() {
            let good = self.crc == 0;
            shared.trace.push(now, Event::PacketTail { good });
            shared.counters.packets_received += 1;
            shared.counters.bad_crc += u64::from(crc_enabled && !good);
            self.crc = 0;
            self.inside_packet = false;
        }
        self.drain(now, shared)
    }

    /// RML is written: the DMA is armed; answers the ISR bits that rise.
    pub(crate) fn arm(&mut self, now: Time, rml: u32, shared: &mut Shared) -> u32 {
        self.rml = rml;
        self.rmp &= !3;
        self.armed = true;
        shared.trace.push(now, Event::ReceiveArmed { rmp: self.rmp, rml });
        self.drain(now, shared)
    }

    /// Disarms the DMA and forgets what waits.
    pub(crate) fn stop(&mut self) {
        let (rmp, rml, free_at, inside_packet, crc) =
            (self.rmp, self.rml, self.free_at, self.inside_packet, self.crc);
        *self = Self { rmp, rml, free_at, inside_packet, crc, ..Self::default() };
    }

    /// Takes up to `count` bytes for the processor: the bytes, left-aligned in a word, how many, and whether a packet ended.
    pub(crate) fn take(&mut self, count: usize) -> (u32, usize, bool) {
        let mut bytes = [0; 4];
        let mut taken = 0;
        let mut ended = false;
        for place in bytes.iter_mut().take(count) {
            let Some(flit) = self.fifo.pop_front() else { break };
            *place = flit.byte;
            taken += 1;
            if flit.end {
                self.ends -= 1;
                ended = true;
                break;
            }
        }
        (u32::from_be_bytes(bytes), taken, ended)
    }

    /// BYTE_RDY, HALF_RDY and WORD_RDY.
    pub(crate) fn levels(&self) -> u32 {
        if self.armed {
            return 0;
        }
        let ready = |count: usize| {
            self.fifo.len() >= count
                || (self.ends > 0 && self.fifo.iter().take(count).any(|flit| flit.end))
        };
        let bit = |count, bit| if ready(count) { bit } else { 0 };
        bit(1, isr::BYTE_RDY) | bit(2, isr::HALF_RDY) | bit(4, isr::WORD_RDY)
    }

    fn drain(&mut self, now: Time, shared: &mut Shared) -> u32 {
        let mut rises = 0;
        while self.armed && (self.fifo.len() >= 4 || self.ends > 0) {
            let (word, count, ended) = self.take(4);
            shared.write(now, self.rmp, &word.to_be_bytes());
            if self.rmp == self.rml & !3 {
                rises |= isr::BUFF_INT;
                self.armed = false;
            }
            self.rmp = self.rmp.wrapping_add(4);
            if ended {
                rises |= isr::RECV_INT | orun(4 - count);
                self.armed = false;
            }
        }
        rises
    }
}

/// ORUN1 and ORUN2 for so many unused bytes of the last word.
pub(crate) fn orun(unused: usize) -> u32 {
    let bit = |mask: usize, bit| if unused & mask == 0 { 0 } else { bit };
    bit(1, isr::ORUN1) | bit(2, isr::ORUN2)
}
