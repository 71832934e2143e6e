//! Handler numbers: those that handlers have on their adapter, whatever their authors call them.
//!
//! An author's numbers mean something to his own application only, so two who both begin at 1 do not meet: each
//! handler is given a number that is free on its adapter, its own if it can be. The handler table goes by it, the
//! classifier stamps it, and clients are told it; the runtime translates. No user can have all of them: he may have as
//! many as are left, and some are root's.

use std::collections::BTreeMap;

use spine_abi::limits::{HANDLER_NUMBERS, HANDLERS};

/// Numbers of an adapter that nobody but root's extensions can have.
const ROOTS: usize = 2 * HANDLERS;
const _: () = assert!(4 * ROOTS < HANDLER_NUMBERS);

/// Those that are taken: the interface, the number, and whose it is.
#[derive(Debug, Default)]
pub(crate) struct Numbers(BTreeMap<(usize, u16), u32>);

impl Numbers {
    /// Gives each of a user's handlers, which he calls this, a number on an interface's adapter.
    ///
    /// # Errors
    /// A sentence; none is given.
    pub(crate) fn give(&mut self, wire: usize, user: u32, own: &[u16]) -> Result<Vec<u16>, String> {
        let here = || self.0.range((wire, 0)..=(wire, u16::MAX)).map(|(_, of)| *of);
        let most = if user == 0 { HANDLER_NUMBERS } else { HANDLER_NUMBERS - ROOTS };
        let left = most.saturating_sub(here().count());
        let has = here().filter(|of| *of == user).count();
        if own.len() > left || user != 0 && has + own.len() > left {
            return Err(format!(
                "{has} handlers of this user are on that adapter, and there is no room for {} more",
                own.len()
            ));
        }
        let mut given = Vec::with_capacity(own.len());
        for number in own {
            let Some(free) = self.free_one(wire, *number) else {
                self.take_back(wire, &given);
                return Err("all handler numbers of that adapter are taken".to_owned());
            };
            self.0.insert((wire, free), user);
            given.push(free);
        }
        Ok(given)
    }

    /// A number that is free: this one, or one as far as can be from those that authors choose.
    fn free_one(&self, wire: usize, own: u16) -> Option<u16> {
        let last = u16::try_from(HANDLER_NUMBERS - 1).unwrap_or(u16::MAX);
        let is_free = |number: &u16| *number <= last && !self.0.contains_key(&(wire, *number));
        Some(own).filter(is_free).or_else(|| (0..=last).rev().find(is_free))
    }

    /// Takes numbers back.
    pub(crate) fn take_back(&mut self, wire: usize, numbers: &[u16]) {
        for number in numbers {
            self.0.remove(&(wire, *number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_authors_who_both_begin_at_one_are_both_given_numbers() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.give(0, 1, &[1, 2]), Ok(vec![1, 2]), "his own while they are free");
        assert_eq!(numbers.give(1, 1, &[1, 2]), Ok(vec![1, 2]), "another adapter");
        let other = numbers.give(0, 2, &[1, 3]).expect("some");
        assert_eq!((other[0], other[1]), (1023, 3));
        numbers.take_back(0, &[1, 2]);
        assert_eq!(numbers.give(0, 3, &[1]), Ok(vec![1]));
        assert_eq!(numbers.give(0, 3, &[u16::MAX]).expect("one"), [1022], "out of range");
    }

    #[test]
    fn no_user_has_all_of_them_and_roots_are_left() {
        let mut numbers = Numbers::default();
        let own: Vec<u16> = (1..=64).collect();
        let mut count = |user| (0..100).filter(|_| numbers.give(0, user, &own).is_ok()).count();
        let users: Vec<usize> = (1..4).map(&mut count).collect();
        assert!(users.iter().all(|had| *had > 0), "{users:?}");
        assert!(count(0) >= 2, "root's");
    }
}
