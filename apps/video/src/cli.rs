//! The command line, and everything that can be wrong with it before anything is touched.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use spine_nic::open::Mode;

use crate::colour::{Colorimetry, Range};
use crate::format::{Format, Size};
use crate::sdp;
use crate::send::decoder::Wanted;
use crate::send::faults::Probabilities;
use crate::send::{self, Target};
use crate::stream::{Short, Stream};
use spine_video_packets::packets::Packetiser;

/// Streams that one process receives: an extension has as many windows.
pub const STREAMS: usize = spine_abi::limits::WINDOWS;

/// A command line that cannot be followed: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

fn misuse<T>(sentence: impl Into<String>) -> Result<T, Misuse> {
    Err(Misuse(sentence.into()))
}

/// Shows network video (RFC 4175, ST 2110-20) in windows: a safe extension puts the pixels of each packet
/// straight into the window's frame buffer, and this program sleeps.
#[derive(Debug, Parser)]
#[command(
    name = "spine-video",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// Something else than receiving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Receiving
    #[command(flatten)]
    pub receive: Receive,
    /// Says more on standard error; twice for everything
    #[arg(long, short, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sends a file or the test pattern as raw video
    Send(Send),
    /// Moves a video of a running `spine-video --screen`
    Move(Move),
}

/// What becomes of a frame of which something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Incomplete {
    /// It is not shown.
    Drop,
    /// What is missing is taken from the frame before.
    Repair,
}

/// How packets reach the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// AF_XDP where it can be had, else AF_PACKET, which is said.
    Auto,
    /// AF_XDP or not at all.
    Xdp,
    /// AF_PACKET.
    Packet,
}

/// What receiving is told.
#[derive(Debug, Args)]
pub struct Receive {
    /// The interface that streams come in on
    #[arg(long = "iface", value_name = "NAME", required = true)]
    pub interface: Option<String>,
    /// The UDP port of a stream
    #[arg(long, value_name = "PORT", requires_all = ["format", "size"])]
    pub port: Option<u16>,
    /// Its format: BGRA, RGB, UYVY or UYVP
    #[arg(long, value_name = "FORMAT", requires = "port")]
    pub format: Option<Format>,
    /// Its size
    #[arg(long, value_name = "WxH", requires = "port")]
    pub size: Option<Size>,
    /// The group, or the address of this machine, that it is sent to (default: any address of ours)
    #[arg(long, value_name = "ADDRESS", requires = "port")]
    pub address: Option<Ipv4Addr>,
    /// The only sender it is taken from
    #[arg(long, value_name = "ADDRESS", requires = "port")]
    pub source: Option<Ipv4Addr>,
    /// A stream in short; repeat it for several: PORT:FORMAT:WxH[@ADDRESS[/SOURCE]]
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<Short>,
    /// A session description that says all this, as senders write it; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub sdp: Vec<PathBuf>,
    /// The matrix of YCbCr (default: as the description says, else 709 from 720 lines on)
    #[arg(long, value_enum)]
    pub colorimetry: Option<Colorimetry>,
    /// The range of YCbCr (default: as the description says, else narrow)
    #[arg(long, value_enum)]
    pub range: Option<Range>,
    /// What becomes of a frame of which something is missing
    #[arg(long, value_enum, value_name = "WHAT", default_value = "drop")]
    pub incomplete: Incomplete,
    /// Opens no window
    #[arg(long, conflicts_with = "screen")]
    pub headless: bool,
    /// Shows all streams as movable rectangles of one window of this size
    #[arg(long, value_name = "WxH", conflicts_with_all = ["record", "check"])]
    pub screen: Option<Size>,
    /// Moves videos without leases, which leaves stray lines: to show that the tests would see them
    #[arg(long, hide = true, requires = "screen")]
    pub naive_moves: bool,
    /// Where `spine-video move` finds this screen
    #[arg(long, value_name = "PATH", default_value = CONTROL)]
    pub control: PathBuf,
    /// Ends when so many frames of every stream were shown
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Ends after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Writes the last frame as PNG at the end (of several streams: with the port before the extension)
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,
    /// Records the frames shown as y4m (of several streams: with the port before the extension)
    #[arg(long, value_name = "FILE.y4m")]
    pub record: Option<PathBuf>,
    /// Frames a second that a recording is played at
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub record_rate: u32,
    /// Counts frames shown that are torn, by the numbers in the test pattern's lines
    #[arg(long)]
    pub check: bool,
    /// Prints the statistics as one JSON object at the end
    #[arg(long)]
    pub json: bool,
    /// How packets reach the adapter
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub backend: BackendChoice,
    /// How packets reach the adapter by AF_XDP: auto, native, zero-copy, copy or generic. Some cards are faster
    /// with copies
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub xdp_mode: Mode,
    /// Also forwards packets between --iface and this interface, as spine-router does; repeat it for several
    #[arg(long, value_name = "NAME")]
    pub router: Vec<String>,
    /// Shows streams although rules of the host's firewall may drop them, and says which
    #[arg(long)]
    pub bypass_kernel_policy: bool,
    /// The core that the adapter runs on (default: any)
    #[arg(long, value_name = "N")]
    pub core: Option<usize>,
}

