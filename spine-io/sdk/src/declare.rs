//! Declarations, checked when the extension is compiled: the manifest cannot be wrong later.

use spine_abi::limits::{HANDLERS, PREFIX_BYTES, REGIONS};
use spine_abi::manifest::HandlerDeclaration;
use spine_abi::{HandlerNumber, PackedVerdict};

use crate::message::{Context, Message};

/// A handler's declaration; `#[handler]` makes a constant of it.
///
/// # Panics
/// At compile time: number zero, a prefix over the largest frame, a writeback over the prefix.
#[doc(hidden)]
pub const fn declare(number: u16, prefix: u16, writeback: u16) -> HandlerDeclaration {
    assert!(number != 0, "handler numbers start at 1");
    assert!(
        prefix as usize <= PREFIX_BYTES,
        "prefix is larger than the largest frame (3840 bytes)"
    );
    assert!(
        writeback <= prefix,
        "writeback is larger than prefix: only what is seen is written back"
    );
    HandlerDeclaration { number: HandlerNumber(number), prefix, writeback }
}

/// Compiles for what a handler may be: it answers a [`Verdict`](crate::Verdict), or one that is
/// [packed](PackedVerdict) already.
#[doc(hidden)]
pub const fn is_handler<Answer: Into<PackedVerdict>>(
    _handler: fn(Context, &mut Message<'_>) -> Answer,
) {
}

/// Checks what `extension!` lists together, and answers the largest prefix.
///
/// # Panics
/// At compile time: no handler or more than 64, two with one number, more than 4 regions.
#[doc(hidden)]
pub const fn check(handlers: &[HandlerDeclaration], regions: u16) -> usize {
    assert!(
        !handlers.is_empty() && handlers.len() <= HANDLERS,
        "an extension has 1 to 64 handlers"
    );
    assert!(regions as usize <= REGIONS, "an extension has at most 4 regions");
    let mut prefix = 0;
    let mut i = 0;
    while i < handlers.len() {
        let mut earlier = 0;
        while earlier < i {
            let same = handlers[earlier].number.0 == handlers[i].number.0;
            assert!(!same, "two handlers have the same number");
            earlier += 1;
        }
        if handlers[i].prefix as usize > prefix {
            prefix = handlers[i].prefix as usize;
        }
        i += 1;
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_prefix_decides() {
        assert_eq!(check(&[declare(1, 64, 34), declare(2, 300, 0), declare(3, 0, 0)], 4), 300);
    }

    #[test]
    #[should_panic(expected = "same number")]
    fn numbers_are_given_once() {
        check(&[declare(1, 0, 0), declare(2, 0, 0), declare(1, 0, 0)], 0);
    }

    #[test]
    #[should_panic(expected = "at most 4 regions")]
    fn regions_have_a_limit() {
        check(&[declare(1, 0, 0)], 5);
    }

    #[test]
    #[should_panic(expected = "writeback is larger")]
    fn writeback_stays_within_the_prefix() {
        declare(1, 20, 21);
    }

    #[test]
    #[should_panic(expected = "start at 1")]
    fn zero_is_no_handler() {
        declare(0, 0, 0);
    }
}
