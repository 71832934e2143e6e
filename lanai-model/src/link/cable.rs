//! A cable whose far end is in the caller's hands: what is sent can be looked at, and packets can be put in.
//!
//! Or the far end is the board itself, or a switch whose other ports are in the caller's hands.

use std::collections::{BTreeMap, VecDeque};

use super::{Link, Output, PIECE, Piece, Switch, SwitchCounters, crc8_of};
use crate::time::{Rate, Time};

/// How many bytes of sent packets a cable keeps for the caller; older packets are dropped and counted.
const KEPT_BYTES: usize = 16 << 20;

/// A whole packet, as it was on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The port of the switch that it came out of; 0 without a switch.
    pub port: usize,
    /// When its first byte left.
    pub start: Time,
    /// When its last byte left.
    pub end: Time,
    /// All of its bytes, the tail byte too.
    pub bytes: Vec<u8>,
}

impl Packet {
    /// The bytes without the tail.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.split_last().map_or(&[], |(_, rest)| rest)
    }

    /// Whether the tail byte is the CRC-8 of the rest.
    #[must_use]
    pub fn crc_is_good(&self) -> bool {
        crc8_of(&self.bytes) == 0
    }
}

/// A link to nobody in particular.
#[derive(Clone, Debug)]
pub struct Cable {
    rate: Rate,
    arriving: VecDeque<Piece>,
    sent: VecDeque<Packet>,
    open: BTreeMap<usize, Packet>,
    kept: usize,
    dropped: u64,
    stopped: bool,
    far: Far,
    free_at: Time,
}

/// What is at the other end.
#[derive(Clone, Debug)]
enum Far {
    /// The caller, who takes packets.
    Caller,
    /// The board's own input.
    Loopback,
    /// A switch, the board at this port.
    Switch { switch: Switch, port: usize },
}

impl Cable {
    /// A cable that carries `rate` bytes a second.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            arriving: VecDeque::new(),
            sent: VecDeque::new(),
            open: BTreeMap::new(),
            kept: 0,
            dropped: 0,
            stopped: false,
            far: Far::Caller,
            free_at: Time::ZERO,
        }
    }

    /// Puts `bytes` and their CRC-8 on the cable, the first byte not before `at`.
    pub fn inject(&mut self, at: Time, bytes: &[u8]) {
        let mut packet = bytes.to_vec();
        packet.push(crc8_of(bytes));
        self.inject_raw(at, &packet);
    }

    /// Puts `bytes` on the cable as they are: the last one is the tail byte. Nothing at all is no packet.
    pub fn inject_raw(&mut self, at: Time, bytes: &[u8]) {
        let start = self.free_at.max(at);
        let mut done = 0u64;
        let mut pieces = bytes.chunks(PIECE / 2).peekable();
        while let Some(part) = pieces.next() {
            done = done.saturating_add(part.len() as u64);
            let at = start + self.rate.duration(done);
            self.arriving.push_back(Piece::new(at, part, pieces.peek().is_none()));
            self.free_at = at;
        }
    }

    /// Puts one piece on the cable as it comes out of a switch.
    pub fn inject_piece(&mut self, piece: Piece) {
        self.free_at = self.free_at.max(piece.at);
        self.arriving.push_back(piece);
    }

    /// The oldest packet that the board sent completely.
    pub fn take(&mut self) -> Option<Packet> {
        let packet = self.sent.pop_front()?;
        self.kept = self.kept.saturating_sub(packet.bytes.len());
        Some(packet)
    }

    /// Packets that the board sent and nobody took yet, oldest first.
    pub fn sent(&self) -> impl Iterator<Item = &Packet> {
        self.sent.iter()
    }

    /// Packets dropped because nobody took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Says stop, or go, to the board.
    pub fn stop(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// The far end is the caller, as at first.
    pub fn unplug(&mut self) {
        self.far = Far::Caller;
    }

    /// Plugs the board's output into its input.
    pub fn loopback(&mut self) {
        self.far = Far::Loopback;
    }

    /// Plugs the board into `port` of `switch`. What comes out of other ports is for the caller.
    pub fn plug(&mut self, switch: Switch, port: usize) {
        self.far = Far::Switch { switch, port };
    }

    /// What the switch did, if there is one.
    #[must_use]
    pub fn switch_counters(&self) -> Option<SwitchCounters> {
        if let Far::Switch { switch, .. } = &self.far { Some(switch.counters()) } else { None }
    }

    /// Puts `bytes`, which end with their tail byte, into `port` of the switch; false if there is no switch.
    pub fn inject_at_port(&mut self, port: usize, at: Time, bytes: &[u8]) -> bool {
        let Far::Switch { switch, port: own } = &mut self.far else { return false };
        let mut outputs = Vec::new();
        let mut done = 0u64;
        let mut pieces = bytes.chunks(PIECE / 2).peekable();
        while let Some(part) = pieces.next() {
            done = done.saturating_add(part.len() as u64);
            let piece = Piece::new(at + self.rate.duration(done), part, pieces.peek().is_none());
            switch.push(port, piece, &mut |output| outputs.push(output));
        }
        let own = *own;
        self.emerge(own, outputs);
        true
    }

    /// What came out of the switch goes to the board or to the caller.
    fn emerge(&mut self, own: usize, outputs: Vec<Output>) {
        for Output { port, piece } in outputs {
            if port == own {
                self.inject_piece(piece);
            } else {
                self.collect(port, &piece);
            }
        }
    }

    /// Puts the packet that comes out of `port` together.
    fn collect(&mut self, port: usize, piece: &Piece) {
        let length = self.rate.duration(piece.bytes().len() as u64);
        let start = piece.at - length;
        let open = self.open.remove(&port);
        let mut packet =
            open.unwrap_or_else(|| Packet { port, start, end: start, bytes: Vec::new() });
        packet.end = piece.at;
        // A packet without an end must not fill the host's memory: its middle is not kept.
        if packet.bytes.len() < KEPT_BYTES || piece.end {
            packet.bytes.extend_from_slice(piece.bytes());
        }
        if piece.end {
            self.keep(packet);
        } else {
            self.open.insert(port, packet);
        }
    }

    fn keep(&mut self, packet: Packet) {
        self.kept += packet.bytes.len();
        self.sent.push_back(packet);
        while self.kept > KEPT_BYTES && self.take().is_some() {
            self.dropped += 1;
        }
    }
}

