//! `expect` and `wait`: what is to be so now, or within a time.

use lanai_model::registers::{isr, offset};
use lanai_model::time::Time;

use super::Machine;
use crate::lanai_run::place::{Place, hex};
use crate::lanai_run::statement::Check;

/// How often `wait` looks where it cannot look after every instruction: the tick of the board's clocks.
const LOOK: Time = Time::from_ns(500);

impl Machine {
    pub(super) fn expect(&mut self, check: &Check) -> Result<(), String> {
        self.expectations += 1;
        let found = self.read(check.place, check.width);
        if holds(check, found) {
            return Ok(());
        }
        Err(unexpected(check, found))
    }

    pub(super) fn wait(&mut self, within: Time, check: &Check) -> Result<(), String> {
        self.ran = true;
        self.expectations += 1;
        let end = self.board.now() + within;
        loop {
            let found = self.read(check.place, check.width);
            if holds(check, found) {
                return Ok(());
            }
            if self.board.now() >= end {
                let state = self.state();
                let state = if state == "running" {
                    String::new()
                } else {
                    format!("; the processor does not run ({state})")
                };
                return Err(format!("{} after waiting {within}{state}", unexpected(check, found)));
            }
            self.go_on(check.place, end);
        }
    }

    /// Lets time pass until `place` can have changed, `end` at the latest.
    fn go_on(&mut self, place: Place, end: Time) {
        let now = self.board.now();
        if self.pio || takes(place) {
            self.board.run_until((now + LOOK).min(end));
        } else if self.board.running() {
            self.board.step();
        } else if moves_alone(place) {
            self.board.run_until((now + LOOK).min(end));
        } else {
            let event = self.board.next_event().max(now + Time::from_ps(1));
            self.board.run_until(event.min(end));
        }
    }
}

/// Whether reading it takes something away, so that it should not be read more often than needed.
fn takes(place: Place) -> bool {
    matches!(register(place), Some(offset::RB | offset::RH | offset::RW))
}

/// Whether it changes between events.
fn moves_alone(place: Place) -> bool {
    register(place).is_some_and(|at| (offset::IT..=offset::DMA_CTR).contains(&at))
}

fn register(place: Place) -> Option<u32> {
    match place {
        Place::Register(at) => Some(at & !3),
        Place::Bar(at) if (0x0C_0000..0x0E_0000).contains(&at) => Some(at & 0xFC),
        _ => None,
    }
}

fn holds(check: &Check, found: u32) -> bool {
    check.relation.holds(found & check.mask, check.value & check.mask)
}

fn unexpected(check: &Check, found: u32) -> String {
    let names = |value| {
        if check.place == Place::Register(offset::ISR) {
            format!(" ({})", isr::describe(value))
        } else {
            String::new()
        }
    };
    let mask =
        if check.mask == u32::MAX { String::new() } else { format!(" mask {:#x}", check.mask) };
    format!(
        "expected {} {} {}{}{mask}, found {}{}",
        check.place,
        check.relation.name(),
        hex(check.value, check.width),
        names(check.value),
        hex(found, check.width),
        names(found),
    )
}
