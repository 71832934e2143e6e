//! The trace: what an adapter did when, one record an event, in a fixed ring (SPINE 6, Figure 6).
//!
//! The adapter writes, whoever holds the other end reads, from any thread. A full ring drops records
//! and counts them; nothing ever waits for a reader. An adapter without a trace pays one branch an
//! event, and no clock is read.

use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::Nanos;
use spine_abi::event::TraceRecord;
use spine_nic::clock::Clock;

/// The adapter's end.
pub struct Trace {
    ring: Producer<TraceRecord>,
    kinds: u32,
    dropped: u64,
    /// Where events are measured, what measures them.
    clock: Option<Box<dyn Clock>>,
}

impl Trace {
    /// A trace of the kinds whose bits are set, of which `capacity` records may wait to be read. An
    /// adapter in a model's time has its own clock; for any other, `clock` tells how long events take.
    pub fn new(
        capacity: usize,
        kinds: u32,
        clock: Option<Box<dyn Clock>>,
    ) -> (Self, Consumer<TraceRecord>) {
        let (ring, reader) = RingBuffer::new(capacity);
        (Self { ring, kinds, dropped: 0, clock }, reader)
    }

    /// The time as events are measured; `model` where they are not.
    pub(crate) fn now(&self, model: Nanos) -> Nanos {
        self.clock.as_ref().map_or(model, |clock| clock.now())
    }

    /// Writes one record, if its kind is traced and there is room.
    pub(crate) fn record(&mut self, record: TraceRecord) {
        if self.kinds >> record.kind & 1 == 1 && self.ring.push(record).is_err() {
            self.dropped += 1;
        }
    }

    /// Records for which there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use spine_nic::clock::Manual;

    use super::*;

    #[test]
    fn a_full_ring_drops_and_counts_and_kinds_not_asked_for_are_not_there() {
        let (mut trace, mut reader) = Trace::new(2, 0b10, None);
        for kind in [0, 1, 1, 1] {
            trace.record(TraceRecord { kind, ..TraceRecord::default() });
        }
        assert_eq!(trace.dropped(), 1);
        assert_eq!(std::iter::from_fn(|| reader.pop().ok()).count(), 2);
    }

    #[test]
    fn time_is_the_models_or_that_of_the_clock_given() {
        let clock = Manual::default();
        clock.advance(7);
        let (measured, _) = Trace::new(1, 0, Some(Box::new(clock)));
        assert_eq!(measured.now(Nanos(3)), Nanos(7));
        let (modelled, _) = Trace::new(1, 0, None);
        assert_eq!(modelled.now(Nanos(3)), Nanos(3));
    }
}
