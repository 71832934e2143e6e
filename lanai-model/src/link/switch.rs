//! A cut-through switch: the first byte of a packet names the way out, and the rest follows it without waiting.
//!
//! The route byte is 0x80 plus six bits of signed difference between the ports, and is taken off: 0x80 sends a packet back
//! to where it came from. (SRC for 0x80, REC for the rest) A byte without its high bit, or one that leads off the switch,
//! is a packet for nobody: it is swallowed and counted. The tail byte is a CRC-8 of what is left, so the switch makes a new
//! one, which is wrong again by as much as the old one was.
//!
//! An output serves one packet at a time. A packet that meets a busy output waits at its input, and everything behind it
//! too (head-of-line blocking); [`Switch::stopped`] tells the sender. Left out: adaptive routing, more than one switch's
//! worth of slack, multicast.

use std::collections::VecDeque;

use super::{PIECE, Piece, crc8};
use crate::time::{Rate, Time};

/// Bytes that one input holds before it says stop; slack for a cable's round trip. (DER)
const INPUT_LIMIT: usize = 256;

/// A piece that comes out of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which port.
    pub port: usize,
    /// What.
    pub piece: Piece,
}

/// What a switch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Packets whose end came out.
    pub forwarded: u64,
    /// Packets whose route led nowhere.
    pub no_route: u64,
}

/// A switch of some ports.
#[derive(Clone, Debug)]
pub struct Switch {
    latency: Time,
    rate: Rate,
    inputs: Vec<Input>,
    outputs: Vec<Port>,
    counters: SwitchCounters,
}

#[derive(Clone, Debug, Default)]
struct Input {
    waiting: VecDeque<Piece>,
    held: usize,
    packet: Option<Way>,
}

/// How the packet at an input goes on.
#[derive(Clone, Copy, Debug)]
struct Way {
    port: Option<usize>,
    crc_in: u8,
    crc_out: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    owner: Option<usize>,
    free_at: Time,
}