/// Where a screen is found if nothing else is said.
pub const CONTROL: &str = "/run/spine-video.sock";

impl Receive {
    /// The streams that were named, at least one, all receivable.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn streams(&self) -> Result<Vec<Stream>, Misuse> {
        let mut streams = Vec::new();
        if let (Some(port), Some(format), Some(size)) = (self.port, self.format, self.size) {
            let short = Short { port, format, size, address: self.address, source: self.source };
            streams.push(self.complete(short));
        }
        streams.extend(self.streams.iter().map(|short| self.complete(*short)));
        for file in &self.sdp {
            streams.extend(read_description(file)?.into_iter().map(|stream| self.recolour(stream)));
        }
        if streams.is_empty() {
            return misuse(
                "name a stream: --port, --format and --size, or --stream, or --sdp (see --help)",
            );
        }
        if streams.len() > STREAMS {
            return misuse(format!("{} streams, and {STREAMS} can be received", streams.len()));
        }
        for (index, stream) in streams.iter().enumerate() {
            stream.check().map_err(|wrong| Misuse(format!("stream {stream}: {wrong}")))?;
            let meets = |other: &Stream| {
                other.port == stream.port
                    && (other.address == stream.address
                        || other.address.is_none()
                        || stream.address.is_none())
            };
            if streams[..index].iter().any(meets) {
                return misuse(format!("port {} is named twice", stream.port));
            }
        }
        Ok(streams)
    }

    fn complete(&self, short: Short) -> Stream {
        let Short { port, format, size, address, source } = short;
        self.recolour(Stream {
            port,
            address: address.filter(|address| !address.is_unspecified()),
            source,
            payload_type: None,
            format,
            size,
            colorimetry: Colorimetry::usual(size.height()),
            range: Range::Narrow,
        })
    }

    fn recolour(&self, stream: Stream) -> Stream {
        Stream {
            colorimetry: self.colorimetry.unwrap_or(stream.colorimetry),
            range: self.range.unwrap_or(stream.range),
            ..stream
        }
    }
}

/// A description from a file, or from standard input.
fn read_description(file: &Path) -> Result<Vec<Stream>, Misuse> {
    /// Descriptions have some hundred bytes; whatever is larger is something else.
    const MOST: u64 = 1 << 20;
    let name = file.display();
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MOST).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(MOST).read_to_end(&mut text))
    };
    read.map_err(|error| Misuse(format!("cannot read {name}: {error}")))?;
    sdp::parse(&text).map_err(|error| Misuse(format!("{name}: {error}")))
}

