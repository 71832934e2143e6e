//! The PCI bus as the board sees it: memory behind it, interrupts on it, and other masters beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::time::Time;

/// The host, from the board's side.
///
/// Bytes keep their order: the byte at the lower SRAM address is the byte at the lower host address, whatever the host
/// makes of four of them.
pub trait HostBus {
    /// The board reads `bytes` at `address`; false if nobody answered there (a master abort: the bytes are all ones).
    fn read(&mut self, at: Time, address: u32, bytes: &mut [u8]) -> bool;

    /// The board writes `bytes` at `address`; false if nobody answered there.
    fn write(&mut self, at: Time, address: u32, bytes: &[u8]) -> bool;

    /// The board's interrupt line changed.
    fn interrupt(&mut self, at: Time, asserted: bool);

    /// The board asks for the bus for `length`, from `at` on; answers when it may begin.
    ///
    /// The default is a bus that nobody else uses. [`PciBus`] arbitrates between several boards.
    fn grant(&mut self, at: Time, length: Time) -> Time {
        let _ = length;
        at
    }
}

impl<T: HostBus + ?Sized> HostBus for Rc<RefCell<T>> {
    fn read(&mut self, at: Time, address: u32, bytes: &mut [u8]) -> bool {
        self.borrow_mut().read(at, address, bytes)
    }

    fn write(&mut self, at: Time, address: u32, bytes: &[u8]) -> bool {
        self.borrow_mut().write(at, address, bytes)
    }

    fn interrupt(&mut self, at: Time, asserted: bool) {
        self.borrow_mut().interrupt(at, asserted);
    }

    fn grant(&mut self, at: Time, length: Time) -> Time {
        self.borrow_mut().grant(at, length)
    }
}

/// Who has the bus until when. One for all boards of a host; first come, first served.
#[derive(Clone, Copy, Debug, Default)]
pub struct PciBus {
    free_at: Time,
    waited: Time,
}

impl PciBus {
    /// Gives the bus for `length` to whoever asks at `at`; answers when that begins.
    pub fn grant(&mut self, at: Time, length: Time) -> Time {
        let start = self.free_at.max(at);
        self.waited += start - at;
        self.free_at = start + length;
        start
    }

    /// How long masters waited for each other, in all.
    #[must_use]
    pub fn waited(&self) -> Time {
        self.waited
    }
}

const PAGE: u32 = 4096;

/// How much memory [`HostMemory`] holds by default.
const DEFAULT_LIMIT: usize = 256 << 20;

/// A host with memory everywhere, made when it is first written, up to a limit.
#[derive(Clone, Debug)]
pub struct HostMemory {
    pages: BTreeMap<u32, Box<[u8; PAGE as usize]>>,
    limit: usize,
    interrupt: bool,
    interrupts: u64,
    bus: PciBus,
}

impl Default for HostMemory {
    fn default() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }
}

impl HostMemory {
    /// A host that answers until `limit` bytes (in whole pages) are in use.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            pages: BTreeMap::new(),
            limit: limit / PAGE as usize,
            interrupt: false,
            interrupts: 0,
            bus: PciBus::default(),
        }
    }

    /// Whether the board's interrupt line is up.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.interrupt
    }

    /// How often it went up.
    #[must_use]
    pub fn interrupts(&self) -> u64 {
        self.interrupts
    }

    /// `bytes` at `address`, wrapping at 4 GB; memory never written is zero.
    pub fn peek(&self, address: u32, bytes: &mut [u8]) {
        for (address, byte) in addresses(address).zip(bytes) {
            let page = self.pages.get(&(address / PAGE));
            *byte = page.and_then(|page| page.get((address % PAGE) as usize)).copied().unwrap_or(0);
        }
    }

    /// Writes `bytes` at `address`; false if that would take more memory than the limit (what fits is written).
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> bool {
        for (address, &byte) in addresses(address).zip(bytes) {
            let number = address / PAGE;
            if !self.pages.contains_key(&number) && self.pages.len() >= self.limit {
                return false;
            }
            let page = self.pages.entry(number).or_insert_with(|| Box::new([0; PAGE as usize]));
            if let Some(place) = page.get_mut((address % PAGE) as usize) {
                *place = byte;
            }
        }
        true
    }
}

fn addresses(from: u32) -> impl Iterator<Item = u32> {
    (0..=u32::MAX).map(move |offset| from.wrapping_add(offset))
}

impl HostBus for HostMemory {
    fn read(&mut self, _at: Time, address: u32, bytes: &mut [u8]) -> bool {
        self.peek(address, bytes);
        true
    }

    fn write(&mut self, _at: Time, address: u32, bytes: &[u8]) -> bool {
        self.poke(address, bytes)
    }

    fn interrupt(&mut self, _at: Time, asserted: bool) {
        self.interrupts += u64::from(asserted && !self.interrupt);
        self.interrupt = asserted;
    }

    fn grant(&mut self, at: Time, length: Time) -> Time {
        self.bus.grant(at, length)
    }
}

#[cfg(test)]
mod tests {
    use super::{HostBus, HostMemory, PciBus};
    use crate::time::Time;

    #[test]
    fn memory_is_everywhere_until_the_limit() {
        let mut host = HostMemory::with_limit(8192);
        assert!(host.poke(0xFFFF_FFFE, &[1, 2, 3, 4]), "wraps");
        let mut bytes = [0xEE; 6];
        host.peek(0xFFFF_FFFD, &mut bytes);
        assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);
        assert!(!host.poke(0x5000_0000, &[1]), "a third page");
        assert!(host.read(Time::ZERO, 0x5000_0000, &mut bytes));
        assert_eq!(bytes, [0; 6]);
    }

    #[test]
    fn two_masters_take_turns() {
        let mut bus = PciBus::default();
        assert_eq!(bus.grant(Time::from_us(1), Time::from_us(2)), Time::from_us(1));
        assert_eq!(bus.grant(Time::from_us(2), Time::from_us(2)), Time::from_us(3));
        assert_eq!(bus.waited(), Time::from_us(1));
        assert_eq!(bus.grant(Time::from_us(9), Time::from_us(1)), Time::from_us(9));
    }

    #[test]
    fn an_interrupt_is_counted_once_while_the_line_stays_up() {
        let mut host = HostMemory::default();
        for level in [true, true, false, true] {
            host.interrupt(Time::ZERO, level);
        }
        assert_eq!((host.interrupts(), host.interrupted()), (2, true));
    }
}
