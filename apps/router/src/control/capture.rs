//! Shows packets: what the adapters receive, send, drop and give to the kernel, as pcapng, to one client at a time.
//!
//! A thread of its own takes packets from the [taps](spine_nic::layer::tap) and writes them to the client's socket, so neither the
//! adapters nor the loop wait for a client. What it does not read in time is lost to it and counted; after [`STALLED`] without
//! reading it is gone. A packet that is received and dropped is there twice, the second time with the reason as its comment.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pcap_file::DataLink;
use pcap_file::PcapError;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use spine_nic::End;
use spine_nic::layer::capture::wall_clock;
use spine_nic::layer::tap::{Fate, Shown as Packet, TapReader, TapSwitch};

use super::asks::{Answer, Shown};
use super::connection;

/// How long a client may read nothing.
const STALLED: Duration = Duration::from_secs(10);
/// How long a client may take to read the rest when the router ends.
const LEAVE: Duration = Duration::from_millis(500);
/// How long, in milliseconds, the thread sleeps when there is nothing to show: the rings have to last that long.
const NAP: u8 = 5;
/// Bytes that may wait for the thread, for each interface.
const RING_BYTES: usize = 8 << 20;
/// Bytes of a piece, about.
const PIECE: usize = 128 << 10;
/// pcapng's direction of a packet.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Timestamps in nanoseconds: ten to the minus ninth.
const NANOSECONDS: u8 = 9;

/// The taps of these interfaces, or of all.
///
/// # Errors
/// A sentence.
pub(super) fn choose(
    taps: &[TapSwitch],
    wanted: &[String],
    names: &[String],
) -> Result<Vec<TapSwitch>, String> {
    if taps.is_empty() {
        return Err("the adapters are spined's: it shows no packets to the router".to_owned());
    }
    if wanted.is_empty() {
        return Ok(taps.to_vec());
    }
    let find = |name: &String| {
        let tap = taps.iter().find(|tap| tap.name() == name);
        tap.cloned().ok_or_else(|| {
            format!("{name} is none of the router's interfaces, which are {}", names.join(", "))
        })
    };
    wanted.iter().map(find).collect()
}

/// A client to whom packets are shown.
pub(super) struct Session {
    /// To end it from here.
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Begins to show packets.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn begin(
        stream: UnixStream,
        taps: &[TapSwitch],
        snap_bytes: usize,
    ) -> io::Result<Self> {
        let ours = stream.try_clone()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STALLED))?;
        let readers: Vec<TapReader> =
            taps.iter().map(|tap| tap.open(snap_bytes, RING_BYTES)).collect();
        let body = move || {
            // Whoever is gone needs no answer.
            if let Err(error) = show(stream, readers) {
                tracing::info!(%error, "packets are shown no more");
            }
        };
        let thread = std::thread::Builder::new().name("spine-capture".to_owned()).spawn(body)?;
        Ok(Self { stream: ours, thread: Some(thread) })
    }

    /// Whether the client is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // The thread takes it for the client's end, and says what it came to; one that waits for a client is not waited for.
        let _ = self.stream.shutdown(Shutdown::Read);
        let deadline = Instant::now() + LEAVE;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(NAP.into()));
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

/// Shows packets until the client has enough, or is gone.
fn show(mut stream: UnixStream, mut readers: Vec<TapReader>) -> io::Result<()> {
    let names = readers.iter().map(|reader| reader.name().to_owned()).collect();
    stream.write_all(&connection::line(&Answer::Capture(names)))?;
    let mut writer = PcapNgWriter::new(Vec::new()).map_err(into_io_error)?;
    for reader in &readers {
        writer.write_block(&description(reader.name()).into_block()).map_err(into_io_error)?;
    }
    let mut shown = Shown::default();
    let mut missed = vec![0; readers.len()];
    loop {
        // Looked at before the rings: what came before the client had enough is shown to it.
        let enough = has_enough(&stream, writer.get_ref().is_empty())?;
        let mut found = 0;
        for (interface, reader) in (0_u32..).zip(&mut readers) {
            while writer.get_ref().len() < PIECE
                && let Some(packet) = reader.take()
            {
                found += 1;
                writer
                    .write_block(&block(interface, packet).into_block())
                    .map_err(into_io_error)?;
            }
        }
        shown.packets += found;
        send(&mut stream, writer.get_mut())?;
        if enough && found == 0 {
            break;
        }
    }
    for ((interface, reader), missed) in (0_u32..).zip(&readers).zip(&mut missed) {
        *missed = reader.missed();
        shown.missed += *missed;
        writer.write_block(&statistics(interface, *missed).into_block()).map_err(into_io_error)?;
    }
    send(&mut stream, writer.get_mut())?;
    stream.write_all(&0_u32.to_le_bytes())?;
    let mut line = serde_json::to_vec(&shown)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn into_io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// Sends what is written so far as a piece.
fn send(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(bytes)?;
    bytes.clear();
    Ok(())
}

/// Whether the client has shut down its side, or is gone; sleeps a moment where `nap` says so.
fn has_enough(stream: &UnixStream, nap: bool) -> io::Result<bool> {
    let timeout = if nap { PollTimeout::from(NAP) } else { PollTimeout::ZERO };
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        // A client that shows packets has nothing to say but that it has enough.
        Ok(_) => Ok(fds[0].any().unwrap_or(true)),
        Err(nix::Error::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn description(name: &str) -> InterfaceDescriptionBlock<'_> {
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    }
}

fn block(interface: u32, packet: Packet) -> EnhancedPacketBlock<'static> {
    let Packet { time, fate, length, bytes } = packet;
    let direction = if fate == Fate::Sent { OUTBOUND } else { INBOUND };
    let mut options = vec![EnhancedPacketOption::Flags(direction)];
    let comment = match fate {
        Fate::Received | Fate::Sent => None,
        Fate::Ended(End::Dropped(reason)) => Some(format!("dropped: {}", reason.name())),
        Fate::Ended(End::ToKernel(reason)) => {
            Some(format!("given to the kernel: {}", reason.name()))
        }
    };
    options.extend(comment.map(|comment| EnhancedPacketOption::Comment(Cow::Owned(comment))));
    EnhancedPacketBlock {
        interface_id: interface,
        timestamp: time,
        original_len: length,
        data: Cow::Owned(bytes),
        options,
    }
}

fn statistics(interface: u32, missed: u64) -> InterfaceStatisticsBlock<'static> {
    let now = u64::try_from(wall_clock().as_nanos()).unwrap_or(u64::MAX);
    InterfaceStatisticsBlock {
        interface_id: interface,
        // The format has the upper half first, and the library writes a number of 64 bits as the machine has it.
        timestamp: if cfg!(target_endian = "little") { now.rotate_left(32) } else { now },
        options: vec![InterfaceStatisticsOption::IsbOsDrop(missed)],
    }
}