impl Switch {
    /// A switch of `ports` ports, each at `rate` bytes a second, `latency` from byte in to byte out.
    #[must_use]
    pub fn new(ports: usize, latency: Time, rate: Rate) -> Self {
        Self {
            latency,
            rate,
            inputs: vec![Input::default(); ports],
            outputs: vec![Port::default(); ports],
            counters: SwitchCounters::default(),
        }
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> SwitchCounters {
        self.counters
    }

    /// Whether whatever is plugged into `port` must wait before it sends more.
    #[must_use]
    pub fn stopped(&self, port: usize) -> bool {
        self.inputs.get(port).is_none_or(|input| input.held >= INPUT_LIMIT)
    }

    /// `piece` goes into `port`; everything that can go on comes out through `out`, in order of time for each port.
    ///
    /// A piece for a port that the switch does not have is dropped.
    pub fn push(&mut self, port: usize, piece: Piece, out: &mut impl FnMut(Output)) {
        let Some(input) = self.inputs.get_mut(port) else { return };
        input.held += piece.bytes().len();
        input.waiting.push_back(piece);
        // The end of one packet may free an output for another input, and so on.
        while (0..self.inputs.len()).any(|input| self.drain(input, out)) {}
    }

    /// Moves what can move at one input; true if a packet ended.
    fn drain(&mut self, from: usize, out: &mut impl FnMut(Output)) -> bool {
        let mut ended = false;
        while let Some(piece) =
            self.inputs.get(from).and_then(|input| input.waiting.front()).copied()
        {
            let (way, rest) = self.way(from, &piece);
            if way.port.is_some_and(|port| !self.claim(port, from)) {
                break;
            }
            ended |= piece.end;
            self.forward(from, way, piece, rest, out);
        }
        ended
    }

    /// The way of the packet at `from`, and where in `piece` what is to be forwarded begins.
    fn way(&self, from: usize, piece: &Piece) -> (Way, usize) {
        if let Some(way) = self.inputs.get(from).and_then(|input| input.packet) {
            return (way, 0);
        }
        let route = piece.bytes().first().copied().unwrap_or(0);
        let way = Way { port: self.port_of(from, route), crc_in: crc8(0, route), crc_out: 0 };
        (way, 1)
    }

    fn port_of(&self, from: usize, route: u8) -> Option<usize> {
        if route & 0x80 == 0 {
            return None;
        }
        let bits = i32::from(route & 0x3F);
        let difference = if bits >= 0x20 { bits - 0x40 } else { bits };
        let port = usize::try_from(i32::try_from(from).ok()?.checked_add(difference)?).ok()?;
        (port < self.outputs.len()).then_some(port)
    }

    /// Takes the output for the packet at `from` unless another packet has it.
    fn claim(&mut self, port: usize, from: usize) -> bool {
        let Some(output) = self.outputs.get_mut(port) else { return false };
        if output.owner.is_none_or(|owner| owner == from) {
            output.owner = Some(from);
            return true;
        }
        false
    }

    fn forward(
        &mut self,
        from: usize,
        mut way: Way,
        mut piece: Piece,
        rest: usize,
        out: &mut impl FnMut(Output),
    ) {
        let length = piece.bytes().len();
        let end = piece.end;
        let last = length.saturating_sub(1);
        for (index, byte) in piece.bytes_mut().iter_mut().enumerate().skip(rest) {
            let received = *byte;
            if end && index == last {
                *byte = way.crc_out ^ way.crc_in ^ received;
            }
            way.crc_in = crc8(way.crc_in, received);
            way.crc_out = crc8(way.crc_out, received);
        }
        if let Some(input) = self.inputs.get_mut(from) {
            input.waiting.pop_front();
            input.held = input.held.saturating_sub(length);
            input.packet = (!end).then_some(way);
        }
        let Some((port, output)) =
            way.port.and_then(|port| Some((port, self.outputs.get_mut(port)?)))
        else {
            self.counters.no_route += u64::from(end);
            return;
        };
        let bytes = piece.bytes().get(rest..).unwrap_or(&[]);
        let at =
            (piece.at + self.latency).max(output.free_at + self.rate.duration(bytes.len() as u64));
        output.free_at = at;
        if end {
            output.owner = None;
            self.counters.forwarded += 1;
        }
        if !bytes.is_empty() {
            debug_assert!(bytes.len() <= PIECE, "a piece never grows");
            out(Output { port, piece: Piece::new(at, bytes, end) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Output, Switch};
    use crate::link::{Piece, crc8_of};
    use crate::time::{Rate, Time};

    fn switch() -> Switch {
        Switch::new(8, Time::from_ns(500), Rate::per_second(160_000_000))
    }

    fn packet(route: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![route];
        bytes.extend_from_slice(payload);
        bytes.push(crc8_of(&bytes));
        bytes
    }

    fn push(switch: &mut Switch, port: usize, at: Time, bytes: &[u8]) -> Vec<Output> {
        let mut out = Vec::new();
        switch.push(port, Piece::new(at, bytes, true), &mut |output| out.push(output));
        out
    }

    #[test]
    fn the_route_byte_is_a_signed_difference_and_is_taken_off() {
        for (route, from, to) in [
            (0x80, 3, Some(3)),
            (0x82, 3, Some(5)),
            (0xBF, 3, Some(2)),
            (0xBC, 3, None),
            (0x02, 3, None),
        ] {
            let mut switch = switch();
            let out = push(&mut switch, from, Time::from_us(1), &packet(route, &[1, 2, 3]));
            assert_eq!(out.first().map(|o| o.port), to, "route {route:#04x}");
            if let Some(output) = out.first() {
                assert_eq!(output.piece.bytes()[..3], [1, 2, 3]);
                assert_eq!(crc8_of(output.piece.bytes()), 0);
                assert_eq!(output.piece.at, Time::from_ns(1_500));
            }
            assert_eq!(switch.counters().no_route, u64::from(to.is_none()));
        }
    }

    #[test]
    fn the_head_leaves_before_the_tail_has_come() {
        let mut switch = switch();
        let bytes = packet(0x81, &[9; 60]);
        let mut out = Vec::new();
        switch.push(0, Piece::new(Time::from_ns(200), &bytes[..32], false), &mut |o| out.push(o));
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].piece.bytes().len(), 31);
        switch.push(0, Piece::new(Time::from_ns(400), &bytes[32..], true), &mut |o| out.push(o));
        let all: Vec<u8> = out.iter().flat_map(|o| o.piece.bytes().to_vec()).collect();
        assert_eq!(crc8_of(&all), 0);
        assert_eq!(all.len(), 61);
    }

    #[test]
    fn a_wrong_crc_stays_wrong() {
        let mut switch = switch();
        let mut bytes = packet(0x81, &[1, 2, 3]);
        bytes[2] ^= 0x10;
        let out = push(&mut switch, 0, Time::ZERO, &bytes);
        assert_ne!(crc8_of(out[0].piece.bytes()), 0);
    }

    #[test]
    fn a_busy_output_holds_the_next_packet_back_and_then_stops_its_sender() {
        let mut switch = switch();
        let mut out = Vec::new();
        let long = packet(0x82, &[7; 100]);
        switch.push(0, Piece::new(Time::from_ns(200), &long[..32], false), &mut |o| out.push(o));
        let before = out.len();
        for n in 1..6u8 {
            switch.push(
                1,
                Piece::new(Time::from_ns(400 * u64::from(n)), &packet(0x81, &[n; 60]), true),
                &mut |o| out.push(o),
            );
        }
        assert_eq!(out.len(), before, "port 2 belongs to the first packet");
        assert!(switch.stopped(1) && !switch.stopped(0));
        switch.push(0, Piece::new(Time::from_us(9), &long[32..64], false), &mut |o| out.push(o));
        switch.push(0, Piece::new(Time::from_us(10), &long[64..], true), &mut |o| out.push(o));
        assert_eq!(switch.counters().forwarded, 6);
        assert!(!switch.stopped(1));
        assert!(out.windows(2).all(|w| w[0].piece.at < w[1].piece.at), "one after the other");
    }
}
