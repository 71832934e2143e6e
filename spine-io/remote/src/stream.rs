//! In order and exactly once: sequence numbers, acknowledgements, credits and retransmission.
//!
//! One stream each way between two endpoints. A segment says what its sender has received (all before
//! `ack`, and the set bits of `selective` beyond it), how far it takes more (`limit`: the credit), and
//! carries up to [`SEGMENT_MESSAGES`] messages with their sequence numbers. What is not acknowledged in
//! time is sent again (RFC 6298, with Karn's rule); what three later ones overtook, at once.
//!
//! A message that its handler's queue cannot take now is kept, and no credit is given for it: a receiver
//! that is too slow slows its sender down, and nothing is lost.
//!
//! | bytes | field (little-endian) |
//! |---|---|
//! | 0..4 | ack: the next sequence number expected |
//! | 4..12 | selective: bit `i` says `ack + 1 + i` has arrived |
//! | 12..16 | limit: the first sequence number not taken yet |
//! | 16 | number of messages |
//! | 17..20 | zero |
//! | then 260 for each message | sequence number, message |

use std::collections::VecDeque;

use spine_abi::bytes::{u32_at, u64_at};
use spine_abi::limits::MESSAGE_BYTES;
use spine_abi::{Message, Nanos};

/// Messages that wait for an acknowledgement, or to be sent, at most.
pub(super) const QUEUE: usize = 256;
const QUEUE_NUMBERS: u32 = 256;
/// Messages beyond the next expected one that are taken, so that one loss does not stop the rest.
pub(super) const WINDOW: u32 = 64;
/// Messages in one segment: what fits an Ethernet frame of 1500 bytes with all headers.
pub(super) const SEGMENT_MESSAGES: usize = 5;

const HEADER: usize = 20;
const ITEM: usize = 4 + MESSAGE_BYTES;
/// Bytes of a segment at most.
pub(super) const SEGMENT_BYTES: usize = HEADER + SEGMENT_MESSAGES * ITEM;

/// Before the first measurement; and never less, or more, than these.
const FIRST_TIMEOUT: u64 = 20_000_000;
const LEAST_TIMEOUT: u64 = 2_000_000;
const LONGEST_TIMEOUT: u64 = 1_000_000_000;
/// Later messages that must have arrived before one counts as lost.
const OVERTAKEN: u32 = 3;

const _: () = assert!(WINDOW <= 64, "the bits of `selective`");
const _: () = assert!(WINDOW as usize <= QUEUE && QUEUE_NUMBERS as usize == QUEUE);

/// A message on its way.
struct Outgoing {
    message: Message,
    /// When it was last sent, and how often.
    sent: Nanos,
    times: u32,
    arrived: bool,
    overtaken: u32,
}

/// Both directions of a pair, as one side sees them.
pub(super) struct Stream {
    /// Sequence number of the first of `out`.
    base: u32,
    out: VecDeque<Outgoing>,
    limit: u32,
    expected: u32,
    /// What arrived from `expected` on.
    ahead: VecDeque<Option<Message>>,
    acknowledge: bool,
    timeout: Timeout,
    /// Messages sent a second time or more.
    pub(super) resent: u64,
    /// Messages that arrived a second time or more.
    pub(super) duplicates: u64,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            base: 0,
            out: VecDeque::with_capacity(QUEUE),
            limit: WINDOW,
            expected: 0,
            ahead: VecDeque::with_capacity(WINDOW as usize),
            acknowledge: false,
            timeout: Timeout::default(),
            resent: 0,
            duplicates: 0,
        }
    }
}

impl Stream {
    /// Takes a message to be sent; false when [`QUEUE`] are on their way already.
    pub(super) fn offer(&mut self, message: Message) -> bool {
        if self.out.len() >= QUEUE {
            return false;
        }
        let sent = Nanos(0);
        self.out.push_back(Outgoing { message, sent, times: 0, arrived: false, overtaken: 0 });
        true
    }

