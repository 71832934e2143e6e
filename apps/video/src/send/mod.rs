//! `spine-video send`: what stands where the paper's video server stood (SPINE 5.1).
//!
//! Pictures come from the test pattern or from a file; each is cut into packets, which leave evenly spread
//! over the time until the next picture is due, as SMPTE ST 2110-21 wants it. Faults happen on request.

pub mod decoder;
pub mod faults;
mod pace;
pub mod pattern;
mod socket;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::decoder::{DecodeError, Decoder, Wanted};
use self::faults::{Done, Faults, Probabilities};
use self::pace::Pace;
use self::pattern::Pattern;
use self::socket::Sender;
use crate::pixels::WireWriter;
use spine_video_packets::packets::{Packetiser, Packets};

pub use self::socket::{SendError, Target};

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The test pattern.
    Pattern,
    /// A file that ffmpeg or GStreamer decodes.
    File(PathBuf),
}

/// All that `send` is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where pictures come from.
    pub source: Source,
    /// Where they go.
    pub target: Target,
    /// What they are on the wire.
    pub wanted: Wanted,
    /// How many; `None`: to the end of the file, or for ever.
    pub count: Option<u64>,
    /// What goes wrong, and how often.
    pub faults: Probabilities,
    /// Makes the same things go wrong again.
    pub seed: u64,
    /// Bytes of a packet at most.
    pub packet_bytes: usize,
}

/// Why nothing is sent, or nothing more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The pictures.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The network.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Report {
    /// Pictures.
    pub frames: u64,
    /// Packets that left; duplicates twice, dropped ones not.
    pub packets: u64,
    /// Bytes of RTP in them.
    pub bytes: u64,
    /// Packets that went wrong on request.
    #[serde(flatten)]
    pub faults: Done,
    /// Pictures that were late by more than a picture's time: this machine is too slow for the rate.
    pub late_frames: u64,
    /// From the first picture to the end of the last one's time.
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames, {} packets, {} Mbit/s in {:.1} s",
            self.frames,
            self.packets,
            // Of RTP, without the headers below it.
            (self.bytes as f64 * 8e-6 / self.seconds.max(1e-9)).round(),
            self.seconds
        )?;
        let Done { dropped, duplicated, reordered } = self.faults;
        if dropped + duplicated + reordered > 0 {
            write!(
                f,
                "; on request {dropped} dropped, {duplicated} doubled, {reordered} reordered"
            )?;
        }
        if self.late_frames > 0 {
            write!(f, "; {} frames were late: this machine is too slow for it", self.late_frames)?;
        }
        Ok(())
    }
}

/// Where the pictures come from, running.
enum Pictures {
    Pattern(Box<Pattern>),
    File(Decoder),
}

impl Pictures {
    fn start(options: &Options) -> Result<Self, DecodeError> {
        let Wanted { format, size, colorimetry, range, .. } = options.wanted;
        Ok(match &options.source {
            Source::Pattern => {
                let writer = WireWriter::new(format, colorimetry, range);
                Self::Pattern(Box::new(Pattern::new(size, writer)))
            }
            Source::File(file) => Self::File(Decoder::start(file, &options.wanted)?),
        })
    }

    fn next(&mut self, number: u64) -> Result<Option<&[u8]>, DecodeError> {
        match self {
            Self::Pattern(pattern) => Ok(Some(pattern.draw(number))),
            Self::File(decoder) => decoder.picture(),
        }
    }
}

/// Sends until there is no more, or `stopped` says so.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Options, mut stopped: impl FnMut() -> bool) -> Result<Report, Failure> {
    let mut pictures = Pictures::start(options)?;
    let mut sender = Sender::open(&options.target)?;
    let mut random = fastrand::Rng::with_seed(options.seed);
    let Wanted { format, size, rate, .. } = options.wanted;
    // RFC 3550 section 5.1: numbers start anywhere, so that a receiver that expects 0 is found out.
    let (source, sequence, epoch) = (random.u32(..), random.u32(..), random.u32(..));
    let mut packetiser = Packetiser::new(format, size, options.packet_bytes, source, sequence);
    let mut faults = Faults::new(options.faults, options.seed);
    let (mut packets, mut order) = (Packets::default(), Vec::new());
    let mut frames = 0;
    let start = Instant::now();
    let mut pace = Pace::new(start, rate);
    while options.count.is_none_or(|count| frames < count) && !stopped() {
        let Some(picture) = pictures.next(frames)? else { break };
        packetiser.pack(picture, timestamp(epoch, frames, rate), &mut packets);
        faults.order(packets.len(), &mut order);
        pace.begin(frames, order.len());
        while let Some(batch) = pace.wait(&order) {
            sender.send(batch.iter().map(|index| packets.get(*index)))?;
        }
        frames += 1;
    }
    pace.finish(frames);
    Ok(Report {
        frames,
        packets: sender.packets(),
        bytes: sender.bytes(),
        faults: faults.done(),
        late_frames: pace.late(),
        seconds: start.elapsed().max(Duration::from_nanos(1)).as_secs_f64(),
    })
}

/// In ticks of 90 kHz (RFC 4175 section 4.1).
fn timestamp(epoch: u32, frame: u64, rate: u32) -> u32 {
    let ticks = (u128::from(frame) * 90_000 / u128::from(rate.max(1))) & u128::from(u32::MAX);
    epoch.wrapping_add(u32::try_from(ticks).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_rate_without_drift() {
        assert_eq!(timestamp(0, 1, 30), 3000);
        assert_eq!(timestamp(u32::MAX, 1, 60), 1499);
        assert_eq!(timestamp(0, 7 * 3600, 7), 3600 * 90_000);
        assert_eq!(timestamp(0, 1 << 40, 60), timestamp(0, (1 << 40) + 1, 60).wrapping_sub(1500));
    }
}
