//! One set of tests over every backend.
//!
//! Each backend makes a pair of stations on one wire; the behaviours are the same for all. Those that
//! need a network namespace need root, too, and say so when they are skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod netns;
mod packet;
mod pairs;
mod station;
mod xdp;

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pairs::Pair;
use station::{mac, packets};

macro_rules! behaviours {
    ($($name:ident)*) => {
        /// Makes one test of each behaviour for a backend, and runs it in such a place.
        macro_rules! over {
            ($backend:ident, $run:path) => {
                mod $backend {
                    $(#[test]
                    fn $name() {
                        $run(|| super::$name(super::pairs::$backend()));
                    })*
                }
            };
        }
    };
}

behaviours! {
    packets_of_every_size_arrive_intact_and_in_order
    a_burst_larger_than_the_transmit_ring_passes_in_pieces
    a_long_stream_loses_nothing_and_every_frame_comes_home
    a_runt_is_refused_and_its_frame_completes
    a_packet_larger_than_a_frame_is_counted_and_thrown_away
    an_arrival_makes_the_descriptor_readable
    an_interface_that_is_removed_is_reported_and_nothing_spins
    a_wire_that_is_down_is_reported_once_and_leaves_nothing_to_flush
}

over!(loopback, crate::anywhere);
over!(captured_loopback, crate::anywhere);
over!(af_packet, crate::netns::run);
over!(captured_af_packet, crate::netns::run);
over!(af_xdp_native, crate::netns::run);
over!(af_xdp_generic, crate::netns::run);
over!(captured_af_xdp, crate::netns::run);
over!(af_packet_to_af_xdp, crate::netns::run);

/// Runs a test where it stands: memory needs no privileges.
fn anywhere(test: impl FnOnce()) {
    test();
}

fn packets_of_every_size_arrive_intact_and_in_order(mut pair: Pair) {
    let sizes = [42, 60, 61, 63, 64, 65, 127, 128, 129, 590, 1023, 1500, 1513, 1514];
    for (from, to) in [(mac(0), mac(1)), (mac(1), mac(0))] {
        let sent: Vec<_> = sizes.iter().map(|size| station::packet(from, to, *size, 7)).collect();
        let (sender, receiver) = pair.towards(to);
        sender.send(&sent);
        let received = receiver.collect(sent.len());
        assert_eq!(received.len(), sent.len());
        for (received, sent) in received.iter().zip(&sent) {
            assert_eq!(received, sent, "of {} bytes", sent.len());
        }
    }
    pair.check_capture(2 * sizes.len());
}

fn a_burst_larger_than_the_transmit_ring_passes_in_pieces(mut pair: Pair) {
    // Rings of 64 on the way out; the receiver has frames for all of them.
    let sent = packets(mac(0), mac(1), 240, 0);
    let (left, right) = (&mut pair.left, &mut pair.right);
    std::thread::scope(|threads| {
        let received = threads.spawn(|| right.collect(240));
        left.send(&sent);
        assert_eq!(received.join().unwrap(), sent);
    });
    pair.left.settle();
    pair.right.settle();
}

fn a_long_stream_loses_nothing_and_every_frame_comes_home(mut pair: Pair) {
    const BURSTS: usize = 200;
    let before = (pair.left.statistics(), pair.right.statistics());
    for burst in 0..BURSTS {
        let sent = packets(mac(0), mac(1), 48, burst);
        pair.left.send(&sent);
        assert_eq!(pair.right.collect(sent.len()), sent, "burst {burst}");
    }
    pair.left.settle();
    pair.right.settle();
    let after = (pair.left.statistics(), pair.right.statistics());
    let count = (BURSTS * 48) as u64;
    assert_eq!(after.0.transmitted - before.0.transmitted, count);
    assert_eq!(after.0.transmit_failed, 0);
    assert!(after.1.received - before.1.received >= count);
    assert_eq!(after.1.receive_lost, 0);
}

fn a_runt_is_refused_and_its_frame_completes(mut pair: Pair) {
    let good = station::packet(mac(0), mac(1), 60, 1);
    pair.left.send(&[good.clone(), vec![0; 13], Vec::new(), good.clone()]);
    assert_eq!(pair.right.collect(2), [good.clone(), good]);
    pair.left.settle();
    let counted = pair.left.statistics();
    assert_eq!((counted.transmitted, counted.transmit_failed), (2, 2));
}

fn a_packet_larger_than_a_frame_is_counted_and_thrown_away(mut pair: Pair) {
    let (small, large) =
        (station::packet(mac(1), mac(0), 60, 1), station::packet(mac(1), mac(0), 1900, 2));
    let mut sender = pair.with_large_frames();
    sender.send(&[small.clone(), large, small.clone()]);
    assert_eq!(pair.left.collect(2), [small.clone(), small]);
    let counted = pair.left.statistics();
    // AF_XDP does not see such a packet: the kernel counts it.
    assert_eq!(counted.oversized + counted.receive_lost, 1, "{counted:?}");
    pair.left.settle();
}

fn an_arrival_makes_the_descriptor_readable(mut pair: Pair) {
    let sent = [station::packet(mac(0), mac(1), 60, 1)];
    // Whatever the interfaces said when they came up is read first.
    pair.right.drain();
    assert!(!readable(&pair.right, Duration::from_millis(20)));
    pair.left.send(&sent);
    assert!(readable(&pair.right, Duration::from_secs(1)));
    assert_eq!(pair.right.collect(1), sent);
    assert!(!readable(&pair.right, Duration::from_millis(20)));
}

fn readable(station: &station::Station, patience: Duration) -> bool {
    let fd = station.poll_fd();
    let timeout = PollTimeout::try_from(patience).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).unwrap() == 1
}

fn a_wire_that_is_down_is_reported_once_and_leaves_nothing_to_flush(mut pair: Pair) {
    let sent = packets(mac(0), mac(1), 8, 0);
    let link = pair.cut();
    let refusal = pair.left.try_send(&sent).unwrap_err();
    assert_eq!(refusal.raw_os_error(), Some(Errno::ENETDOWN as i32));
    assert_eq!(pair.left.unflushed(), 0, "the loop would spin");
    let Some(link) = link else { return };
    link.up();
    let later = packets(mac(0), mac(1), 8, 1);
    pair.left.send(&later);
    // A backend may have kept what it was given; what it gets now arrives in any case.
    let received = pair.right.collect_until(later.last().unwrap());
    assert!(received.ends_with(&later), "{} of 8 arrived", received.len());
    pair.left.settle();
}

fn an_interface_that_is_removed_is_reported_and_nothing_spins(mut pair: Pair) {
    let sent = packets(mac(0), mac(1), 8, 0);
    pair.left.send(&sent);
    pair.remove();
    for burst in 0..3 {
        let refusal = pair.left.try_send(&packets(mac(0), mac(1), 8, burst)).unwrap_err();
        let gone = [Errno::ENETDOWN, Errno::ENXIO, Errno::ENODEV].map(|errno| errno as i32);
        assert!(gone.contains(&refusal.raw_os_error().unwrap_or(0)), "{refusal}");
        assert_eq!(pair.left.unflushed(), 0, "the loop would spin");
    }
    pair.left.drain();
    assert!(!readable(&pair.left, Duration::from_millis(5)), "an idle adapter would not sleep");
}
