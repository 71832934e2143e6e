//! Pace: a picture's packets leave in small batches, evenly spread over its time.
//!
//! A batch is what a sleep of a fifth of a millisecond is worth; finer sleeps cost more than they smooth.

use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two batches, if a batch is less than [`MOST`] packets.
const STEP: Duration = Duration::from_micros(200);
/// Packets of a batch at most.
const MOST: usize = 64;
/// Packets spread over this part of a picture's time, so that the last ones are there before the next.
const SPREAD: f64 = 0.95;

/// When packets of a stream leave.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    period: Duration,
    frame_start: Instant,
    packets: usize,
    sent: usize,
    batch: usize,
    late: u64,
}

impl Pace {
    /// A stream of `rate` pictures a second that starts now.
    pub(super) fn new(start: Instant, rate: u32) -> Self {
        // Sleeps that end on time, not up to 50 us later; without it they are only less even.
        let _ = nix::sys::prctl::set_timerslack(1);
        let period = Duration::from_secs(1) / rate.max(1);
        Self { start, period, frame_start: start, packets: 0, sent: 0, batch: 1, late: 0 }
    }

    /// The time has come for picture `number`, which has so many packets.
    pub(super) fn begin(&mut self, number: u64, packets: usize) {
        self.frame_start = self.due(number);
        let now = Instant::now();
        if now > self.frame_start + self.period {
            self.late += 1;
            // What is late is not made up for by a burst: the stream goes on from here.
            self.start += now - self.frame_start;
            self.frame_start = now;
        }
        let steps = self.period.as_secs_f64() * SPREAD / STEP.as_secs_f64();
        self.batch = batch(packets, steps);
        (self.packets, self.sent) = (packets, 0);
    }

    /// Waits for the next batch's time, and says which packets it is; `None` after the last.
    pub(super) fn wait<'a>(&mut self, packets: &'a [usize]) -> Option<&'a [usize]> {
        let range: Range<usize> = self.sent..(self.sent + self.batch).min(self.packets);
        let part = self.sent as f64 / self.packets.max(1) as f64 * SPREAD;
        sleep_until(self.frame_start + self.period.mul_f64(part));
        self.sent = range.end;
        packets.get(range).filter(|batch| !batch.is_empty())
    }

    /// Waits until the time of the last of `count` pictures is over.
    pub(super) fn finish(&self, count: u64) {
        sleep_until(self.due(count));
    }

    /// Pictures that began later than the next one should have.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    fn due(&self, number: u64) -> Instant {
        let whole = self.period.as_secs_f64() * number as f64;
        self.start + Duration::from_secs_f64(whole.clamp(0.0, 1e9))
    }
}

fn batch(packets: usize, steps: f64) -> usize {
    let steps = steps.max(1.0);
    (1..MOST).find(|batch| *batch as f64 * steps >= packets as f64).unwrap_or(MOST)
}

fn sleep_until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_small_and_cover_every_packet_once_within_the_frames_time() {
        assert_eq!(batch(448, 158.0), 3);
        assert_eq!(batch(1_000_000, 79.0), MOST);
        let start = Instant::now();
        let mut pace = Pace::new(start, 100);
        let order: Vec<usize> = (0..700).collect();
        let mut seen = Vec::new();
        for frame in 0..3 {
            pace.begin(frame, order.len());
            while let Some(batch) = pace.wait(&order) {
                seen.extend_from_slice(batch);
            }
        }
        pace.finish(3);
        assert!(seen.into_iter().eq((0..3).flat_map(|_| 0..700)));
        assert!(start.elapsed() >= Duration::from_millis(30), "not faster than the rate");
    }
}
