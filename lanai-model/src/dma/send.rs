//! The send DMA and the polled sends: words from SRAM, or bytes from the processor, onto the link.
//!
//! SML sends from SMP to its own address, that word included; SMLT does the same and ends the packet; SB, SH and SW send
//! what is written to them. The first send after an end begins a packet. SEND_INT is set while no DMA runs, SEND_RDY while
//! the link takes more.

use super::Flow;
use crate::board::Shared;
use crate::config::Config;
use crate::link::{Link, Piece, crc8};
use crate::time::Time;
use crate::trace::Event;

/// Words of one piece on the link.
const PIECE_WORDS: u32 = 8;

/// The engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendDma {
    /// Next word.
    pub(crate) smp: u32,
    /// Bytes of the first word to leave out, once.
    pub(crate) align: u32,
    running: Option<Running>,
    crc: u8,
    free_at: Time,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    limit: u32,
    tail: bool,
    flow: Flow,
    blocked_since: Option<Time>,
}

/// What [`SendDma::advance`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    More,
    /// The last word is out.
    Done,
    /// The link said stop for longer than its time-out; the rest of the packet is lost.
    TimedOut,
}

impl SendDma {
    /// Whether a DMA runs.
    pub(crate) fn busy(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the link takes a send at `now`.
    pub(crate) fn ready(&self, now: Time) -> bool {
        !self.busy() && self.free_at <= now
    }

    /// Sends from SMP to `limit`.
    pub(crate) fn start(
        &mut self,
        now: Time,
        limit: u32,
        tail: bool,
        config: &Config,
        shared: &mut Shared,
    ) {
        shared.counters.send_restarts += u64::from(self.busy());
        let limit = limit & !3;
        self.smp &= !3;
        shared.trace.push(now, Event::SendStart { smp: self.smp, limit, tail });
        let flow = Flow::new(now.max(self.free_at), shared.arbiter.send_rate(config));
        self.running = Some(Running { limit, tail, flow, blocked_since: None });
    }

    /// Forgets what was under way.
    pub(crate) fn stop(&mut self) {
        self.running = None;
        self.crc = 0;
        self.align = 0;
    }

    /// When [`SendDma::advance`] has something to do, or SEND_RDY rises.
    pub(crate) fn due(&self, now: Time) -> Option<Time> {
        match &self.running {
            Some(running) => Some(running.flow.due(self.next_piece(running).1)),
            None => (self.free_at > now).then_some(self.free_at),
        }
    }

    /// Sends the piece whose time has come.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        config: &Config,
        crc_enabled: bool,
        timeout: Time,
        shared: &mut Shared,
        link: &mut impl Link,
    ) -> Progress {
        let Some(mut running) = self.running else { return Progress::More };
        let (words, length) = self.next_piece(&running);
        if running.flow.due(length) > now {
            return Progress::More;
        }
        // A send of nothing needs no link, and must not wait for it either: it would wait for no time at all.
        if length > 0 && link.stopped(now) {
            let since = *running.blocked_since.get_or_insert(now);
            if now - since >= timeout {
                self.stop();
                return Progress::TimedOut;
            }
            running.flow = Flow::new(now, config.link_rate);
            self.running = Some(running);
            return Progress::More;
        }
        running.blocked_since = None;
        let at = running.flow.due(length);
        let last = self.left(&running) == words;
        self.transmit_words(
            now,
            at,
            words,
            (last && running.tail).then_some(crc_enabled),
            shared,
            link,
        );
        running.flow = Flow::new(at, shared.arbiter.send_rate(config));
        self.running = (!last).then_some(running);
        if last {
            shared.trace.push(now, Event::SendDone);
            Progress::Done
        } else {
            Progress::More
        }
    }

    /// Sends the low `count` bytes of `value` at once.
    pub(crate) fn single(
        &mut self,
        now: Time,
        value: u32,
        count: usize,
        config: &Config,
        link: &mut impl Link,
    ) {
        let bytes = value.to_be_bytes();
        let bytes = bytes.get(4usize.saturating_sub(count)..).unwrap_or(&[]);
        self.crc = bytes.iter().fold(self.crc, |crc, &byte| crc8(crc, byte));
        self.transmit(now, bytes, false, config, link);
    }

    /// Ends the packet.
    pub(crate) fn end(
        &mut self,
        now: Time,
        crc_enabled: bool,
        config: &Config,
        link: &mut impl Link,
    ) {
        let tail = self.tail(crc_enabled);
        self.transmit(now, &[tail], true, config, link);
    }

    fn transmit(
        &mut self,
        now: Time,
        bytes: &[u8],
        end: bool,
        config: &Config,
        link: &mut impl Link,
    ) {
        let at = now.max(self.free_at) + config.link_rate.duration(bytes.len() as u64);
        self.free_at = at;
        link.transmit(Piece::new(at, bytes, end));
    }

    /// The byte that ends a packet; the next packet starts from zero.
    fn tail(&mut self, crc_enabled: bool) -> u8 {
        let crc = std::mem::take(&mut self.crc);
        if crc_enabled { crc } else { 0 }
    }

    /// Words up to the limit, that one included.
    fn left(&self, running: &Running) -> u32 {
        if running.limit < self.smp { 0 } else { (running.limit - self.smp) / 4 + 1 }
    }

    /// Words of the next piece, and its bytes on the link.
    fn next_piece(&self, running: &Running) -> (u32, u64) {
        let left = self.left(running);
        let words = left.min(PIECE_WORDS);
        let skipped = if words == 0 { 0 } else { self.align & 3 };
        (words, u64::from(words * 4 - skipped) + u64::from(left == words && running.tail))
    }

    fn transmit_words(
        &mut self,
        now: Time,
        at: Time,
        words: u32,
        tail: Option<bool>,
        shared: &mut Shared,
        link: &mut impl Link,
    ) {
        let mut buffer = [0; PIECE_WORDS as usize * 4 + 1];
        let length = words as usize * 4;
        if let Some(bytes) = buffer.get_mut(..length) {
            shared.read(now, self.smp, bytes);
        }
        let skipped = if words == 0 { 0 } else { std::mem::take(&mut self.align) & 3 } as usize;
        let body = buffer.get(skipped..length).unwrap_or(&[]);
        self.crc = body.iter().fold(self.crc, |crc, &byte| crc8(crc, byte));
        let end = tail.is_some();
        if let (Some(crc_enabled), Some(last)) = (tail, buffer.get_mut(length)) {
            *last = if crc_enabled { self.crc } else { 0 };
            self.crc = 0;
            shared.counters.packets_sent += 1;
        }
        self.smp = self.smp.wrapping_add(words * 4);
        self.free_at = at;
        let bytes = buffer.get(skipped..length + usize::from(end)).unwrap_or(&[]);
        if !bytes.is_empty() {
            link.transmit(Piece::new(at, bytes, end));
        }
    }
}
