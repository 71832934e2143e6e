//! What arrives on a model's wire: where the packets come from and when.

use std::sync::Arc;

use spine_abi::Nanos;
use spine_nic::buffer::{Frame, FrameMemory, HEADROOM};

/// A packet on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When all of it is there.
    pub at: Nanos,
    /// Which packet, as its [`Feed`] counts.
    pub packet: u64,
}

/// The sending end of a wire.
pub trait Feed: Send {
    /// When the next packet will be there, as far as is known.
    fn due(&self) -> Nanos;

    /// The next packet that is there by `now`.
    fn next(&mut self, now: Nanos) -> Option<Arrival>;

    /// Writes a packet into a frame.
    fn fill(&mut self, packet: u64, memory: &FrameMemory, frame: &mut Frame);
}

/// Packets over and over, each after a gap drawn evenly from `period * (1 +- jitter)`; one seed gives one
/// sequence.
#[derive(Debug, Clone)]
pub struct Uniform {
    packets: Arc<[Box<[u8]>]>,
    period_ns: f64,
    jitter: f64,
    left: u64,
    next_at: f64,
    /// The same, as it is asked for after every event.
    due: Nanos,
    count: u64,
    random: SplitMix,
}

impl Uniform {
    /// `count` packets, of these in turn.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(
        packets: Arc<[Box<[u8]>]>,
        count: u64,
        period_ns: f64,
        jitter: f64,
        seed: u64,
    ) -> Self {
        assert!(!packets.is_empty(), "a feed needs packets");
        let random = SplitMix(seed);
        let (next_at, due) = (period_ns, Nanos(0));
        let mut feed =
            Self { packets, period_ns, jitter, left: count, next_at, due, count: 0, random };
        feed.look_ahead();
        feed
    }

    fn look_ahead(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "virtual time is far under 2^53 ns")]
        let at = self.next_at as u64;
        self.due = Nanos(if self.left == 0 { u64::MAX } else { at });
    }
}

impl Feed for Uniform {
    #[inline]
    fn due(&self) -> Nanos {
        self.due
    }

    #[inline]
    fn next(&mut self, now: Nanos) -> Option<Arrival> {
        let at = self.due();
        if at > now || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let spread = 2.0 * self.random.unit() - 1.0;
        self.next_at += self.period_ns * (1.0 + self.jitter * spread);
        self.count += 1;
        self.look_ahead();
        Some(Arrival { at, packet: self.count - 1 })
    }

    fn fill(&mut self, packet: u64, memory: &FrameMemory, frame: &mut Frame) {
        let place = packet % self.packets.len() as u64;
        let bytes = &self.packets[usize::try_from(place).unwrap_or(0)];
        memory.set_packet(frame, HEADROOM, u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        memory.packet_mut(frame).copy_from_slice(bytes);
    }
}

/// Steele, Lea and Flood's SplitMix64: enough for gaps, and the same everywhere for ever.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    /// A number from 0 up to but not including 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(jitter: f64, seed: u64) -> Vec<u64> {
        let packets: Arc<[Box<[u8]>]> = Arc::new([Box::from([0; 60])]);
        let mut feed = Uniform::new(packets, 1000, 90_000.0, jitter, seed);
        let times: Vec<u64> =
            std::iter::from_fn(|| feed.next(Nanos(u64::MAX))).map(|arrival| arrival.at.0).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn gaps_lie_evenly_about_the_period_and_one_seed_gives_them_again() {
        let some = gaps(0.1, 7);
        assert!(some.iter().all(|gap| (80_999..=99_001).contains(gap)));
        let mean = some.iter().sum::<u64>() / 999;
        assert!((89_500..90_500).contains(&mean), "{mean}");
        assert_eq!(some, gaps(0.1, 7));
        assert_ne!(some, gaps(0.1, 8));
        assert!(gaps(0.0, 1).iter().all(|gap| *gap == 90_000));
    }

    #[test]
    fn what_has_not_arrived_is_not_given_out() {
        let packets: Arc<[Box<[u8]>]> = Arc::new([Box::from([0; 60])]);
        let mut feed = Uniform::new(packets, 1, 500.0, 0.0, 1);
        assert_eq!(feed.next(Nanos(499)), None);
        assert_eq!(feed.next(Nanos(500)), Some(Arrival { at: Nanos(500), packet: 0 }));
        assert_eq!(feed.next(Nanos(5000)), None, "there was one");
    }
}
