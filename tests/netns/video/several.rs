//! Several streams at once, and streams to groups.

use std::time::Duration;

use spine_tests::need_namespaces;
use spine_tests::video::{Receiver, finish_sending, send, start_sending};

use crate::video::{ADDRESS, INTERFACE, SENDER, net};

#[test]
fn four_streams_of_four_formats_lose_nothing() {
    let _alone = need_namespaces!();
    let net = net();
    let formats = [(5004, "BGRA"), (5006, "RGB"), (5008, "UYVY"), (5010, "UYVP")];
    let streams = formats.map(|(port, format)| format!("--stream {port}:{format}:320x240"));
    let options = format!("--iface {INTERFACE} --check {}", streams.join(" "));
    let receiver = Receiver::headless(net.router(), &options);
    let senders = formats.map(|(port, format)| {
        let options = format!(
            "test-pattern --to {ADDRESS}:{port} --format {format} --size 320x240 --fps 30 --count 60"
        );
        start_sending(net.host("sender"), &options)
    });
    let sent: u64 = senders.map(|sender| finish_sending(sender).count("packets")).into_iter().sum();
    std::thread::sleep(Duration::from_millis(200));
    let statistics = receiver.stop();
    assert_eq!(statistics.count("packets"), sent, "{statistics:?}");
    assert_eq!(statistics.streams().len(), 4);
    for stream in statistics.streams() {
        assert_eq!(stream.count("frames_complete"), 60, "{stream:?}");
        assert_eq!(stream.count("packets_lost"), 0, "{stream:?}");
        assert_eq!(stream.count("frames_torn"), 0, "{stream:?}");
        assert_eq!(stream.count("frames_unstamped"), 0, "{stream:?}");
    }
}

#[test]
fn a_group_is_joined_and_its_stream_is_shown() {
    let _alone = need_namespaces!();
    let net = net();
    for (group, source) in [("239.77.0.1", ""), ("232.77.0.1", SENDER)] {
        let named = if source.is_empty() { String::new() } else { format!("--source {source}") };
        let receiver = Receiver::headless(
            net.router(),
            &format!(
                "--iface {INTERFACE} --port 5004 --format RGB --size 320x240 --address {group} {named}"
            ),
        );
        let joined = net.router().ip(&format!("maddress show dev {INTERFACE}"));
        assert!(joined.contains(group), "the kernel has not joined {group}: {joined}");
        send(
            net.host("sender"),
            &format!(
                "test-pattern --to {group}:5004 --format RGB --size 320x240 --fps 30 --count 15 \
                 --multicast-iface eth"
            ),
        );
        std::thread::sleep(Duration::from_millis(200));
        let statistics = receiver.stop();
        assert_eq!(statistics.count("frames_complete"), 15, "{statistics:?}");
        let joined = net.router().ip(&format!("maddress show dev {INTERFACE}"));
        assert!(!joined.contains(group), "{group} is still joined: {joined}");
    }
}

#[test]
fn only_the_named_source_of_a_group_is_shown() {
    let _alone = need_namespaces!();
    let net = net();
    let mut receiver = Receiver::headless(
        net.router(),
        &format!(
            "--iface {INTERFACE} --port 5004 --format RGB --size 320x240 --address 232.77.0.1 \
             --source 10.9.1.77"
        ),
    );
    let options =
        "test-pattern --to 232.77.0.1:5004 --format RGB --size 320x240 --fps 10 --count 40";
    let sender = start_sending(net.host("sender"), &format!("{options} --multicast-iface eth"));
    receiver.wait_for("another address than --source says", Duration::from_secs(8));
    drop(sender);
    assert_eq!(receiver.stop().count("frames_complete"), 0);
}
