//! Notices: what the runtime itself tells the application.
//!
//! A notice is a small message from [`Endpoint::Runtime`] to handler 0. No extension can send one: the
//! runtime writes every message's source. It is put before everything else that waits for the host and
//! is not lost when the queue is full.
//!
//! | bytes of the arguments | field |
//! |---|---|
//! | 0 | kind: 1, an extension was unloaded for its strikes or with another; 2, it was unloaded because somebody asked |
//! | 1 | why: 1 out of fuel, 2 trapped, 3 returned early, 4 what it was linked against is gone, 5 its memory was taken away; 0 of kind 2 |
//! | 2..4 | the extension's number |
//! | 4..8 | strikes in the window; 0 of kind 2 |
//!
//! What comes from that number before the notice, the extension sent; what comes after it, another one
//! in its place.

use crate::bytes::{u16_at, u32_at};
use crate::endpoint::Endpoint;
use crate::handler::HandlerNumber;
use crate::message::Message;

/// How the entry ended that was an extension's last, or what else was its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Offence {
    /// A handler used up the fuel of one message.
    OutOfFuel = 1,
    /// It trapped: out of bounds, unreachable, division by zero, stack overflow.
    Trapped = 2,
    /// It returned before it had asked for every message.
    ReturnedEarly = 3,
    /// Nothing it did: an extension whose domain it was linked against is gone.
    Orphaned = 4,
    /// Pages of a region were taken away while it ran, over and over: each costs time that no fuel pays for.
    Faulted = 5,
}

impl Offence {
    /// For people: what happened, after "was unloaded: its handlers".
    pub const fn text(self) -> &'static str {
        match self {
            Self::OutOfFuel => "used up their fuel",
            Self::Trapped => "trapped",
            Self::ReturnedEarly => "returned before their messages were done",
            Self::Orphaned => "were linked against a domain whose extension is gone",
            Self::Faulted => "ran on regions whose memory was taken away again and again",
        }
    }
}

/// What the runtime tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// An extension had too many strikes and is gone, with all that it held.
    Unloaded {
        /// Its number on the adapter, as loading it answered.
        extension: u16,
        /// What it did the last time.
        offence: Offence,
        /// Strikes in the window.
        strikes: u32,
    },
    /// An extension is gone because somebody asked for that. Told to applications of other processes
    /// only: who runs the adapter has asked himself.
    Removed {
        /// Its number on the adapter.
        extension: u16,
    },
}

const UNLOADED: u8 = 1;
const REMOVED: u8 = 2;

impl Notice {
    /// The message to the application.
    pub fn to_message(self) -> Message {
        let (kind, offence, extension, strikes) = match self {
            Self::Unloaded { extension, offence, strikes } => {
                (UNLOADED, offence as u8, extension, strikes)
            }
            Self::Removed { extension } => (REMOVED, 0, extension, 0),
        };
        let mut arguments = [0; 8];
        arguments[0] = kind;
        arguments[1] = offence;
        arguments[2..4].copy_from_slice(&extension.to_le_bytes());
        arguments[4..8].copy_from_slice(&strikes.to_le_bytes());
        Message::small(HandlerNumber::NONE, Endpoint::Runtime, &arguments)
    }

    /// Reads a message an adapter sent; `None` if it is no notice: it comes from an extension, or is of
    /// a kind this version does not know.
    pub fn from_message(message: &Message) -> Option<Self> {
        let header = message.header();
        if header.source != Endpoint::Runtime || header.handler != HandlerNumber::NONE {
            return None;
        }
        let arguments = message.arguments();
        let (extension, strikes) = (u16_at(arguments, 2)?, u32_at(arguments, 4)?);
        let offence = match (arguments.first()?, arguments.get(1)?) {
            (&REMOVED, 0) if strikes == 0 => return Some(Self::Removed { extension }),
            (&UNLOADED, 1) => Offence::OutOfFuel,
            (&UNLOADED, 2) => Offence::Trapped,
            (&UNLOADED, 3) => Offence::ReturnedEarly,
            (&UNLOADED, 4) => Offence::Orphaned,
            (&UNLOADED, 5) => Offence::Faulted,
            _ => return None,
        };
        Some(Self::Unloaded { extension, offence, strikes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_survives_its_message() {
        let offences = [
            Offence::OutOfFuel,
            Offence::Trapped,
            Offence::ReturnedEarly,
            Offence::Orphaned,
            Offence::Faulted,
        ];
        for offence in offences {
            let notice = Notice::Unloaded { extension: 63, offence, strikes: 100 };
            assert_eq!(Notice::from_message(&notice.to_message()), Some(notice));
        }
        let removed = Notice::Removed { extension: 7 };
        assert_eq!(Notice::from_message(&removed.to_message()), Some(removed));
    }

    #[test]
    fn what_an_extension_sends_is_no_notice() {
        let notice =
            Notice::Unloaded { extension: 1, offence: Offence::Trapped, strikes: 3 }.to_message();
        let mut forged = notice.clone();
        forged.set_source(Endpoint::Extension(1));
        assert_eq!(Notice::from_message(&forged), None);
        for arguments in [
            &[][..],
            &[1, 1],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[3, 1, 0, 0, 0, 0, 0, 0],
            &[1, 9, 0, 0, 0, 0, 0, 0],
        ] {
            let other = Message::small(HandlerNumber::NONE, Endpoint::Runtime, arguments);
            assert_eq!(Notice::from_message(&other), None, "{arguments:?}");
        }
    }
}
