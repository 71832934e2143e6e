//! Faults on request: packets dropped, duplicated and put out of order, the same ones for the same seed.
//!
//! A receiver is tested with these where the kernel offers no faulty network.

/// Out of order means: up to so many places later.
const FURTHEST: usize = 8;

/// How often each fault happens: 0 never, 1 to every packet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Probabilities {
    /// Not sent.
    pub drop: f64,
    /// Sent twice.
    pub duplicate: f64,
    /// Sent up to eight packets later.
    pub reorder: f64,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Done {
    /// Packets not sent.
    pub dropped: u64,
    /// Packets sent twice.
    pub duplicated: u64,
    /// Packets sent later than their turn.
    pub reordered: u64,
}

/// A repeatable source of faults.
#[derive(Debug)]
pub struct Faults {
    probabilities: Probabilities,
    random: fastrand::Rng,
    done: Done,
}

impl Faults {
    /// The faults of a seed.
    pub fn new(probabilities: Probabilities, seed: u64) -> Self {
        Self { probabilities, random: fastrand::Rng::with_seed(seed), done: Done::default() }
    }

    /// In which order a picture's packets go out, by index; all of them once, in order, without faults.
    pub fn order(&mut self, packets: usize, into: &mut Vec<usize>) {
        into.clear();
        if self.probabilities == Probabilities::default() {
            into.extend(0..packets);
            return;
        }
        for index in 0..packets {
            if self.happens(self.probabilities.drop) {
                self.done.dropped += 1;
                continue;
            }
            into.push(index);
            if self.happens(self.probabilities.duplicate) {
                self.done.duplicated += 1;
                into.push(index);
            }
        }
        // From the back, so that a packet moved is not met again.
        for place in (0..into.len()).rev() {
            let left = into.len() - 1 - place;
            if left > 0 && self.happens(self.probabilities.reorder) {
                let later = self.random.usize(1..=FURTHEST.min(left));
                into[place..=place + later].rotate_left(1);
                self.done.reordered += 1;
            }
        }
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        self.done
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(probabilities: Probabilities, seed: u64) -> (Vec<usize>, Done) {
        let mut faults = Faults::new(probabilities, seed);
        let mut order = Vec::new();
        faults.order(10_000, &mut order);
        (order, faults.done())
    }

    #[test]
    fn without_faults_every_packet_goes_out_once_in_order() {
        let (order, done) = order(Probabilities::default(), 1);
        assert!(order.into_iter().eq(0..10_000));
        assert_eq!(done, Done::default());
    }

    #[test]
    fn a_seed_repeats_its_faults_and_what_was_done_is_what_is_counted() {
        let probabilities = Probabilities { drop: 0.01, duplicate: 0.02, reorder: 0.03 };
        let (first, done) = order(probabilities, 42);
        assert_eq!(order(probabilities, 42), (first.clone(), done));
        assert_ne!(order(probabilities, 43).0, first);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        let twice = sorted.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(twice as u64, done.duplicated);
        assert_eq!((10_000 + twice - first.len()) as u64, done.dropped);
        assert!((50..200).contains(&done.dropped), "{done:?}");
        assert!((200..400).contains(&done.reordered), "{done:?}");
        assert!(first.is_sorted_by(|one, next| one <= &(next + 2 * FURTHEST + 4)), "not further");
    }
}
