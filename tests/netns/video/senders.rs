//! Frames of GStreamer and ffmpeg, byte by byte what was sent.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use spine_tests::process::Running;
use spine_tests::video::{Receiver, read_png};
use spine_tests::{Topology, need_namespaces, need_programs};

use crate::video::pixels::Format;
use crate::video::{ADDRESS, INTERFACE, net};

const SIZE: &str = "640x480";

/// What a program writes into a file.
fn reference(program: &str, arguments: &str, file: &Path) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    Running::start(command).finish(Duration::from_secs(20)).expect_success(program);
    std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Receives some frames of a sender, and compares the last one with the reference.
fn compare(net: &Topology, format: Format, sender: &str, raw: &[u8], folder: &Path) {
    let shot = folder.join(format!("{}.png", format.name()));
    let receiver = Receiver::headless(
        net.router(),
        &format!(
            "--iface {INTERFACE} --port 5004 --format {} --size {SIZE} --colorimetry 601 --range narrow \
             --frames 4 --duration 10 --screenshot {}",
            format.name(),
            shot.display()
        ),
    );
    let sending = net.host("sender").spawn(sender);
    let statistics = receiver.finish(Duration::from_secs(14));
    drop(sending);
    assert!(statistics.count("frames_shown") >= 4, "{format:?}: {statistics:?}");
    if let Err(different) = format.check(&read_png(&shot), raw) {
        panic!("{format:?}: {different}; {statistics:?}");
    }
    assert_eq!(statistics.count("packets_malformed"), 0, "{statistics:?}");
    assert_eq!(statistics.count("packets_out_of_picture"), 0, "{statistics:?}");
}

#[test]
fn frames_from_gstreamer_are_what_was_sent() {
    let _alone = need_namespaces!();
    need_programs!("gst-launch-1.0");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    for format in Format::ALL {
        let caps = format!(
            "videotestsrc pattern=circular num-buffers=NUMBER is-live=LIVE ! \
             video/x-raw,format={},width=640,height=480,framerate=30/1",
            format.name()
        );
        let file = folder.path().join("reference");
        let once = caps.replace("NUMBER", "1").replace("LIVE", "false");
        let write = format!("-q {once} ! filesink location={}", file.display());
        let raw = reference("gst-launch-1.0", &write, &file);
        let live = caps.replace("NUMBER", "300").replace("LIVE", "true");
        let sender = format!(
            "gst-launch-1.0 -q {live} ! rtpvrawpay mtu=1400 pt=96 ! udpsink host={ADDRESS} port=5004"
        );
        compare(&net, format, &sender, &raw, folder.path());
    }
}

#[test]
fn frames_from_ffmpeg_are_what_was_sent() {
    let _alone = need_namespaces!();
    need_programs!("ffmpeg");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    for (format, encoder) in [
        (Format::Uyvy, "-c:v rawvideo -pix_fmt uyvy422"),
        (Format::Rgb, "-c:v rawvideo -pix_fmt rgb24"),
        (Format::Uyvp, "-c:v bitpacked -pix_fmt yuv422p10le"),
    ] {
        let bars = format!("-f lavfi -i smptebars=size={SIZE}:rate=30");
        let file = folder.path().join("reference");
        let write = format!(
            "-y -nostdin -loglevel error {bars} -frames:v 1 {encoder} -f rawvideo {}",
            file.display()
        );
        let raw = reference("ffmpeg", &write, &file);
        let sender = format!(
            "ffmpeg -nostdin -loglevel error -re {bars} -t 10 {encoder} -f rtp -rtpflags skip_rtcp \
             rtp://{ADDRESS}:5004?pkt_size=1400"
        );
        compare(&net, format, &sender, &raw, folder.path());
    }
}

#[test]
fn a_description_that_ffmpeg_writes_is_enough() {
    let _alone = need_namespaces!();
    need_programs!("ffmpeg");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    let sdp = folder.path().join("video.sdp");
    let sender = net.host("sender").spawn(&format!(
        "ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc=size=320x240:rate=25 -t 10 -c:v rawvideo \
         -pix_fmt uyvy422 -f rtp -rtpflags skip_rtcp -sdp_file {} rtp://{ADDRESS}:5006?pkt_size=1400",
        sdp.display()
    ));
    let start = std::time::Instant::now();
    while std::fs::metadata(&sdp).map_or(true, |about| about.len() < 100) {
        assert!(start.elapsed() < Duration::from_secs(8), "ffmpeg writes no description");
        std::thread::sleep(Duration::from_millis(20));
    }
    let options = format!("--iface {INTERFACE} --sdp {} --frames 5 --duration 8", sdp.display());
    let statistics = Receiver::headless(net.router(), &options).finish(Duration::from_secs(12));
    drop(sender);
    assert!(statistics.count("frames_shown") >= 5, "{statistics:?}");
}
