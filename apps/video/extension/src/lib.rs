//! The adapter half of the video client: one packet in, one DMA list out (SPINE 5.1).
//!
//! A file a step: [`packet`] reads the headers, [`stream`] (with [`sequence`]) decides what the packet is
//! good for, [`place`] says where its pixels go, [`convert`] makes them the screen's where they are not.
//! The frame buffer is not in this extension's memory: the runtime moves the pixels, from the packet or
//! from scratch, and cuts whatever leaves the window. What the two halves say to each other is [`protocol`].
//!
//! Progressive pictures only. The upper half of RFC 4175's sequence numbers is not read: GStreamer's and
//! ffmpeg's senders leave it zero.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

pub mod convert;
pub mod packet;
pub mod place;
pub mod protocol;
pub mod sequence;
pub mod stream;

use spine_sdk::{
    Context, Dma, Endpoint, Init, Message, Publish, Reason, Region, RegionCell, Scratch, Source,
    Verdict, handler, init, send_to_host,
};

use crate::packet::{Refusal, Segments};
use crate::place::Placed;
use crate::protocol::{
    BLIT, BLIT_PREFIX, CONFIGURE, CONFIGURED, CONVERT, CONVERT_PREFIX, Counter, Format,
    STREAM_BYTES, UNKNOWN_STREAM, counter_at,
};
use crate::stream::{Shape, Use};

/// Converted pixels of one packet: twice the largest, and what sixteen segments lose by starting at blocks.
static PIXELS: Scratch<1104> = Scratch::new();
static COUNTERS: RegionCell = RegionCell::new();

#[init]
fn init(setup: &mut Init) {
    if let Some(region) = setup.region(0) {
        COUNTERS.set(region);
    }
}

/// A packet whose pixels are the screen's already: only its headers are looked at. One with more headers
/// than that, or of a stream that needs conversion after all, is left to the other handler.
#[handler(BLIT.0, prefix = BLIT_PREFIX)]
fn blit(_context: Context, message: &mut Message<'_>) -> Verdict {
    receive(message, |_, segments, shape| match shape.format {
        Format::Bgra => Some((Source::Packet, 0, place::as_is(segments, shape))),
        Format::Rgb | Format::Uyvy | Format::Uyvp => None,
    })
}

/// A packet of which all is looked at: its pixels are converted, or its headers are long.
#[handler(CONVERT.0, prefix = CONVERT_PREFIX)]
fn convert_pixels(_context: Context, message: &mut Message<'_>) -> Verdict {
    receive(message, |packet, segments, shape| match shape.format {
        Format::Bgra => Some((Source::Packet, 0, place::as_is(segments, shape))),
        Format::Rgb | Format::Uyvy | Format::Uyvp => {
            let placed = place::converted(segments, packet, shape, PIXELS.memory());
            Some((Source::Scratch, PIXELS.address(0), placed))
        }
    })
}

/// The application's word on a stream, acknowledged with the same.
#[handler(CONFIGURE.0)]
fn configure(_context: Context, message: &mut Message<'_>) -> Verdict {
    if message.source() != Endpoint::Host {
        return Verdict::Drop(Reason::Unhandled);
    }
    let Some(said) = protocol::Stream::parse(message.arguments()) else {
        return Verdict::Drop(Reason::Truncated);
    };
    stream::configure(&said);
    let bytes: [u8; STREAM_BYTES] = said.to_bytes();
    match send_to_host(CONFIGURED, &bytes) {
        Ok(()) => Verdict::Done,
        // The application misses the answer and says it again.
        Err(_) => Verdict::Drop(Reason::Unanswered),
    }
}

