//! The watchdog: fuel, renewed by each request for the next message (SPINE 3.3.2).
//!
//! Why fuel and not a timer: it needs no signal and no second core, does not blame an extension for
//! time the machine took away, and repeats exactly. Wasmtime stops the handler; what remains here is
//! to remember: an extension that was stopped too often within a window is unloaded, and all it held
//! is taken back.

use spine_abi::Nanos;

use crate::message::Ending;

/// Strikes older than this are forgotten.
pub const WINDOW: u64 = 60_000_000_000;

/// One extension's record.
#[derive(Debug, Clone, Default)]
pub struct Strikes {
    count: u32,
    since: Nanos,
}

impl Strikes {
    /// Notes how an entry ended, and says whether the extension has had its last chance.
    pub fn note(&mut self, ending: Ending, limit: u32, now: Nanos) -> bool {
        if !ending.is_strike() {
            return false;
        }
        if self.count == 0 || now.since(self.since) > WINDOW {
            self.count = 0;
            self.since = now;
        }
        self.count += 1;
        self.count >= limit
    }

    /// Strikes in the current window.
    pub fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_count_within_the_window_only() {
        let mut strikes = Strikes::default();
        assert!(!strikes.note(Ending::OutOfFuel, 3, Nanos(0)));
        assert!(!strikes.note(Ending::Trapped, 3, Nanos(1)));
        assert!(!strikes.note(Ending::Finished, 3, Nanos(2)));
        assert!(!strikes.note(Ending::OutOfFuel, 3, Nanos(WINDOW + 1)), "a new window");
        assert!(!strikes.note(Ending::ReturnedEarly, 3, Nanos(WINDOW + 2)));
        assert!(strikes.note(Ending::OutOfFuel, 3, Nanos(WINDOW + 3)));
    }
}
