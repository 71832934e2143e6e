//! What goes wrong on the way: loss, duplicates, reordering, fragments, silence, another payload.

use std::time::Duration;

use spine_tests::video::{Receiver, Statistics, send};
use spine_tests::{Topology, need_namespaces};

use crate::video::{ADDRESS, INTERFACE, net};

const STREAM: &str = "--iface sender --port 5004 --format UYVY --size 320x240";

/// Receives what the sender sends with faults: what either says.
fn with_faults(net: &Topology, receive: &str, faults: &str) -> (Statistics, Statistics) {
    let receiver = Receiver::headless(net.router(), &format!("{STREAM} --check {receive}"));
    let sent = send(
        net.host("sender"),
        &format!(
            "test-pattern --to {ADDRESS}:5004 --format UYVY --size 320x240 --fps 30 --count 60 {faults}"
        ),
    );
    std::thread::sleep(Duration::from_millis(200));
    (sent, receiver.stop())
}

#[test]
fn every_frame_that_is_sent_is_shown_whole() {
    let _alone = need_namespaces!();
    for backend in ["xdp", "packet"] {
        let net = net();
        let (sent, received) = with_faults(&net, &format!("--backend {backend}"), "");
        assert_eq!(received.count("packets"), sent.count("packets"), "{received:?}");
        assert_eq!(received.count("frames_complete"), 60, "{received:?}");
        let seen = received.count("frames_shown") + received.count("frames_overwritten");
        assert_eq!(seen, 60, "shown and overwritten are all that were complete: {received:?}");
        assert_eq!(received.count("frames_torn"), 0, "{received:?}");
        assert_eq!(received.count("frames_unstamped"), 0, "{received:?}");
        assert_eq!(received.count("packets_lost") + received.count("adapter_lost"), 0);
        // A closed port would have been answered.
        let icmp = net.host("sender").run("cat /proc/net/snmp");
        let received_icmp = icmp.lines().filter(|line| line.starts_with("Icmp:")).nth(1);
        let messages = received_icmp.and_then(|line| line.split_whitespace().nth(1));
        assert_eq!(messages, Some("0"), "{backend}: the sender heard no ICMP");
    }
}

#[test]
fn lost_packets_are_counted_and_their_frames_are_not_shown() {
    let _alone = need_namespaces!();
    let net = net();
    let (sent, received) = with_faults(&net, "", "--drop 0.002 --seed 5");
    let dropped = sent.count("dropped");
    assert!(dropped > 3, "{sent:?}");
    // What is missing behind the last packet is seen by nobody.
    let lost = received.count("packets_lost");
    assert!(lost <= dropped && lost + 3 >= dropped, "{lost} of {dropped}: {received:?}");
    let (complete, incomplete) =
        (received.count("frames_complete"), received.count("frames_incomplete"));
    assert!(incomplete > 0 && incomplete <= dropped, "{received:?}");
    assert!((59..=60).contains(&(complete + incomplete)), "{received:?}");
    assert_eq!(received.count("frames_dropped"), incomplete, "{received:?}");
    assert_eq!(received.count("frames_torn"), 0, "{received:?}");
}

#[test]
fn incomplete_frames_can_be_repaired() {
    let _alone = need_namespaces!();
    let net = net();
    let (_, received) = with_faults(&net, "--incomplete repair", "--drop 0.002 --seed 5");
    let repaired = received.count("frames_repaired");
    assert!(repaired > 0, "{received:?}");
    let published = received.count("frames_complete") + repaired;
    let seen = received.count("frames_shown") + received.count("frames_overwritten");
    assert_eq!(seen, published, "{received:?}");
}

#[test]
fn reordered_and_doubled_packets_do_no_harm_inside_a_frame() {
    let _alone = need_namespaces!();
    let net = net();
    let (sent, received) = with_faults(&net, "", "--duplicate 0.01 --reorder 0.01 --seed 3");
    assert!(sent.count("reordered") > 20, "{sent:?}");
    // A packet that comes behind the marker of its frame is late: its frame had ended without it.
    let (complete, late) = (received.count("frames_complete"), received.count("packets_late"));
    assert!(complete + received.count("frames_incomplete") == 60, "{received:?}");
    assert!(received.count("frames_incomplete") <= late, "{received:?}");
    assert!(complete >= 50, "{received:?}");
    assert_eq!(received.count("packets_lost"), 0, "{received:?}");
    let doubled = received.count("packets_duplicate");
    assert!(doubled + late >= sent.count("duplicated"), "{sent:?} {received:?}");
    assert_eq!(received.count("frames_torn"), 0, "{received:?}");
}

#[test]
fn silence_and_fragments_are_explained() {
    let _alone = need_namespaces!();
    let net = net();
    let mut receiver = Receiver::headless(net.router(), STREAM);
    receiver.wait_for("no packets on port 5004", Duration::from_secs(6));
    let options =
        "test-pattern --format UYVY --size 320x240 --fps 10 --count 35 --packet-bytes 3000";
    let sender = spine_tests::video::start_sending(
        net.host("sender"),
        &format!("{options} --to {ADDRESS}:5004"),
    );
    receiver.wait_for("mtu=1472", Duration::from_secs(6));
    drop(sender);
    send(
        net.host("sender"),
        &format!(
            "test-pattern --format UYVY --size 320x240 --fps 10 --count 12 --to {ADDRESS}:5004"
        ),
    );
    receiver.wait_for("frames come", Duration::from_secs(6));
    let statistics = receiver.stop();
    assert!(statistics.count("ip_fragments") > 100, "{statistics:?}");
    assert!(statistics.count("frames_complete") > 0, "{statistics:?}");
}

#[test]
fn another_payload_type_is_named() {
    let _alone = need_namespaces!();
    let net = net();
    let folder = tempfile::tempdir().expect("a folder");
    let sdp = folder.path().join("other.sdp");
    let description = format!(
        "v=0\r\no=- 0 0 IN IP4 {ADDRESS}\r\ns=other\r\nc=IN IP4 {ADDRESS}\r\nt=0 0\r\n\
         m=video 5004 RTP/AVP 112\r\na=rtpmap:112 raw/90000\r\n\
         a=fmtp:112 sampling=YCbCr-4:2:2; width=320; height=240; depth=8\r\n"
    );
    std::fs::write(&sdp, description).expect("written");
    let options = format!("--iface {INTERFACE} --sdp {}", sdp.display());
    let mut receiver = Receiver::headless(net.router(), &options);
    let options = "test-pattern --format UYVY --size 320x240 --fps 10 --count 40";
    let sender = spine_tests::video::start_sending(
        net.host("sender"),
        &format!("{options} --to {ADDRESS}:5004"),
    );
    receiver.wait_for("payload type 96, not 112", Duration::from_secs(8));
    drop(sender);
    assert_eq!(receiver.stop().count("frames_complete"), 0);
}