impl Link for Cable {
    fn transmit(&mut self, piece: Piece) {
        match &mut self.far {
            Far::Caller => self.collect(0, &piece),
            Far::Loopback => self.inject_piece(piece),
            Far::Switch { switch, port } => {
                let own = *port;
                let mut outputs = Vec::new();
                switch.push(own, piece, &mut |output| outputs.push(output));
                self.emerge(own, outputs);
            }
        }
    }

    fn stopped(&self, _at: Time) -> bool {
        let full = if let Far::Switch { switch, port } = &self.far {
            switch.stopped(*port)
        } else {
            false
        };
        self.stopped || full
    }

    fn next(&self) -> Option<(Time, usize)> {
        self.arriving.front().map(|piece| (piece.at, piece.bytes().len()))
    }

    fn receive(&mut self) -> Option<Piece> {
        self.arriving.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cable, Link, Piece, Switch};
    use crate::time::{Rate, Time};

    fn cable() -> Cable {
        Cable::new(Rate::per_second(160_000_000))
    }

    #[test]
    fn an_injected_packet_arrives_at_link_speed_and_ends_with_its_crc() {
        let mut cable = cable();
        cable.inject(Time::from_us(1), &[7; 99]);
        let mut bytes = Vec::new();
        let mut last = Time::ZERO;
        while let Some(piece) = cable.receive() {
            assert!(piece.at > last);
            last = piece.at;
            bytes.extend_from_slice(piece.bytes());
            assert_eq!(piece.end, bytes.len() == 100);
        }
        assert_eq!(last, Time::from_us(1) + Time::from_ns(625));
        assert_eq!(super::crc8_of(&bytes), 0);
    }

    #[test]
    fn packets_follow_each_other_and_do_not_overlap() {
        let mut cable = cable();
        cable.inject(Time::ZERO, &[1; 15]);
        cable.inject(Time::ZERO, &[2; 15]);
        assert_eq!(cable.receive().map(|p| p.at), Some(Time::from_ns(100)));
        assert_eq!(cable.receive().map(|p| p.at), Some(Time::from_ns(200)));
    }

    #[test]
    fn what_the_board_sends_is_put_together_again() {
        let mut cable = cable();
        cable.transmit(Piece::new(Time::from_ns(200), &[1, 2], false));
        assert!(cable.take().is_none());
        cable.transmit(Piece::new(Time::from_ns(300), &[3, super::crc8_of(&[1, 2, 3])], true));
        let packet = cable.take().unwrap();
        assert_eq!(packet.payload(), [1, 2, 3]);
        assert!(packet.crc_is_good());
        assert_eq!(packet.end, Time::from_ns(300));
    }

    #[test]
    fn a_loopback_gives_back_what_was_sent() {
        let mut cable = cable();
        cable.loopback();
        cable.transmit(Piece::new(Time::from_ns(200), &[1, 2], true));
        assert_eq!(cable.receive().unwrap().bytes(), [1, 2]);
        assert!(cable.take().is_none());
    }

    #[test]
    fn behind_a_switch_packets_come_back_or_go_to_the_caller() {
        let rate = Rate::per_second(160_000_000);
        let mut cable = cable();
        cable.plug(Switch::new(8, Time::from_ns(500), rate), 2);
        let packet = |route: u8| [route, 9, super::crc8_of(&[route, 9])];
        cable.transmit(Piece::new(Time::from_us(1), &packet(0x80), true));
        cable.transmit(Piece::new(Time::from_us(2), &packet(0x83), true));
        assert_eq!(cable.receive().unwrap().bytes()[0], 9);
        let other = cable.take().unwrap();
        assert_eq!((other.port, other.payload(), other.crc_is_good()), (5, &[9][..], true));
        assert!(cable.inject_at_port(4, Time::from_us(3), &packet(0xBE)));
        assert_eq!(cable.receive().unwrap().bytes()[0], 9, "from port 4 two down");
        assert_eq!(cable.switch_counters().unwrap().forwarded, 3);
    }
}
