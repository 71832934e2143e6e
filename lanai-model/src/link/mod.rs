//! The Myrinet link: packets as pieces of bytes with times, a CRC-8 at the end, a cut-through switch between.
//!
//! A packet travels in [`Piece`]s so that its head can be in one place while its tail is still in another: the receiving
//! firmware sees the header before the packet is complete, and a switch forwards without waiting. Stop and go, the link's
//! back-pressure, is in both directions of [`Link`]: the board asks [`Link::stopped`] before it sends, and takes from
//! [`Link::receive`] only what it has room for.

mod cable;
mod crc;
mod switch;

pub use cable::{Cable, Packet};
pub use crc::{crc8, crc8_of};
pub use switch::{Output, Switch, SwitchCounters};

use crate::time::Time;

/// The longest piece.
pub const PIECE: usize = 64;

/// Part of a packet on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When its last byte is there.
    pub at: Time,
    /// Whether the packet ends with it.
    pub end: bool,
    length: u8,
    bytes: [u8; PIECE],
}

impl Piece {
    /// The first [`PIECE`] bytes of `bytes`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most PIECE, which is 64")]
    pub fn new(at: Time, bytes: &[u8], end: bool) -> Self {
        let mut piece = Self { at, end, length: 0, bytes: [0; PIECE] };
        for (to, from) in piece.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        piece.length = bytes.len().min(PIECE) as u8;
        piece
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// Its bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.length)).unwrap_or(&mut [])
    }
}

/// What the board's link is plugged into.
pub trait Link {
    /// The board has sent `piece`; its last byte left at `piece.at`.
    fn transmit(&mut self, piece: Piece);

    /// Whether the far end has said stop.
    fn stopped(&self, _at: Time) -> bool {
        false
    }

    /// The next piece to arrive: when its last byte can be here, and how many bytes it has.
    fn next(&self) -> Option<(Time, usize)>;

    /// Takes that piece.
    fn receive(&mut self) -> Option<Piece>;
}

impl<T: Link + ?Sized> Link for std::rc::Rc<std::cell::RefCell<T>> {
    fn transmit(&mut self, piece: Piece) {
        self.borrow_mut().transmit(piece);
    }

    fn stopped(&self, at: Time) -> bool {
        self.borrow().stopped(at)
    }

    fn next(&self) -> Option<(Time, usize)> {
        self.borrow().next()
    }

    fn receive(&mut self) -> Option<Piece> {
        self.borrow_mut().receive()
    }
}
