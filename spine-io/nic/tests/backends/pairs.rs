//! The pairs of stations: one function a backend.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use spine_nic::Nic;
use spine_nic::buffer::FrameMemory;
use spine_nic::layer::capture::{Capture, CaptureOptions, wall_clock};
use spine_nic::loopback::Loopback;
use spine_nic::packet::PacketNic;
use spine_nic::xdp::attach::{AttachMode, Classifier};

use crate::netns::{await_up, ip, veth};
use crate::station::{Station, mac};
use crate::xdp;

/// Two stations on a wire, and what has to live as long.
pub(crate) struct Pair {
    pub(crate) left: Station,
    pub(crate) right: Station,
    /// What the left station's capture is written to.
    capture: Option<CaptureFile>,
    /// The interfaces, where the wire is a veth pair.
    veth: bool,
    _classifier: Option<Classifier>,
}

/// An interface that was put down.
pub(crate) struct Link;

impl Link {
    pub(crate) fn up(self) {
        ip("link set left up");
        await_up("left");
        await_up("right");
    }
}

impl Pair {
    /// The sender and the receiver of packets to this address.
    pub(crate) fn towards(&mut self, to: [u8; 6]) -> (&mut Station, &mut Station) {
        if to == mac(1) {
            (&mut self.left, &mut self.right)
        } else {
            (&mut self.right, &mut self.left)
        }
    }

    /// Puts the left station's interface down, or removes the right station.
    pub(crate) fn cut(&mut self) -> Option<Link> {
        if self.veth {
            ip("link set left down");
            return Some(Link);
        }
        self.right = loopback_station(2048, "unused").0;
        None
    }

    /// Takes the wire away for good.
    pub(crate) fn remove(&mut self) {
        if self.veth {
            ip("link del left");
        } else {
            self.cut();
        }
    }

    /// A station in the right one's place whose frames are larger than the left one's.
    pub(crate) fn with_large_frames(&mut self) -> Station {
        if self.veth {
            return packet_station("right", 4096);
        }
        let (left, right) = loopback_pair(2048, 4096, path_of(&self.capture));
        self.left = left;
        right
    }

    /// Checks that the capture, if there is one, has this many packets of the tests', in order of time.
    pub(crate) fn check_capture(self, count: usize) {
        let Some(path) = self.capture else { return };
        // The capture ends, and is written, with its backend.
        drop(self.left);
        let file = std::fs::File::open(&path.0).unwrap();
        let mut reader = PcapReader::new(file).unwrap();
        let mut times = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            assert_eq!(packet.orig_len as usize, packet.data.len());
            if packet.data.get(26..30) == Some(&[192, 0, 2, 1]) {
                times.push(packet.timestamp);
            }
        }
        assert_eq!(times.len(), count);
        assert!(times.is_sorted());
        let age = wall_clock().saturating_sub(times[0]);
        assert!(age < Duration::from_secs(60), "{age:?}");
    }
}

/// A file for a capture that no other test uses, removed with the pair.
struct CaptureFile(PathBuf);

