//! Who gets the SRAM: an option, off by default.
//!
//! The memory answers two accesses a processor cycle, and host DMA, receive and send come before the processor. (REC) That
//! contention stretches cycles is published; the rest is recalled, so the default model leaves it out: at the router's
//! 11,000 small packets a second the engines use less than 6 % of the cycles.
//!
//! Engines move bursts, not single words, so their accesses are a debt that is worked off: each processor access lets the
//! engines have the rest of its cycle, and waits one more cycle while there is still debt. When the engines together want
//! more than the memory has, the send slows down, the lowest of the three; host DMA and receive are taken to get theirs.

use crate::config::Config;
use crate::time::Rate;

/// Debt never grows beyond this many accesses, so that the processor is starved but not stopped. (DER)
const MOST_DEBT: u32 = 256;

/// The lowest share of the memory that the send keeps. (DER)
const SEND_FLOOR: u64 = 16;

/// Who wants the memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arbiter {
    on: bool,
    per_cycle: u32,
    debt: u32,
    waits: u32,
    /// The host DMA runs.
    pub(crate) host_dma: bool,
    /// A packet is coming in.
    pub(crate) receive: bool,
}

impl Arbiter {
    /// On or off as `config` says.
    pub(crate) fn new(config: &Config) -> Self {
        let per_cycle = config.sram_accesses_per_cycle.max(1);
        Self { on: config.arbitration, per_cycle, ..Self::default() }
    }

    /// An engine moved `bytes`.
    pub(crate) fn engine(&mut self, bytes: usize) {
        if self.on {
            let words = u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX);
            self.debt = self.debt.saturating_add(words).min(MOST_DEBT);
        }
    }

    /// The processor makes one access.
    #[inline]
    pub(crate) fn processor(&mut self) {
        if self.debt > 0 {
            self.debt = self.debt.saturating_sub(self.per_cycle - 1);
            if self.debt > 0 {
                self.waits += 1;
                self.debt = self.debt.saturating_sub(self.per_cycle);
            }
        }
    }

    /// Cycles that the processor waited since the last call.
    #[inline]
    pub(crate) fn take_waits(&mut self) -> u32 {
        std::mem::take(&mut self.waits)
    }

    /// Nobody computes, so the engines have had the memory to themselves.
    pub(crate) fn idle(&mut self) {
        self.debt = 0;
    }

    /// How fast a send may run now.
    pub(crate) fn send_rate(&self, config: &Config) -> Rate {
        if !self.on {
            return config.link_rate;
        }
        let whole = config.clock.get().saturating_mul(u64::from(self.per_cycle)).saturating_mul(4);
        let host = if self.host_dma { config.dma_rate.get() } else { 0 };
        let receive = if self.receive { config.link_rate.get() } else { 0 };
        let rest = whole.saturating_sub(host).saturating_sub(receive).max(whole / SEND_FLOOR);
        Rate::per_second(rest.min(config.link_rate.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::Arbiter;
    use crate::config::Config;

    fn arbiter(on: bool) -> (Config, Arbiter) {
        let config = Config { arbitration: on, ..Config::default() };
        let arbiter = Arbiter::new(&config);
        (config, arbiter)
    }

    #[test]
    fn the_processor_waits_for_the_engines_only_when_switched_on() {
        for (on, expected) in [(false, 0), (true, 3)] {
            let (_, mut arbiter) = arbiter(on);
            arbiter.engine(32);
            let mut waits = 0;
            for _ in 0..10 {
                arbiter.processor();
                waits += arbiter.take_waits();
            }
            // 8 words: each access and its wait work off 1 + 2 of them, the last has only 2 left.
            assert_eq!(waits, expected, "on: {on}");
        }
    }

    #[test]
    fn the_send_slows_down_when_all_three_run() {
        let (config, mut arbiter) = arbiter(true);
        assert_eq!(arbiter.send_rate(&config), config.link_rate);
        arbiter.host_dma = true;
        assert_eq!(arbiter.send_rate(&config).get(), 264_000_000 - 110_000_000);
        arbiter.receive = true;
        assert_eq!(arbiter.send_rate(&config).get(), 264_000_000 / 16);
    }
}