/// Takes a packet from its headers to its verdict. `place` finds what of its segments is moved, from what, and
/// where that begins.
#[inline(always)]
fn receive(
    message: &mut Message<'_>,
    place: impl Fn(&[u8], &mut Segments, &Shape) -> Option<(Source, u32, Placed)>,
) -> Verdict {
    let (seen, total) = (message.packet(), message.length());
    let Ok(datagram) = packet::datagram(seen, total) else {
        return unknown(Reason::BadHeader);
    };
    let Some((index, stream)) = stream::find(&datagram) else {
        return unknown(Reason::Unhandled);
    };
    let Some(shape) = stream.shape() else { return unknown(Reason::Unhandled) };
    let rtp = packet::rtp(seen, &datagram);
    let mut segments = Segments::new();
    let read = rtp.and_then(|rtp| packet::segments(seen, &rtp, shape.format, &mut segments));
    // Nothing was counted or remembered so far: the other handler does it.
    let is_long = matches!(read, Err(Refusal::BeyondPrefix));
    if message.handler() == BLIT && (is_long || shape.format.handler() != BLIT) {
        return Verdict::Next(CONVERT);
    }

    let counters = Counters { region: COUNTERS.get(), stream: usize::from(index) };
    counters.add(Counter::Packets, 1);
    counters.add(Counter::Bytes, total as u64);
    if !stream.is_source(datagram.source) {
        return counters.drop(Counter::WrongSource);
    }
    let Ok(rtp) = rtp else { return counters.drop(Counter::Malformed) };
    counters.set(Counter::PayloadType, u64::from(rtp.payload_type));
    let count = |what, by: i64| counters.add(what, by.cast_unsigned());
    let publish = match stream.judge(&shape, &rtp, count) {
        Use::Place(publish) => publish,
        Use::None(why) => return counters.drop(why),
    };
    counters.add(Counter::Markers, u64::from(rtp.marker));
    counters.set(Counter::Timestamp, u64::from(rtp.timestamp));
    counters.set(Counter::Ssrc, u64::from(rtp.ssrc));

    let dma = Dma { window: index, source: Source::Packet, publish, tag: rtp.timestamp };
    let placed = match read {
        Ok(()) => place(seen, &mut segments, &shape),
        Err(why) => {
            counters.add(counter_of(why), 1);
            None
        }
    };
    // Even one without pixels may be the first of a new frame, and so the end of the one before.
    let Some((source, base, placed)) = placed else {
        return finish(message, &Segments::new(), 0, dma);
    };
    counters.add(Counter::OutOfPicture, u64::from(placed.outside));
    let fate = if segments.as_slice().is_empty() { Counter::NoPixels } else { Counter::Used };
    counters.add(fate, 1);
    let publish = match (publish, stream.add(&shape, placed.bytes)) {
        (publish, false) => publish,
        (Publish::No | Publish::After, true) => Publish::After,
        (Publish::Before | Publish::Both, true) => Publish::Both,
    };
    finish(message, &segments, base, Dma { source, publish, ..dma })
}

/// The verdict on a packet with these segments, whose bytes are at `base` and where they say.
#[inline(always)]
fn finish(message: &mut Message<'_>, segments: &Segments, base: u32, dma: Dma) -> Verdict {
    let segments = segments.as_slice();
    if segments.is_empty() && dma.publish == Publish::No {
        return Verdict::Done;
    }
    let elements = segments.iter().map(|segment| segment.element(dma.window, base));
    // There are never more elements than fit.
    message.plain_dma(elements, dma).unwrap_or(Verdict::Drop(Reason::Extension))
}

/// A packet to a claimed port that is no stream's.
fn unknown(reason: Reason) -> Verdict {
    if let Some(region) = COUNTERS.get() {
        region.set_u64(UNKNOWN_STREAM, region.u64_at(UNKNOWN_STREAM).wrapping_add(1));
    }
    Verdict::Drop(reason)
}

fn counter_of(refusal: Refusal) -> Counter {
    match refusal {
        Refusal::Malformed | Refusal::BeyondPrefix => Counter::Malformed,
        Refusal::TooManySegments => Counter::TooManySegments,
        Refusal::Interlaced => Counter::Interlaced,
    }
}

/// One stream's counters, in the region that the application reads.
#[derive(Clone, Copy)]
struct Counters {
    region: Option<Region>,
    stream: usize,
}

impl Counters {
    #[inline(always)]
    fn add(self, counter: Counter, count: u64) {
        if let Some(region) = self.region
            && count != 0
        {
            let at = counter_at(self.stream, counter);
            region.set_u64(at, region.u64_at(at).wrapping_add(count));
        }
    }

    #[inline(always)]
    fn set(self, counter: Counter, value: u64) {
        if let Some(region) = self.region {
            region.set_u64(counter_at(self.stream, counter), value);
        }
    }

    /// Counts why a packet is of no use.
    fn drop(self, counter: Counter) -> Verdict {
        self.add(counter, 1);
        Verdict::Drop(Reason::Extension)
    }
}

spine_sdk::extension! {
    name: "video",
    domains: [FrameBuffer, Host],
    regions: 1,
    handlers: [blit, convert_pixels, configure],
    init: init,
}

#[cfg(test)]
mod tests;
