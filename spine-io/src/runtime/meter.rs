//! The meter: where an adapter's time goes, looked up on a clock once before and once after an entry.
//!
//! A look ends one interval and begins the next, and each interval is somebody's: an extension's, or one of
//! the runtime's own rows. So the rows and the extensions' bills add up to the time in which the adapter was busy, by
//! construction, and no message costs a look. Entries that follow each other share one.
//!
//! An adapter that is turned by hand has no clock unless it is given one, and one in a model's time never has: time
//! there is what the plan says, and shares are of fuel.

use spine_abi::Nanos;
use spine_abi::limits::ENTRY_NANOS;
use spine_nic::clock::Clock;

use crate::dispatcher::price::{Price, Took};
use crate::extension::Budget;
use crate::extension::instance::Fuel;
use crate::stats::Times;

/// What a message costs its extension at the least, and a little more: who has little fuel is given few messages, since
/// each is copied into its slot whether it is come to or not.
const LEAST_FUEL: u64 = 32;

/// The clocks of an adapter that measures.
struct Clocks {
    clock: Box<dyn Clock>,
    processor: Box<dyn Clock>,
}

/// Whose an interval was, if it was the runtime's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row {
    Receive,
    Send,
    Control,
}

/// An entry that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    processor: Option<Nanos>,
}

/// One adapter's meter.
#[derive(Default)]
pub(super) struct Meter {
    clocks: Option<Clocks>,
    mark: Nanos,
    /// Whether nothing has happened since the mark.
    fresh: bool,
    /// Whether an entry was made in this turn: what is between is sending then.
    entered: bool,
    start: Nanos,
    times: Times,
    slowness: u64,
}

/// Steps of plain arithmetic, one after the other, that are timed once.
const STEPS: u64 = 10_000;
/// What they take at the most where nothing is emulated, in nanoseconds.
const USUALLY: u64 = 60_000;

/// How many times as slow as that a machine is: the best of a few tries.
fn slowness(clock: &dyn Clock) -> u64 {
    let tries = (0..5).map(|_| {
        let start = clock.now();
        let steps = (0..STEPS).fold(88_172_645_463_325_252_u64, |x, step| {
            let x = x ^ (x << 13);
            std::hint::black_box(x ^ (x >> 7) ^ step)
        });
        std::hint::black_box(steps);
        clock.now().since(start)
    });
    (tries.min().unwrap_or(0) / USUALLY).max(1)
}

impl Meter {
    /// Measures by these from now on.
    pub(super) fn set(&mut self, clock: Box<dyn Clock>, processor: Box<dyn Clock>) {
        self.slowness = slowness(&*clock);
        self.clocks = Some(Clocks { clock, processor });
    }

    /// How many times as slow as usual this machine is: an emulated one may be fifty times so, and what it does by nature
    /// is nobody's offence.
    pub(super) fn slowness(&self) -> u64 {
        self.slowness.max(1)
    }

    /// Whether there is a clock.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.clocks.is_some()
    }

    /// The time that an entry is meant to take, and what a user has in a round.
    #[inline]
    pub(super) fn entry_nanos(&self) -> u64 {
        ENTRY_NANOS * self.slowness()
    }

    /// The time of the last look.
    pub(super) fn seen(&self) -> Nanos {
        self.mark
    }

    /// Where the time went so far.
    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// A turn begins, at a time that somebody has looked up.
    #[inline]
    pub(super) fn begin_turn(&mut self, now: Nanos) {
        self.mark = now.max(self.mark);
        self.start = self.mark;
        self.entered = false;
        self.fresh = false;
    }

    /// A turn ends, in which something moved.
    #[inline]
    pub(super) fn end_turn(&mut self) {
        if self.is_on() {
            self.close(if self.entered { Row::Send } else { Row::Receive });
            self.times.busy += self.mark.since(self.start);
        }
    }

    /// Something else than an entry begins.
    #[inline]
    pub(super) fn stir(&mut self) {
        self.fresh = false;
    }

    /// Ends an interval of the runtime's.
    pub(super) fn close(&mut self, row: Row) {
        let Some(nanos) = self.look() else { return };
        let row = match row {
            Row::Receive => &mut self.times.receive,
            Row::Send => &mut self.times.send,
            Row::Control => &mut self.times.control,
        };
        *row += nanos;
    }

    /// Ends what came before something of another row.
    pub(super) fn close_before(&mut self) {
        self.close(if self.entered { Row::Send } else { Row::Receive });
    }

    /// Fuel for an entry that may spend `allowed`, and how many messages are worth giving it.
    #[inline]
    pub(super) fn fuel(&self, price: &Price, budget: Budget, allowed: u64) -> (Fuel, usize) {
        if !self.is_on() {
            return (Fuel { message: budget.message, entry: allowed }, usize::MAX);
        }
        let entry = price.entry_fuel(allowed, budget.entry);
        let most = usize::try_from(1 + entry / LEAST_FUEL).unwrap_or(usize::MAX);
        (Fuel { message: price.message_fuel(budget.message), entry }, most)
    }

    /// An entry begins; with `closely` the processor's time is looked at, too.
    #[inline]
    pub(super) fn begin_entry(&mut self, closely: bool) -> Begun {
        if self.clocks.is_none() {
            return Begun { processor: None };
        }
        if !self.fresh {
            self.close_before();
        }
        self.entered = true;
        let processor = if closely { self.clocks.as_ref() } else { None };
        Begun { processor: processor.map(|clocks| clocks.processor.now()) }
    }

    /// An entry has ended; `None` without a clock.
    #[inline]
    pub(super) fn end_entry(&mut self, begun: Begun) -> Option<Took> {
        let clocks = self.clocks.as_ref()?;
        let processor = begun.processor.map(|start| clocks.processor.now().since(start));
        let clock = self.look()?;
        self.fresh = true;
        // Two clocks that are looked at one after the other never agree to the nanosecond.
        Some(Took { clock, processor: processor.map(|nanos| nanos.min(clock)) })
    }

    /// A flush of the wire, outside of turns.
    pub(super) fn flush<T>(&mut self, flush: impl FnOnce() -> T) -> T {
        self.look();
        let result = flush();
        if let Some(nanos) = self.look() {
            self.times.send += nanos;
            self.times.busy += nanos;
        }
        result
    }

    /// An extension with this on its bill is gone.
    pub(super) fn forget(&mut self, nanos: u64) {
        self.times.gone += nanos;
    }

    /// The time since the last look.
    #[inline]
    fn look(&mut self) -> Option<u64> {
        let now = self.clocks.as_ref()?.clock.now();
        let nanos = now.since(self.mark);
        self.mark = now.max(self.mark);
        Some(nanos)
    }
}