/// What sending is told.
#[derive(Debug, Args)]
pub struct Send {
    /// A file that ffmpeg or GStreamer decodes, or `test-pattern`
    #[arg(value_name = "FILE|test-pattern")]
    pub source: PathBuf,
    /// Where to
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub to: SocketAddrV4,
    /// BGRA, RGB, UYVY or UYVP
    #[arg(long, value_name = "FORMAT", default_value = "UYVY")]
    pub format: Format,
    /// Pixels and lines
    #[arg(long, value_name = "WxH", default_value = "1280x720")]
    pub size: Size,
    /// Frames a second
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub fps: u32,
    /// Ends after so many frames (default: at the end of the file, or never)
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Ends after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Leaves out packets with this probability
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub drop: f64,
    /// Sends packets twice with this probability
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub duplicate: f64,
    /// Sends packets later than their turn with this probability
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub reorder: f64,
    /// The same faults again for the same number
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// The interface that packets to a group leave by
    #[arg(long, value_name = "NAME")]
    pub multicast_iface: Option<String>,
    /// Bytes of a packet's UDP payload at most; above 1472, Ethernet cuts it into IP fragments
    #[arg(long, value_name = "N", default_value = "1400", value_parser = clap::value_parser!(u16).range(64..=65507))]
    pub packet_bytes: u16,
    /// The matrix of YCbCr (default: 709 from 720 lines on)
    #[arg(long, value_enum)]
    pub colorimetry: Option<Colorimetry>,
    /// The range of YCbCr
    #[arg(long, value_enum, default_value = "narrow")]
    pub range: Range,
    /// Writes the session description for receivers; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub sdp: Option<PathBuf>,
    /// Prints what was sent as one JSON object
    #[arg(long)]
    pub json: bool,
}

const _: () = assert!(Packetiser::LONGEST < u16::MAX as usize);

impl Send {
    /// All that the sender needs.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn options(&self) -> Result<send::Options, Misuse> {
        self.size.check(self.format).map_err(Misuse)?;
        if self.to.port() == 0 || self.to.ip().is_unspecified() {
            return misuse(format!("{} is no place to send to", self.to));
        }
        let source = match self.source.to_str() {
            Some("test-pattern") => send::Source::Pattern,
            _ => send::Source::File(self.source.clone()),
        };
        let by_time = self.duration.map(|duration| {
            // Positive and far below 2^52, by the parsers.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "see above"
            )]
            let frames = (duration.as_secs_f64() * f64::from(self.fps)).ceil() as u64;
            frames.max(1)
        });
        Ok(send::Options {
            source,
            target: Target { address: self.to, group_interface: self.multicast_iface.clone() },
            wanted: Wanted {
                format: self.format,
                size: self.size,
                rate: self.fps,
                colorimetry: self.colorimetry(),
                range: self.range,
            },
            count: self.count.into_iter().chain(by_time).min(),
            faults: Probabilities {
                drop: self.drop,
                duplicate: self.duplicate,
                reorder: self.reorder,
            },
            seed: self.seed,
            packet_bytes: usize::from(self.packet_bytes),
        })
    }

    fn colorimetry(&self) -> Colorimetry {
        self.colorimetry.unwrap_or_else(|| Colorimetry::usual(self.size.height()))
    }

    /// The session description of what is sent.
    pub fn description(&self) -> String {
        let stream = Stream {
            port: self.to.port(),
            address: Some(*self.to.ip()),
            source: None,
            payload_type: Some(Packetiser::PAYLOAD_TYPE),
            format: self.format,
            size: self.size,
            colorimetry: self.colorimetry(),
            range: self.range,
        };
        sdp::describe(&stream, *self.to.ip(), self.fps)
    }
}

