//! Price: what one unit of an extension's fuel takes here, learned from its entries.
//!
//! Fuel stops code at the same instruction in every run, and says nothing about time: a unit takes 0.1 ns in a
//! plain loop and close to 100 ns where each load waits for memory that is cold. So an extension's fuel follows from its price:
//! an [entry](Price::entry_fuel) ends, between two messages, when it should have taken its time, and a
//! [message](Price::message_fuel) is stopped when it should have taken its own.
//!
//! The two err on different sides. An entry that ends too soon costs a little of its burst's economy, so its price
//! is the worst seen, and is forgotten slowly; who comes is not known yet, and has the fuel of one message in an entry
//! until he is. A message that is stopped too soon is lost, so its price rises by a factor at a time,
//! falls quickly, and goes by the processor's time only: what the machine took away is nobody's. That clock is
//! a system call, so it is looked at around the entries of an extension under suspicion, and of no other.
//!
//! What remains: one whose messages are cheap, and then one of them is not, takes the whole fuel of that message at
//! the worst price, once in a while. It pays for it with its share.
//!
//! Why no second, asynchronous bound that stops it there? Wasmtime's is an epoch that compiled code compares in each loop and
//! function, besides its fuel: everybody would pay for it in every message, and it would need a timer's
//! signal on the adapter's core; and it would find the same code within the same loads, since it looks where fuel is looked
//! at. The commit that made this module has the measurement.

use spine_abi::limits::ENTRY_NANOS;

/// Entries looked at by the processor's time after a dear one.
const SUSPECTED: u32 = 1024;
/// Fuel below which an entry says little of a price: what is there besides takes as long.
const FEW: u64 = 1_024;
/// A message has at least this part of its budget, whatever its price: handlers that are not slow themselves, but measured on a
/// machine that is, were stopped with less.
const LEAST: u64 = 4;
/// How much dearer than before an entry may make a message, as a factor.
const RISE: u64 = 4;
/// What is left out of an entry's time, in nanoseconds: slots are filled, messages handed over, a handler is stopped by a
/// signal, and none of that is what its fuel took.
const BESIDE: u64 = 20_000;

/// An entry's time, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// By the adapter's clock, in nanoseconds.
    pub clock: u64,
    /// Of the processor, if that was looked at.
    pub processor: Option<u64>,
}

impl Took {
    /// What is charged for it, where `entry` is what one may take: the processor's time where that is known. Where it is not, a machine that ran
    /// something else for four milliseconds would take eighty rounds from whoever it happened to; so no more
    /// than some entries' time is, and from then on it is known.
    pub fn charged(self, entry: u64) -> u64 {
        self.processor.unwrap_or_else(|| self.clock.min(4 * entry))
    }
}

/// One extension's price.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// For entries, and for messages: picoseconds a unit.
    entry: u64,
    message: u64,
    /// The price at which an entry has one message's budget.
    cautious: u64,
    suspected: u32,
    /// How many times as slow as usual the machine is: all that is meant to take a time takes so many times as long.
    slowness: u64,
}

impl Price {
    /// Of an extension that is not known, and may use so much fuel for a message.
    pub fn unknown(budget: u64, slowness: u64) -> Self {
        let slowness = slowness.max(1);
        let cautious = ENTRY_NANOS * slowness * 1000 / budget.max(1);
        let cautious = cautious.max(1);
        Self { entry: cautious, message: 1, cautious, suspected: 0, slowness }
    }

    /// The time that a message may take which has so much fuel: an entry's, and more for whoever was granted more
    /// than the usual, at ten times what plain instructions take.
    pub fn message_nanos(&self, fuel: u64) -> u64 {
        fuel.max(ENTRY_NANOS).saturating_mul(self.slowness)
    }

    /// Whether the processor's time of its next entry should be looked at.
    #[inline]
    pub fn is_suspected(&self) -> bool {
        self.suspected > 0
    }

    /// Fuel after which an entry has taken so many nanoseconds, and `most` at the most.
    #[inline]
    pub fn entry_fuel(&self, nanos: u64, most: u64) -> u64 {
        (nanos.saturating_mul(1000) / self.entry).clamp(1, most.max(1))
    }

    /// Fuel for each message of an extension that may use `most` by its budget.
    #[inline]
    pub fn message_fuel(&self, most: u64) -> u64 {
        let nanos = self.message_nanos(most);
        (nanos.saturating_mul(1000) / self.message).clamp(most.div_ceil(LEAST), most)
    }

    /// Picoseconds that a unit takes, as far as is known.
    pub fn picos(&self) -> u64 {
        self.message
    }

    /// Learns from an entry that used so much fuel, of an extension that may use `budget` for a message.
    pub fn learn(&mut self, fuel: u64, took: Took, budget: u64) {
        let nanos = took.processor.unwrap_or(took.clock).saturating_sub(BESIDE * self.slowness);
        // Never nothing: most entries are over before that.
        let seen = (nanos.saturating_mul(1000) / fuel.max(FEW)).max(1);
        let steps = if self.is_suspected() { 64 } else { 4 };
        let known = if took.processor.is_some() { seen } else { seen.min(self.cautious) };
        self.entry = if known > self.entry { known } else { fall(self.entry, known, steps) };
        let dear = seen.saturating_mul(budget) > self.message_nanos(budget).saturating_mul(1000);
        match took.processor {
            // By this clock nobody is blamed: it is looked closer from now on.
            None if dear => {}
            _ if seen > self.message => {
                self.message = seen.min(self.message.saturating_mul(RISE).max(1000));
            }
            _ => self.message = fall(self.message, seen, 8),
        }
        self.suspected = if dear { SUSPECTED } else { self.suspected.saturating_sub(1) };
    }
}