    /// Messages that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.out.len()
    }

    /// Takes a segment from the other side. False if it makes no sense: then nothing has changed.
    pub(super) fn accept(&mut self, segment: &[u8], now: Nanos) -> bool {
        let Some(segment) = Segment::parse(segment) else { return false };
        // Nobody acknowledges what was never sent.
        let acknowledged = segment.ack.wrapping_sub(self.base) as usize;
        let ahead = segment.limit.wrapping_sub(segment.ack);
        if acknowledged > self.out.len() || ahead > WINDOW {
            // An older segment, overtaken by one that said more, is nothing bad.
            let old = self.base.wrapping_sub(segment.ack) < QUEUE_NUMBERS;
            if !old || ahead > WINDOW {
                return false;
            }
        } else {
            self.acknowledged(&segment, now);
        }
        for (sequence, message) in segment.messages() {
            self.arrived(sequence, message);
        }
        true
    }

    /// What the other side has, by its own word.
    fn acknowledged(&mut self, segment: &Segment<'_>, now: Nanos) {
        while self.base != segment.ack {
            let Some(gone) = self.out.pop_front() else { break };
            self.base = self.base.wrapping_add(1);
            if gone.times == 1 && !gone.arrived {
                self.timeout.measured(now.since(gone.sent));
            }
        }
        // The credit only ever grows: an older segment says less.
        if segment.limit.wrapping_sub(self.limit) <= WINDOW {
            self.limit = segment.limit;
        }
        let mut later = 0;
        let known = self.out.len().min(65);
        for at in (1..known).rev() {
            let Some(out) = self.out.get_mut(at) else { continue };
            if segment.selective & (1 << (at - 1)) != 0 {
                later += 1;
                if !out.arrived && out.times == 1 {
                    self.timeout.measured(now.since(out.sent));
                }
                out.arrived = true;
            } else if !out.arrived {
                out.overtaken = later;
            }
        }
        if let Some(first) = self.out.front_mut() {
            first.overtaken = later;
        }
    }

    fn arrived(&mut self, sequence: u32, message: Message) {
        self.acknowledge = true;
        let at = sequence.wrapping_sub(self.expected);
        if at >= WINDOW {
            // Behind what is expected: known. Beyond the window: no credit was given for it.
            self.duplicates += 1;
            return;
        }
        let at = at as usize;
        while self.ahead.len() <= at {
            self.ahead.push_back(None);
        }
        match self.ahead.get_mut(at) {
            Some(place @ None) => *place = Some(message),
            _ => self.duplicates += 1,
        }
    }

    /// Whether the next message in order is here.
    pub(super) fn has_arrived(&self) -> bool {
        matches!(self.ahead.front(), Some(Some(_)))
    }

    /// Hands over what is next in order, until `deliver` answers that it can take no more.
    pub(super) fn deliver(&mut self, mut deliver: impl FnMut(&Message) -> bool) -> bool {
        let mut moved = false;
        while let Some(Some(message)) = self.ahead.front() {
            if !deliver(message) {
                break;
            }
            self.ahead.pop_front();
            self.expected = self.expected.wrapping_add(1);
            self.acknowledge = true;
            moved = true;
        }
        moved
    }

    /// Writes the next segment that is due into `into`, and says how long it is; `None` when none is.
    pub(super) fn next_segment(
        &mut self,
        now: Nanos,
        into: &mut [u8; SEGMENT_BYTES],
    ) -> Option<usize> {
        let mut count = 0;
        let mut late = false;
        let wait = self.timeout.current();
        for (at, out) in (0_u32..).zip(&mut self.out) {
            if count == SEGMENT_MESSAGES {
                break;
            }
            let sequence = self.base.wrapping_add(at);
            if sequence.wrapping_sub(self.base) >= self.limit.wrapping_sub(self.base) {
                break;
            }
            let since = now.since(out.sent);
            let overdue = out.times > 0 && since >= wait;
            // The first one is sent again even if it arrived: the answer that said so much more may
            // have been lost, and with it the credit.
            let again = if out.arrived { overdue && at == 0 } else { overdue };
            let overtaken = !out.arrived
                && out.times > 0
                && out.overtaken >= OVERTAKEN
                && since >= self.timeout.round_trip();
            if out.times > 0 && !again && !overtaken {
                continue;
            }
            late |= again;
            self.resent += u64::from(out.times > 0);
            out.sent = now;
            out.times += 1;
            out.overtaken = 0;
            let item = &mut into[HEADER + count * ITEM..][..ITEM];
            item[..4].copy_from_slice(&sequence.to_le_bytes());
            item[4..].copy_from_slice(out.message.as_bytes());
            count += 1;
        }
        if late {
            self.timeout.back_off();
        }
        if count == 0 && !self.acknowledge {
            return None;
        }
        self.acknowledge = false;
        self.header(count, into);
        Some(HEADER + count * ITEM)
    }

    fn header(&self, count: usize, into: &mut [u8; SEGMENT_BYTES]) {
        let selective = self.ahead.iter().skip(1).enumerate().fold(0_u64, |bits, (at, place)| {
            if at < 64 && place.is_some() { bits | 1 << at } else { bits }
        });
        into[..4].copy_from_slice(&self.expected.to_le_bytes());
        into[4..12].copy_from_slice(&selective.to_le_bytes());
        into[12..16].copy_from_slice(&self.expected.wrapping_add(WINDOW).to_le_bytes());
        into[16..HEADER].copy_from_slice(&[u8::try_from(count).unwrap_or(0), 0, 0, 0]);
    }

    /// Makes a segment due even if nothing has arrived.
    pub(super) fn acknowledge_at_once(&mut self) {
        self.acknowledge = true;
    }

    /// When something is due next; `None` while nothing is on its way.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        let wait = self.timeout.current();
        let sent = self.out.iter().filter(|out| out.times > 0);
        sent.map(|out| Nanos(out.sent.0.saturating_add(wait))).min()
    }

    /// Whether a segment can go at once.
    pub(super) fn is_due(&self) -> bool {
        let fresh = self.out.iter().take(self.limit.wrapping_sub(self.base) as usize);
        self.acknowledge || fresh.into_iter().any(|out| out.times == 0)
    }
}

