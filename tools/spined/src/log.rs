//! The log: what strangers can have written in it is bounded.
//!
//! Most lines say what a client did, so a client can have any number of them written, and the journal drops what
//! matters. Each place in the source that logs is a *kind* of line: of one kind so many are written a second
//! ([`LINES`]), the others are counted, and the count is written once the second is over ([`Log::catch_up`]).
//!
//! Left out: what is said with `eprintln` as the daemon starts and ends; nobody's doing but root's.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines of one kind in a second.
const LINES: u32 = 4;
const SECOND: Duration = Duration::from_secs(1);
/// Where the lines come from that say how many were not written: these are not counted.
const MORE: &str = "spined::more";

/// What was logged of late.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Kinds>>);

#[derive(Debug, Default)]
struct Kinds(HashMap<tracing::callsite::Identifier, Kind>);

/// Lines of a kind since a moment.
#[derive(Debug)]
struct Kind {
    since: Instant,
    written: u32,
    more: u64,
    level: Level,
    text: String,
}

/// Has everything from this level on written to standard error, and answers what bounds it.
pub(crate) fn start(level: &str) -> Log {
    let log = Log::default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| spine_client::voice::Log)
        .finish()
        .with(log.clone())
        .init();
    log
}

impl Log {
    /// Says of each kind whose second is over how many lines of it were not written.
    pub(crate) fn catch_up(&self, now: Instant) {
        // What is logged takes the lock itself.
        let over = self.kinds().over(now);
        for Kind { more, level, text, .. } in over {
            let more = thousands(more);
            match level {
                Level::ERROR => {
                    tracing::error!(target: MORE, "... and {more} more in the last second: {text}")
                }
                Level::WARN => {
                    tracing::warn!(target: MORE, "... and {more} more in the last second: {text}")
                }
                Level::INFO => {
                    tracing::info!(target: MORE, "... and {more} more in the last second: {text}")
                }
                _ => {
                    tracing::debug!(target: MORE, "... and {more} more in the last second: {text}")
                }
            }
        }
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        about.target() == MORE || self.kinds().note(event, Instant::now())
    }
}

impl Kinds {
    /// Whether a line is written.
    fn note(&mut self, event: &Event<'_>, now: Instant) -> bool {
        let about = event.metadata();
        let kind = self.0.entry(about.callsite()).or_insert_with(|| Kind {
            since: now,
            written: 0,
            more: 0,
            level: *about.level(),
            text: String::new(),
        });
        if kind.more == 0 && now.saturating_duration_since(kind.since) >= SECOND {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written < LINES {
            kind.written += 1;
            return true;
        }
        kind.more += 1;
        if kind.text.is_empty() {
            event.record(&mut Said(&mut kind.text));
        }
        false
    }

    /// The kinds whose second is over with lines that were not written; the next second of each begins.
    fn over(&mut self, now: Instant) -> Vec<Kind> {
        let is_over =
            |kind: &Kind| kind.more > 0 && now.saturating_duration_since(kind.since) >= SECOND;
        self.0.extract_if(|_, kind| is_over(kind)).map(|(_, kind)| kind).collect()
    }
}

/// Takes the sentence out of an event.
struct Said<'a>(&'a mut String);

impl Visit for Said<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // A string takes everything.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// A number as people read it: 17,083.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// What a log writes here.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines_with(&self, part: &str) -> usize {
            let text = String::from_utf8(self.0.lock().expect("nobody panicked").clone());
            text.expect("text").lines().filter(|line| line.contains(part)).count()
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_a_few_lines_and_a_count_and_hides_no_other() {
        let (log, paper) = (Log::default(), Paper::default());
        let written = paper.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish()
            .with(log.clone());
        tracing::subscriber::with_default(subscriber, || {
            for knock in 0..17_087 {
                tracing::warn!(knock, "too many clients");
            }
            tracing::warn!("something else");
            log.catch_up(Instant::now() + SECOND);
            // The next second.
            tracing::warn!("something else");
            log.catch_up(Instant::now() + 3 * SECOND);
        });
        assert_eq!(paper.lines_with("knock="), LINES as usize);
        assert_eq!(paper.lines_with("... and 17,083 more in the last second: too many clients"), 1);
        assert_eq!(paper.lines_with("something else"), 2, "in full");
        assert_eq!(paper.lines_with("more in the last second"), 1);
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