impl CaptureFile {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("spine-nic-{}-{number}.pcap", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for CaptureFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn path_of(file: &Option<CaptureFile>) -> Option<&Path> {
    file.as_ref().map(|file| file.0.as_path())
}

/// Stacks a capture on a backend, if there is a file for it.
fn stack<N: Nic + 'static>(nic: N, memory: &Arc<FrameMemory>, file: Option<&Path>) -> Box<dyn Nic> {
    let Some(file) = file else { return Box::new(nic) };
    let options = CaptureOptions::default();
    Box::new(Capture::new(nic, Arc::clone(memory), file, options, wall_clock).unwrap())
}

fn loopback_pair(left: usize, right: usize, file: Option<&Path>) -> (Station, Station) {
    let (left_memory, mut left_frames) = FrameMemory::anonymous(512, left, 1).unwrap();
    let (right_memory, mut right_frames) = FrameMemory::anonymous(512, right, 1).unwrap();
    let (left_end, right_end) = Loopback::pair(
        ("left", Arc::clone(&left_memory)),
        ("right", Arc::clone(&right_memory)),
        64,
    )
    .unwrap();
    let left_end = stack(left_end, &left_memory, file);
    (
        Station::new(left_end, left_memory, left_frames.remove(0)),
        Station::new(Box::new(right_end), right_memory, right_frames.remove(0)),
    )
}

fn loopback_station(bytes: usize, name: &str) -> (Station, spine_nic::loopback::Wire) {
    let (memory, mut frames) = FrameMemory::anonymous(512, bytes, 1).unwrap();
    let (end, wire) = Loopback::wire(name, Arc::clone(&memory), 128).unwrap();
    (Station::new(Box::new(end), memory, frames.remove(0)), wire)
}

pub(crate) fn packet_station(interface: &str, bytes: usize) -> Station {
    let (memory, mut frames) = FrameMemory::anonymous(512, bytes, 1).unwrap();
    let nic = PacketNic::open(interface, Arc::clone(&memory)).unwrap();
    Station::new(Box::new(nic), memory, frames.remove(0))
}

pub(crate) fn loopback() -> Pair {
    let (left, right) = loopback_pair(2048, 2048, None);
    Pair { left, right, capture: None, veth: false, _classifier: None }
}

pub(crate) fn captured_loopback() -> Pair {
    let file = CaptureFile::new();
    let (left, right) = loopback_pair(2048, 2048, Some(&file.0));
    Pair { left, right, capture: Some(file), veth: false, _classifier: None }
}

fn packet_pair(file: Option<CaptureFile>) -> Pair {
    veth("left", "right", 0);
    let (memory, mut frames) = FrameMemory::anonymous(512, 2048, 1).unwrap();
    let nic = PacketNic::open("left", Arc::clone(&memory)).unwrap();
    let nic = stack(nic, &memory, path_of(&file));
    let left = Station::new(nic, memory, frames.remove(0));
    assert_eq!(left.mode(), "af_packet");
    let right = packet_station("right", 2048);
    Pair { left, right, capture: file, veth: true, _classifier: None }
}

pub(crate) fn af_packet() -> Pair {
    packet_pair(None)
}

pub(crate) fn captured_af_packet() -> Pair {
    packet_pair(Some(CaptureFile::new()))
}

fn xdp_pair(mode: AttachMode, file: Option<CaptureFile>) -> Pair {
    veth("left", "right", 0);
    let (classifier, memory, stations) = xdp::bind(&["left", "right"], mode);
    let mut stations = stations.into_iter();
    let (left, left_frames) = stations.next().unwrap();
    let (right, right_frames) = stations.next().unwrap();
    let left = Station::new(stack(left, &memory, path_of(&file)), Arc::clone(&memory), left_frames);
    let right = Station::new(Box::new(right), memory, right_frames);
    let expected = match mode {
        AttachMode::Native => "af_xdp copy",
        AttachMode::Generic => "af_xdp generic",
    };
    assert_eq!((left.mode(), right.mode()), (expected, expected));
    Pair { left, right, capture: file, veth: true, _classifier: Some(classifier) }
}

pub(crate) fn af_xdp_native() -> Pair {
    xdp_pair(AttachMode::Native, None)
}

pub(crate) fn af_xdp_generic() -> Pair {
    xdp_pair(AttachMode::Generic, None)
}

pub(crate) fn captured_af_xdp() -> Pair {
    xdp_pair(AttachMode::Native, Some(CaptureFile::new()))
}

/// The left station has AF_PACKET, the right one AF_XDP.
pub(crate) fn af_packet_to_af_xdp() -> Pair {
    veth("left", "right", 0);
    let (classifier, memory, mut stations) = xdp::bind(&["right"], AttachMode::Native);
    let (right, frames) = stations.remove(0);
    let right = Station::new(Box::new(right), memory, frames);
    let left = packet_station("left", 2048);
    Pair { left, right, capture: None, veth: true, _classifier: Some(classifier) }
}
