//! Carriers: whether an interface that was opened can be sent on again.
//!
//! A driver may reset its card when a program is attached (igb and others of Intel's do): the link is then
//! gone for a second here and up to four on copper, and nothing is forwarded meanwhile, by nobody. So whoever
//! opens an interface is told how long that took, and is ready only when it is over.
//!
//! Left out: the same when a program is detached, of which a process that was killed hears nothing.

use std::thread;
use std::time::{Duration, Instant};

use super::{Interface, OpenError};

/// How long a carrier may take to come back.
const LONGEST: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// What became of the carriers that there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// All are there again, the last after so long.
    Over(Duration),
    /// These are not, after as long as is waited.
    Lasting(Vec<String>),
}

impl Gap {
    /// A sentence for people, where there is something to say.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Over(time) if *time < LOOK => None,
            Self::Over(time) => Some(format!(
                "nothing was forwarded for {:.1} s: a driver reset its interface when the program was attached, \
                 and will again when it is detached",
                time.as_secs_f64()
            )),
            Self::Lasting(names) => Some(format!(
                "{} had a carrier before it was opened and has none for {} s since: is the cable in, and the \
                 other end up?",
                names.join(", "),
                LONGEST.as_secs()
            )),
        }
    }
}

/// Waits until every interface that had a carrier has one again.
///
/// # Errors
/// [`OpenError`]: an interface is gone, or the kernel does not tell.
pub(super) fn wait(before: &[Interface]) -> Result<Gap, OpenError> {
    let start = Instant::now();
    loop {
        let missing = missing(before)?;
        let waited = start.elapsed();
        if missing.is_empty() {
            return Ok(Gap::Over(waited));
        }
        if waited >= LONGEST {
            return Ok(Gap::Lasting(missing));
        }
        thread::sleep(LOOK);
    }
}

/// The interfaces that had a carrier and have none now.
fn missing(before: &[Interface]) -> Result<Vec<String>, OpenError> {
    let names: Vec<&str> = before.iter().map(|one| one.name.as_str()).collect();
    Ok(lost(before, &Interface::find(&names)?))
}

/// Those of the same interfaces, looked at twice, whose carrier went in between.
fn lost(before: &[Interface], now: &[Interface]) -> Vec<String> {
    let pairs = before.iter().zip(now);
    let gone = pairs.filter(|(before, now)| before.has_carrier && !now.has_carrier);
    gone.map(|(_, now)| now.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_no_time_is_not_said_and_what_did_is() {
        assert_eq!(Gap::Over(Duration::from_millis(3)).note(), None);
        let note = Gap::Over(Duration::from_millis(3_940)).note().unwrap();
        assert!(note.starts_with("nothing was forwarded for 3.9 s"), "{note}");
        let note = Gap::Lasting(vec!["a".to_owned(), "b".to_owned()]).note().unwrap();
        assert!(note.starts_with("a, b had a carrier before"), "{note}");
    }

    #[test]
    fn only_a_carrier_that_there_was_is_waited_for() {
        let lo = Interface::find(&["lo"]).unwrap().remove(0);
        let with = |has_carrier| [Interface { has_carrier, ..lo.clone() }];
        assert_eq!(lost(&with(true), &with(false)), ["lo"]);
        assert_eq!(lost(&with(true), &with(true)), [""; 0]);
        assert_eq!(lost(&with(false), &with(false)), [""; 0]);
        assert_eq!(lost(&with(false), &with(true)), [""; 0]);
    }
}
