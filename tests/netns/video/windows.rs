//! Windows on an X server, looked at by a screenshot of the server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use spine_tests::process::Running;
use spine_tests::video::{Display, Receiver, finish_sending, start_sending};
use spine_tests::{need_namespaces, need_programs};

use crate::video::pixels::Format;
use crate::video::{ADDRESS, INTERFACE, net};

/// One picture of GStreamer's pattern, as raw BGRA.
pub(crate) fn reference(file: &Path) -> Vec<u8> {
    let mut command = Command::new("gst-launch-1.0");
    let location = format!("location={}", file.display());
    command.args("-q videotestsrc pattern=circular num-buffers=1 !".split(' '));
    command.args(["video/x-raw,format=BGRA,width=640,height=480", "!", "filesink", &location]);
    Running::start(command).finish(Duration::from_secs(20)).expect_success("gst-launch-1.0");
    std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn the_screen_shows_what_gstreamer_sent() {
    let _alone = need_namespaces!();
    need_programs!("gst-launch-1.0", "ffmpeg", "Xvfb");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    let raw = reference(&folder.path().join("reference"));
    // As large as the window, which is then all of it.
    let display = Display::start(640, 480);
    let receiver = Receiver::on_display(
        net.router(),
        &display,
        &format!("--iface {INTERFACE} --port 5004 --format BGRA --size 640x480"),
    );
    let sender = net.host("sender").spawn(&format!(
        "gst-launch-1.0 -q videotestsrc pattern=circular is-live=true num-buffers=600 ! \
         video/x-raw,format=BGRA,width=640,height=480,framerate=30/1 ! rtpvrawpay mtu=1400 ! \
         udpsink host={ADDRESS} port=5004"
    ));
    let start = Instant::now();
    while let Err(different) = Format::Bgra.check(&display.picture(640, 480), &raw) {
        assert!(start.elapsed() < Duration::from_secs(9), "the screen: {different}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let statistics = receiver.stop();
    drop(sender);
    assert_eq!(statistics.text("presented"), "MIT-SHM");
    assert!(statistics.count("frames_shown") > 0, "{statistics:?}");
}

#[test]
fn four_windows_show_four_streams_at_once() {
    let _alone = need_namespaces!();
    need_programs!("Xvfb");
    let net = net();
    let display = Display::start(1300, 1000);
    let ports = [5004, 5006, 5008, 5010];
    let streams = ports.map(|port| format!("--stream {port}:UYVY:640x480"));
    let options = format!("--iface {INTERFACE} --check {}", streams.join(" "));
    let receiver = Receiver::on_display(net.router(), &display, &options);
    let senders = ports.map(|port| {
        let options = format!(
            "test-pattern --to {ADDRESS}:{port} --format UYVY --size 640x480 --fps 30 --count 60"
        );
        start_sending(net.host("sender"), &options)
    });
    senders.into_iter().for_each(|sender| drop(finish_sending(sender)));
    std::thread::sleep(Duration::from_millis(200));
    let statistics = receiver.stop();
    for stream in statistics.streams() {
        assert_eq!(stream.count("frames_complete"), 60, "{statistics:?}");
        assert_eq!(stream.count("packets_lost"), 0, "{stream:?}");
        assert_eq!(stream.count("frames_torn"), 0, "{stream:?}");
        // On a machine that does something else, too, some are overwritten.
        assert!(stream.count("frames_shown") >= 30, "{stream:?}");
    }
}
