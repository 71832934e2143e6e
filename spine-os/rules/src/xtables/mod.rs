//! Matches and targets of iptables, which are structures of C that do not describe themselves.
//!
//! Which structure it is follows from name and revision; numbers in it are the machine's unless noted. What is not known widens:
//! a match may match or not, a target keeps. The structures are those of linux/netfilter/xt_*.h.

mod info;
mod matches;
mod targets;

pub(crate) use self::info::Info;
pub(crate) use self::matches::add as add_match;
pub(crate) use self::targets::add as add_target;
use crate::model::{Byte, Bytes, Fact, Keys, Source, Step, Test};

/// Whether a match or target starts connection tracking, or at least the collecting of fragments.
pub(crate) type Tracks = bool;

fn test(bytes: Bytes, keys: Keys, inverted: bool) -> Step {
    Step::Test(Test { bytes, keys, inverted })
}

fn fact(fact: Fact, length: u8) -> Bytes {
    (0..length).map(|at| Byte::of(Source::Fact(fact, at))).collect()
}

/// Bytes of which only what a mask has are looked at.
fn masked(mut bytes: Bytes, mask: &[u8]) -> Bytes {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        byte.and &= mask;
    }
    bytes
}

/// A test that says nothing of whom it lets through, but that it asks for this.
fn depends_on(what: Fact) -> Step {
    test(fact(what, 1), Keys::any(), false)
}
