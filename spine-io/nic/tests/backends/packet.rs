//! What only AF_PACKET does: VLAN tags, filters, interfaces that are not Ethernet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::packet::{FilterInstruction, PacketNic};

use crate::netns::{self, ip, veth};
use crate::pairs::packet_station;
use crate::station::{mac, packet};

/// Receives until there are `count` packets, or for two seconds.
fn receive(nic: &mut PacketNic, count: usize) -> Vec<Frame> {
    let mut received = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(2);
    while received.len() < count && Instant::now() < deadline {
        nic.receive(&mut received, 64);
    }
    received
}

#[test]
fn a_vlan_tag_the_kernel_took_off_is_put_back() {
    netns::run(|| {
        veth("left", "right", 0);
        let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).unwrap();
        let mut nic = PacketNic::open("right", Arc::clone(&memory)).unwrap();
        nic.refill(&mut dealt[0]);
        let plain = packet(mac(0), mac(1), 100, 1);
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x20, 0x07]);
        packet_station("left", 2048).send(&[tagged.clone(), plain.clone()]);
        let received = receive(&mut nic, 2);
        let packets: Vec<_> = received.iter().map(|frame| memory.packet(frame)).collect();
        assert_eq!(packets, [tagged, plain]);
    });
}

#[test]
fn a_filter_decides_what_is_received() {
    netns::run(|| {
        veth("left", "right", 0);
        let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).unwrap();
        let mut nic = PacketNic::open("right", Arc::clone(&memory)).unwrap();
        nic.refill(&mut dealt[0]);
        // The tests' tag is the second byte of the IPv4 identification: accept 5 alone.
        let instruction = |code, jt, jf, k| FilterInstruction { code, jt, jf, k };
        nic.set_filter(&[
            instruction(0x30, 0, 0, 19),
            instruction(0x15, 0, 1, 5),
            instruction(0x06, 0, 0, u32::MAX),
            instruction(0x06, 0, 0, 0),
        ])
        .unwrap();
        let sent: Vec<_> = (0..10).map(|tag| packet(mac(0), mac(1), 60, tag)).collect();
        packet_station("left", 2048).send(&sent);
        let received = receive(&mut nic, 1);
        let packets: Vec<_> = received.iter().map(|frame| memory.packet(frame)).collect();
        assert_eq!(packets, [&sent[5][..]]);
        assert!(nic.set_filter(&[instruction(0xffff, 0, 0, 0)]).is_err());
    });
}

#[test]
fn bad_use_is_one_sentence() {
    netns::run(|| {
        let (memory, _) = FrameMemory::anonymous(1, 2048, 1).unwrap();
        let refusal =
            |name| PacketNic::open(name, Arc::clone(&memory)).expect_err("bad use").to_string();
        assert_eq!(refusal("nowhere"), "there is no interface nowhere");
        if !std::path::Path::new("/dev/net/tun").exists() {
            eprintln!("skipped: an interface without Ethernet needs /dev/net/tun");
            return;
        }
        ip("tuntap add name flat mode tun");
        assert_eq!(refusal("flat"), "flat is not an Ethernet interface");
    });
}