/// What moving is told.
#[derive(Debug, Args)]
pub struct Move {
    /// Which video, in the order they were named, from 0
    pub window: usize,
    /// Its left edge on the screen
    pub x: u32,
    /// Its upper edge
    pub y: u32,
    /// Where the screen is found
    #[arg(long, value_name = "PATH", default_value = CONTROL)]
    pub control: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 1e9;
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    if seconds > 0.0 && seconds <= MOST {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text} seconds: take more than none and at most {MOST}"))
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no probability"))?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("{text}: take 0 to 1")) }
}

/// `dir/shot.png` of port 5004 is `dir/shot.5004.png`, if there are several streams.
pub fn file_for(file: &Path, port: u16, several: bool) -> PathBuf {
    if !several {
        return file.to_owned();
    }
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let dot = if extension.is_empty() { "" } else { "." };
    file.with_extension(format!("{port}{dot}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("spine-video").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    fn streams(line: &str) -> Result<Vec<Stream>, String> {
        parse(line)?.receive.streams().map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_stream_and_several_are_understood() {
        let one = streams("--iface eth1 --port 5004 --format bgra --size 1280x720").unwrap();
        assert_eq!(one[0].to_string(), "5004 BGRA 1280x720");
        assert_eq!(one[0].colorimetry, Colorimetry::Bt709);
        let many = streams(
            "--iface eth1 --stream 1:RGB:2x2 --stream 2:UYVY:640x480@239.0.0.1/10.0.0.1 --colorimetry 709",
        )
        .unwrap();
        assert_eq!(many.len(), 2);
        assert_eq!(many[1].colorimetry, Colorimetry::Bt709, "as asked");
        assert_eq!(many[1].source, Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn bad_use_is_named() {
        for (line, sentence) in [
            ("--iface a", "name a stream"),
            ("--iface a --port 5004", "--format"),
            ("--port 5004 --format RGB --size 2x2", "--iface"),
            ("--iface a --stream 0:RGB:2x2", "port 0"),
            ("--iface a --stream 1:UYVY:3x2", "must be even"),
            ("--iface a --stream 1:RGB:2x2 --stream 1:RGB:2x2@1.2.3.4", "named twice"),
            ("--iface a --sdp /nowhere", "cannot read /nowhere"),
            ("--iface a --stream 1:RGB:2x2 --headless --screen 9x9", "cannot be used with"),
            ("--iface a --stream 1:RGB:2x2 --duration 0", "more than none"),
        ] {
            let error = streams(line).unwrap_err();
            assert!(error.contains(sentence), "{line}: {error}");
        }
    }

    #[test]
    fn sending_is_understood_and_its_description_is_what_a_receiver_reads() {
        let line = "send test-pattern --to 239.1.1.1:5004 --format UYVP --size 640x480 --fps 25 \
                    --duration 2 --drop 0.01";
        let Some(Command::Send(send)) = parse(line).unwrap().command else { panic!("{line}") };
        let options = send.options().unwrap();
        assert_eq!(options.source, send::Source::Pattern);
        assert_eq!(options.count, Some(50));
        let read = sdp::parse(send.description().as_bytes()).unwrap();
        assert_eq!(read[0].to_string(), "239.1.1.1:5004 UYVP 640x480");
        for wrong in ["--to 1.2.3.4:0", "--to 1.2.3.4:5 --size 3x2", "--to 1.2.3.4:5 --drop 2"] {
            let line = format!("send x {wrong}");
            let refused = parse(&line).map(|cli| match cli.command {
                Some(Command::Send(send)) => send.options().is_err(),
                _ => false,
            });
            assert!(refused.unwrap_or(true), "{wrong}");
        }
    }

    #[test]
    fn several_streams_have_several_files() {
        let file = Path::new("a/shot.png");
        assert_eq!(file_for(file, 5004, false), file);
        assert_eq!(file_for(file, 5004, true), Path::new("a/shot.5004.png"));
        assert_eq!(file_for(Path::new("shot"), 1, true), Path::new("shot.1"));
    }
}