/// One step of so many from a price down to another.
fn fall(from: u64, to: u64, steps: u64) -> u64 {
    from - (from.saturating_sub(to)).div_ceil(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default budget of a message, and of an entry.
    const BUDGET: u64 = 8_000;
    const ENTRY: u64 = 64_000;
    /// What the budget takes in a plain loop and in cold memory: 0.1 and 90 ns a unit.
    const PLAIN: u64 = 800;
    const COLD: u64 = 720_000;

    fn by_clock(nanos: u64) -> Took {
        Took { clock: nanos, processor: None }
    }

    fn surely(nanos: u64) -> Took {
        Took { clock: nanos, processor: Some(nanos) }
    }

    fn known() -> Price {
        let mut price = Price::unknown(BUDGET, 1);
        for _ in 0..2_000 {
            price.learn(BUDGET, by_clock(PLAIN), BUDGET);
        }
        price
    }

    #[test]
    fn who_is_not_known_has_one_messages_fuel_an_entry_and_soon_all() {
        let mut price = Price::unknown(BUDGET, 1);
        assert_eq!(price.entry_fuel(ENTRY_NANOS, ENTRY), BUDGET);
        assert_eq!(price.message_fuel(BUDGET), BUDGET);
        for _ in 0..10 {
            price.learn(BUDGET, by_clock(PLAIN), BUDGET);
        }
        assert_eq!(price.entry_fuel(ENTRY_NANOS, ENTRY), ENTRY);
        assert!(!price.is_suspected());
    }

    #[test]
    fn cold_memory_is_found_by_the_processors_time_and_its_messages_have_a_part_of_their_fuel() {
        let mut price = known();
        price.learn(BUDGET, by_clock(COLD), BUDGET);
        assert!(price.is_suspected(), "one dear entry");
        assert_eq!(price.message_fuel(BUDGET), BUDGET, "which nobody is blamed for");
        assert_eq!(price.entry_fuel(ENTRY_NANOS, ENTRY), BUDGET, "but the next has one message's");
        let mut fuel = BUDGET;
        for _ in 0..100 {
            price.learn(fuel, surely(fuel * COLD / BUDGET), BUDGET);
            fuel = price.message_fuel(BUDGET);
        }
        // An entry's time would be less than half of that; with less fuel, handlers are stopped that are only measured slow.
        assert_eq!(fuel, BUDGET / LEAST);
        assert!(fuel * COLD / BUDGET < 4 * ENTRY_NANOS);
        assert!(price.is_suspected());
    }

    #[test]
    fn what_the_machine_takes_stops_nobody() {
        let mut price = known();
        for _ in 0..100 {
            // Four milliseconds of something else, each time.
            let took = Took { clock: 4_000_000, processor: price.is_suspected().then_some(PLAIN) };
            price.learn(BUDGET, took, BUDGET);
            assert_eq!(price.message_fuel(BUDGET), BUDGET);
            assert!(took.charged(ENTRY_NANOS) <= 4 * ENTRY_NANOS);
        }
        assert!(price.is_suspected());
        (0..SUSPECTED).for_each(|_| price.learn(BUDGET, surely(PLAIN), BUDGET));
        assert!(!price.is_suspected(), "long enough ago");
    }

    #[test]
    fn a_cheap_interval_does_not_make_the_next_dear_entry_long() {
        let mut price = known();
        (0..8).for_each(|_| price.learn(BUDGET, surely(COLD), BUDGET));
        let cut = price.message_fuel(BUDGET);
        (0..40).for_each(|_| price.learn(BUDGET, surely(PLAIN), BUDGET));
        assert!(price.message_fuel(BUDGET) > cut, "a message has its fuel back");
        let entry = price.entry_fuel(ENTRY_NANOS, ENTRY);
        assert!(entry <= BUDGET, "{entry} units: an entry has one message");
    }

    #[test]
    fn a_machine_that_is_slow_by_nature_gives_everybody_more_time() {
        let mut price = Price::unknown(BUDGET, 50);
        (0..100).for_each(|_| price.learn(BUDGET, surely(50 * PLAIN), BUDGET));
        assert!(!price.is_suspected());
        assert_eq!(price.message_fuel(BUDGET), BUDGET);
        (0..100).for_each(|_| price.learn(BUDGET, surely(50 * COLD), BUDGET));
        assert!(price.message_fuel(BUDGET) < BUDGET);
    }

    #[test]
    fn handlers_that_trap_are_not_dear_for_it() {
        let mut price = known();
        (0..100).for_each(|_| price.learn(600, surely(25_000), BUDGET));
        assert_eq!(price.message_fuel(BUDGET), BUDGET);
        assert!(!price.is_suspected());
    }

    #[test]
    fn who_was_granted_more_has_more_time() {
        let mut price = Price::unknown(1_000_000, 1);
        (0..100).for_each(|_| price.learn(1_000_000, surely(1_000_000), 1_000_000));
        assert_eq!(price.message_fuel(1_000_000), 1_000_000, "a nanosecond a unit");
    }
}