/// A segment whose numbers fit its length.
struct Segment<'a> {
    ack: u32,
    selective: u64,
    limit: u32,
    items: &'a [u8],
}

impl<'a> Segment<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let count = usize::from(*bytes.get(16)?);
        let whole = count <= SEGMENT_MESSAGES && bytes.len() == HEADER + count * ITEM;
        if !whole || bytes[17..HEADER] != [0, 0, 0] {
            return None;
        }
        let items = &bytes[HEADER..];
        let sound = items.chunks_exact(ITEM).all(|item| Message::parse(&item[4..]).is_ok());
        sound.then_some(Self {
            ack: u32_at(bytes, 0)?,
            selective: u64_at(bytes, 4)?,
            limit: u32_at(bytes, 12)?,
            items,
        })
    }

    fn messages(&self) -> impl Iterator<Item = (u32, Message)> + use<'a> {
        self.items
            .chunks_exact(ITEM)
            .filter_map(|item| Some((u32_at(item, 0)?, Message::parse(&item[4..]).ok()?)))
    }
}

/// How long to wait for an acknowledgement (RFC 6298).
#[derive(Default)]
struct Timeout {
    smoothed: u64,
    variation: u64,
    doublings: u32,
}

impl Timeout {
    fn measured(&mut self, round_trip: u64) {
        self.doublings = 0;
        if self.smoothed == 0 {
            self.smoothed = round_trip.max(1);
            self.variation = round_trip / 2;
            return;
        }
        let error = self.smoothed.abs_diff(round_trip);
        self.variation = (3 * self.variation + error) / 4;
        self.smoothed = (7 * self.smoothed + round_trip) / 8;
    }

    fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(16);
    }

    fn current(&self) -> u64 {
        let measured = match self.smoothed {
            0 => FIRST_TIMEOUT,
            smoothed => (smoothed + 4 * self.variation).max(LEAST_TIMEOUT),
        };
        (measured << self.doublings).min(LONGEST_TIMEOUT)
    }

    fn round_trip(&self) -> u64 {
        self.smoothed
    }
}
