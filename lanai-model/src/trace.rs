//! What happened, and when: a ring of fixed size, or a callback.
//!
//! A full ring forgets its oldest entry and counts it; nothing waits for a reader. Off by default and then free.

use core::fmt;
use std::collections::VecDeque;

use crate::registers::{self, isr};
use crate::time::Time;

/// Who touched something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The LANai.
    Processor,
    /// The host, over PCI.
    Host,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A special register was written.
    Register {
        /// By whom.
        who: Who,
        /// Where, from the base of the registers.
        offset: u32,
        /// What.
        value: u32,
    },
    /// Bits of the ISR changed.
    Isr {
        /// These rose.
        set: u32,
        /// These fell.
        cleared: u32,
    },
    /// The host DMA began.
    DmaStart {
        /// From the host to the board.
        from_host: bool,
        /// PCI address.
        ear: u32,
        /// SRAM address.
        lar: u32,
        /// Bytes.
        length: u32,
    },
    /// The host DMA is done.
    DmaDone,
    /// The send DMA began.
    SendStart {
        /// First word.
        smp: u32,
        /// Last word.
        limit: u32,
        /// The packet ends with it.
        tail: bool,
    },
    /// The send DMA is done.
    SendDone,
    /// The receive DMA was armed.
    ReceiveArmed {
        /// First word.
        rmp: u32,
        /// Last word.
        rml: u32,
    },
    /// The first byte of a packet is here.
    PacketHead,
    /// The last byte of a packet is here.
    PacketTail {
        /// Its CRC-8 is right.
        good: bool,
    },
    /// The interrupt line to the host changed.
    Interrupt {
        /// It is up.
        asserted: bool,
    },
    /// The host turned reset on or off.
    Reset {
        /// It is on.
        on: bool,
    },
    /// Something touched an address where nothing is.
    Outside {
        /// Where.
        address: u32,
    },
    /// The processor met a word that it does not know, and stopped.
    Illegal {
        /// Where the word is.
        address: u32,
        /// The word.
        word: u32,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Register { who, offset, value } => {
                let who = if who == Who::Host { "host" } else { "lanai" };
                match registers::name(offset) {
                    Some(name) => write!(f, "{who} {name} = {value:#010x}"),
                    None => write!(f, "{who} reg:{offset:#04x} = {value:#010x}"),
                }
            }
            Self::Isr { set, cleared } => {
                f.write_str("isr")?;
                for (sign, bits) in [('+', set), ('-', cleared)] {
                    if bits != 0 {
                        write!(f, " {sign}{}", isr::describe(bits))?;
                    }
                }
                Ok(())
            }
            Self::DmaStart { from_host, ear, lar, length } => {
                let way = if from_host { "E2L" } else { "L2E" };
                write!(f, "dma {way} ear={ear:#010x} lar={lar:#010x} length={length}")
            }
            Self::DmaDone => f.write_str("dma done"),
            Self::SendStart { smp, limit, tail } => {
                let tail = if tail { " tail" } else { "" };
                write!(f, "send smp={smp:#010x} limit={limit:#010x}{tail}")
            }
            Self::SendDone => f.write_str("send done"),
            Self::ReceiveArmed { rmp, rml } => {
                write!(f, "receive armed rmp={rmp:#010x} rml={rml:#010x}")
            }
            Self::PacketHead => f.write_str("packet head"),
            Self::PacketTail { good } => {
                write!(f, "packet tail crc={}", if good { "good" } else { "bad" })
            }
            Self::Interrupt { asserted } => {
                write!(f, "interrupt {}", if asserted { "up" } else { "down" })
            }
            Self::Reset { on } => write!(f, "reset {}", if on { "on" } else { "off" }),
            Self::Outside { address } => write!(f, "outside {address:#010x}"),
            Self::Illegal { address, word } => write!(f, "illegal {word:#010x} at {address:#010x}"),
        }
    }
}

/// An event with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.event)
    }
}

/// Entries that a ring has room for from the start; a larger one grows as it fills.
const READY: usize = 1 << 16;

/// Where events go.
#[derive(Default)]
pub struct Trace {
    to: To,
}

#[derive(Default)]
enum To {
    #[default]
    Nobody,
    Ring {
        entries: VecDeque<Entry>,
        size: usize,
        lost: u64,
    },
    Callback(Box<dyn FnMut(Entry)>),
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.to {
            To::Nobody => "Trace(off)",
            To::Ring { .. } => "Trace(ring)",
            To::Callback(_) => "Trace(callback)",
        })
    }
}

impl Trace {
    /// The last `size` events, at least one.
    #[must_use]
    pub fn ring(size: usize) -> Self {
        let size = size.max(1);
        Self { to: To::Ring { entries: VecDeque::with_capacity(size.min(READY)), size, lost: 0 } }
    }

    /// Every event as it happens.
    #[must_use]
    pub fn callback(callback: impl FnMut(Entry) + 'static) -> Self {
        Self { to: To::Callback(Box::new(callback)) }
    }

    /// The ring's entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let entries =
            if let To::Ring { entries, .. } = &self.to { Some(entries.iter()) } else { None };
        entries.into_iter().flatten()
    }

    /// How many entries the ring forgot.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if let To::Ring { lost, .. } = self.to { lost } else { 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        match &mut self.to {
            To::Nobody => {}
            To::Ring { entries, size, lost } => {
                if entries.len() == *size {
                    entries.pop_front();
                    *lost += 1;
                }
                entries.push_back(Entry { at, event });
            }
            To::Callback(callback) => callback(Entry { at, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Trace, Who};
    use crate::time::Time;

    #[test]
    fn a_full_ring_forgets_its_oldest_entry_and_counts_it() {
        let mut trace = Trace::ring(2);
        for n in 0..5 {
            trace.push(Time::from_us(n), Event::DmaDone);
        }
        assert_eq!(trace.lost(), 3);
        assert_eq!(trace.entries().map(|e| e.at.ps()).collect::<Vec<_>>(), [3_000_000, 4_000_000]);
    }

    #[test]
    fn entries_read_well() {
        let mut trace = Trace::ring(4);
        trace.push(
            Time::from_us(1),
            Event::Register { who: Who::Processor, offset: 0x44, value: 8 },
        );
        trace.push(Time::from_us(2), Event::Isr { set: 0x10, cleared: 0 });
        let lines: Vec<String> = trace.entries().map(ToString::to_string).collect();
        assert_eq!(lines, ["1.000 us lanai DMA_CTR = 0x00000008", "2.000 us isr +DMA_INT"]);
    }
}
