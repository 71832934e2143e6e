//! Packets written by hand from RFC 3550 and RFC 4175, and what becomes of them.

use std::net::SocketAddrV4;

use spine_packets::frames;
use spine_sdk::testing::{Call, Outcome, fresh, region, scratch, share};
use spine_sdk::{Element, HandlerNumber};

use super::*;
use crate::protocol::{ANY_PAYLOAD_TYPE, Colour, REGION_BYTES, Stream};

const DESTINATION: [u8; 4] = [10, 77, 0, 2];
const SOURCE: [u8; 4] = [10, 77, 0, 1];
/// Where RTP starts in a packet without IP options.
const RTP: usize = 42;

/// A picture of eight pixels by two lines.
const STREAM: Stream = Stream {
    index: 3,
    format: Some(Format::Bgra),
    colour: Colour { bt709: true, full_range: false },
    payload_type: 96,
    port: 5004,
    destination: DESTINATION,
    source: [0; 4],
    width: 8,
    height: 2,
    generation: 1,
};

/// An extension just loaded, with a stream. Answers its counters' region.
fn loaded(stream: Stream) -> Region {
    fresh();
    let counters = region(REGION_BYTES);
    share(counters);
    spine_sdk::testing::initialise(extension::initialise);
    configured(stream);
    counters
}

fn configured(stream: Stream) {
    let bytes = stream.to_bytes();
    let outcome = Call::small(&bytes).handler(CONFIGURE.0).dispatch(extension::dispatch);
    assert_eq!(outcome.verdict, Verdict::Done);
    assert_eq!(outcome.to_host[0].arguments(), bytes);
}

/// An RTP packet, built from its parts.
#[derive(Clone)]
struct Rtp {
    flags: u8,
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// Contributing sources, extension.
    more_header: Vec<u8>,
    /// Length, line, x of each segment.
    segments: Vec<(u16, u16, u16)>,
    data: Vec<u8>,
    padding: Vec<u8>,
    port: u16,
    source: [u8; 4],
}

fn packet(sequence: u16, timestamp: u32, segments: &[(u16, u16, u16)]) -> Rtp {
    let length: usize = segments.iter().map(|(length, ..)| usize::from(*length)).sum();
    Rtp {
        flags: 0x80,
        marker: false,
        payload_type: 96,
        sequence,
        timestamp,
        ssrc: 0x1234_5678,
        more_header: Vec::new(),
        segments: segments.to_vec(),
        data: (0..=255).cycle().take(length).collect(),
        padding: Vec::new(),
        port: 5004,
        source: SOURCE,
    }
}

impl Rtp {
    fn bytes(&self) -> Vec<u8> {
        let mut rtp = vec![self.flags, self.payload_type | u8::from(self.marker) << 7];
        rtp.extend(self.sequence.to_be_bytes());
        rtp.extend(self.timestamp.to_be_bytes());
        rtp.extend(self.ssrc.to_be_bytes());
        rtp.extend(&self.more_header);
        rtp.extend([0, 0]);
        for (i, (length, line, x)) in self.segments.iter().enumerate() {
            let more = u16::from(i + 1 < self.segments.len()) << 15;
            rtp.extend(length.to_be_bytes());
            rtp.extend(line.to_be_bytes());
            rtp.extend((x | more).to_be_bytes());
        }
        rtp.extend(&self.data);
        rtp.extend(&self.padding);
        let from = SocketAddrV4::new(self.source.into(), 40_000);
        let to = SocketAddrV4::new(DESTINATION.into(), self.port);
        frames::udp([[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]], [from, to], &rtp)
    }

    fn run(&self) -> Outcome {
        run(BLIT, &self.bytes())
    }
}

/// Runs a handler, and the one it passes the message on to.
fn run(handler: HandlerNumber, bytes: &[u8]) -> Outcome {
    let outcome = Call::packet(bytes).handler(handler.0).dispatch(extension::dispatch);
    match outcome.verdict {
        Verdict::Next(next) => Call::packet(bytes).handler(next.0).dispatch(extension::dispatch),
        _ => outcome,
    }
}

fn publish(outcome: &Outcome) -> Publish {
    match outcome.verdict {
        Verdict::Dma(transfer) => transfer.publish,
        other => panic!("{other:?}"),
    }
}

fn count(counters: Region, counter: Counter) -> u64 {
    counters.u64_at(counter_at(3, counter))
}

fn element(source: usize, line: u16, x: u16, length: u16) -> Element {
    let source = u32::try_from(source).unwrap();
    Element { source, window: 3, line, x, length, strides: spine_sdk::Strides::NONE }
}

#[test]
fn one_two_and_three_segments_become_as_many_elements() {
    loaded(STREAM);
    let one = packet(1, 90, &[(12, 0, 2)]).run();
    assert_eq!(one.dma, [element(RTP + 12 + 2 + 6, 0, 2, 12)]);
    let two = packet(2, 90, &[(12, 0, 5), (16, 1, 0)]).run();
    let data = RTP + 12 + 2 + 12;
    assert_eq!(two.dma, [element(data, 0, 5, 12), element(data + 12, 1, 0, 16)]);
    let three = packet(3, 90, &[(4, 0, 0), (4, 0, 1), (4, 1, 7)]).run();
    let data = RTP + 12 + 2 + 18;
    let expected = [element(data, 0, 0, 4), element(data + 4, 0, 1, 4), element(data + 8, 1, 7, 4)];
    assert_eq!(three.dma, expected);
    let Verdict::Dma(transfer) = three.verdict else { panic!("{three:?}") };
    assert_eq!((transfer.window, transfer.source, transfer.tag), (3, Source::Packet, 90));
}

#[test]
fn sixteen_segments_are_used_and_seventeen_refused() {
    let counters = loaded(STREAM);
    let segments: Vec<_> = (0..17).map(|i| (4, i / 8, i % 8)).collect();
    // More headers than the first handler sees: the other one takes the packet.
    let whole = packet(1, 90, &segments[..16]);
    let first = Call::packet(&whole.bytes()).handler(BLIT.0).dispatch(extension::dispatch);
    assert_eq!(first.verdict, Verdict::Next(CONVERT));
    assert_eq!(count(counters, Counter::Packets), 0, "counted by the other one");
    let outcome = whole.run();
    let data = RTP + 12 + 2 + 16 * 6;
    let expected: Vec<_> =
        (0..16_u16).map(|i| element(data + 4 * usize::from(i), i / 8, i % 8, 4)).collect();
    assert_eq!(outcome.dma, expected);
    assert_eq!(publish(&outcome), Publish::After, "all of the frame");
    assert_eq!(packet(2, 91, &segments).run().verdict, Verdict::Done);
    assert_eq!(count(counters, Counter::TooManySegments), 1);
    assert_eq!(count(counters, Counter::Packets), 2);
}

#[test]
fn contributing_sources_extension_and_padding_are_skipped() {
    let counters = loaded(STREAM);
    let plain = packet(1, 90, &[(12, 1, 2)]);
    let three_sources = Rtp { flags: 0x83, more_header: vec![9; 12], ..plain.clone() };
    let extension = [0xbe, 0xde, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
    let with_extension = Rtp { flags: 0x90, more_header: extension.to_vec(), ..plain.clone() };
    let padded = Rtp { flags: 0xa0, padding: vec![0, 0, 0, 4], ..plain.clone() };
    let all = Rtp {
        flags: 0xb1,
        more_header: [&[9; 4][..], &extension].concat(),
        padding: vec![0, 2],
        ..plain.clone()
    };
    for (i, (name, packet, skipped)) in [
        ("nothing", plain, 0),
        ("sources", three_sources, 12),
        ("extension", with_extension, 12),
        ("padding", padded, 0),
        ("all of it", all, 16),
    ]
    .into_iter()
    .enumerate()
    {
        let sequence = u16::try_from(i).unwrap();
        let outcome = Rtp { sequence, ..packet }.run();
        assert_eq!(outcome.dma, [element(RTP + 12 + skipped + 2 + 6, 1, 2, 12)], "{name}");
    }
    assert_eq!(count(counters, Counter::Malformed), 0);
}

#[test]
fn headers_that_contradict_each_other_or_the_packet_are_refused() {
    let good = packet(1, 90, &[(12, 0, 2)]);
    let mut cases = vec![
        ("version 1", Rtp { flags: 0x40, ..good.clone() }),
        ("more sources than bytes", Rtp { flags: 0x8f, ..good.clone() }),
        ("padding of nothing", Rtp { flags: 0xa0, padding: vec![0], ..good.clone() }),
        ("more padding than packet", Rtp { flags: 0xa0, padding: vec![200], ..good.clone() }),
        ("padding over the pixels", Rtp { flags: 0xa0, padding: vec![2], ..good.clone() }),
        ("less data than the length", Rtp { data: vec![0; 11], ..good.clone() }),
        ("no whole group", packet(1, 90, &[(13, 0, 2)])),
        ("no data at all", Rtp { segments: vec![], data: vec![], ..good.clone() }),
    ];
    let endless = Rtp { flags: 0x90, more_header: vec![0, 0, 0xff, 0xff], ..good.clone() };
    cases.push(("an extension without an end", endless));
    let mut sum = packet(1, 90, &[(12, 0, 2), (16, 1, 0)]);
    sum.data.pop();
    cases.push(("two segments, one byte short", sum));
    for (name, packet) in cases {
        let counters = loaded(STREAM);
        let outcome = packet.run();
        assert!(outcome.dma.is_empty(), "{name}: {outcome:?}");
        assert_eq!(count(counters, Counter::Malformed), 1, "{name}");
        assert_eq!(count(counters, Counter::Packets), 1, "{name}");
    }
}

#[test]
fn packets_cut_anywhere_are_refused_or_know_their_end() {
    let whole = packet(1, 90, &[(12, 0, 5), (16, 1, 0)]).bytes();
    for length in 0..whole.len() {
        let counters = loaded(STREAM);
        for handler in [BLIT, CONVERT] {
            let outcome = run(handler, &whole[..length]);
            assert!(outcome.dma.is_empty(), "{length} bytes: {outcome:?}");
        }
        assert_eq!(counters.u64_at(UNKNOWN_STREAM), 2, "{length} bytes: IP's length is wrong");
    }
    // Ethernet's padding behind a short packet is not its data.
    let mut padded = whole.clone();
    padded.extend([0xee; 40]);
    loaded(STREAM);
    assert_eq!(run(BLIT, &padded).dma.len(), 2);
}

#[test]
fn what_is_not_the_streams_is_counted_and_not_used() {
    let ssm = Stream { source: SOURCE, ..STREAM };
    let good = packet(1, 90, &[(12, 0, 2)]);
    for (stream, packet, counter) in [
        (STREAM, Rtp { payload_type: 97, ..good.clone() }, Counter::WrongPayloadType),
        (ssm, Rtp { source: [10, 77, 0, 9], ..good.clone() }, Counter::WrongSource),
        (STREAM, packet(1, 90, &[(12, 0x8000, 2)]), Counter::Interlaced),
    ] {
        let counters = loaded(stream);
        let outcome = packet.run();
        assert!(outcome.dma.is_empty(), "{counter:?}: {outcome:?}");
        assert_eq!(count(counters, counter), 1, "{counter:?}");
    }
    let counters = loaded(ssm);
    assert_eq!(good.run().dma.len(), 1, "from the right source");
    assert_eq!(Rtp { port: 5005, ..good.clone() }.run().verdict, Verdict::Drop(Reason::Unhandled));
    assert_eq!(counters.u64_at(UNKNOWN_STREAM), 1);
    loaded(Stream { payload_type: ANY_PAYLOAD_TYPE, ..STREAM });
    assert_eq!(Rtp { payload_type: 33, ..good }.run().dma.len(), 1, "any payload type");
}

#[test]
fn segments_outside_of_the_picture_are_left_out_and_counted() {
    let counters = loaded(STREAM);
    for (sequence, outside) in
        [(4, 2, 0), (4, 0, 8), (12, 0, 6), (4, 0x7fff, 0), (4, 0, 0x7fff)].into_iter().enumerate()
    {
        let outcome = packet(u16::try_from(sequence).unwrap(), 90, &[outside, (4, 1, 7)]).run();
        assert_eq!(outcome.dma.len(), 1, "{outside:?}");
        assert_eq!(outcome.dma[0].line, 1);
    }
    assert_eq!(count(counters, Counter::OutOfPicture), 5);
}

/// Both halves of line 0, both of line 1.
const QUARTERS: [(u16, u16, u16); 4] = [(16, 0, 0), (16, 0, 4), (16, 1, 0), (16, 1, 4)];

/// The packets of one frame, the last with the marker.
fn frame(first: u16, timestamp: u32) -> Vec<Rtp> {
    let parts = QUARTERS.iter().zip(0_u16..);
    parts
        .map(|(segment, i)| {
            let sequence = first.wrapping_add(i);
            Rtp { marker: i == 3, ..packet(sequence, timestamp, &[*segment]) }
        })
        .collect()
}

#[test]
fn a_frame_ends_with_its_last_byte_in_whatever_order_they_come() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [3, 0, 1, 2]] {
        let counters = loaded(STREAM);
        for (n, timestamp) in [(0_u16, u32::MAX - 1), (1, 2), (2, 3000)] {
            // Across the wrap of sequence number and timestamp.
            let packets = frame(65534_u16.wrapping_add(4 * n), timestamp);
            for (position, which) in order.into_iter().enumerate() {
                let expected = if position == 3 { Publish::After } else { Publish::No };
                let outcome = packets[which].run();
                assert_eq!(publish(&outcome), expected, "{order:?} {n} {position}");
                assert_eq!(outcome.dma.len(), 1);
            }
        }
        assert_eq!(count(counters, Counter::Lost), 0, "{order:?}");
        assert_eq!(count(counters, Counter::Late), 0, "{order:?}");
        assert_eq!(count(counters, Counter::Frames), 3);
        assert_eq!(count(counters, Counter::Markers), 3);
    }
}

#[test]
fn a_newer_frame_ends_one_that_lost_something_and_its_late_packets_are_not_used() {
    let counters = loaded(STREAM);
    let (old, new) = (frame(10, 3000), frame(14, 6000));
    for packet in [&old[0], &old[1], &old[3]] {
        assert_eq!(publish(&packet.run()), Publish::No, "one is missing");
    }
    assert_eq!(count(counters, Counter::Lost), 1);
    assert_eq!(publish(&new[0].run()), Publish::Before);
    let late = old[2].run();
    assert_eq!(late.verdict, Verdict::Drop(Reason::Extension));
    assert_eq!((count(counters, Counter::Late), count(counters, Counter::Lost)), (1, 0));
    assert_eq!(publish(&new[1].run()), Publish::No);
    assert_eq!(publish(&new[2].run()), Publish::No);
    assert_eq!(publish(&new[3].run()), Publish::After);
    // A frame that was published is closed for its own packets, too.
    let again = Rtp { sequence: 18, ..new[3].clone() }.run();
    assert_eq!(again.verdict, Verdict::Drop(Reason::Extension));
    assert_eq!(count(counters, Counter::Late), 2);
}

#[test]
fn a_frame_that_is_all_in_one_packet_ends_the_one_before_and_itself() {
    loaded(STREAM);
    packet(1, 90, &[(4, 0, 0)]).run();
    let whole = packet(2, 91, &[(32, 0, 0), (32, 1, 0)]).run();
    assert_eq!(publish(&whole), Publish::Both);
    let next = packet(3, 92, &[(32, 0, 0), (32, 1, 0)]).run();
    assert_eq!(publish(&next), Publish::After, "nothing is open before it");
}

#[test]
fn duplicates_are_used_once() {
    let counters = loaded(STREAM);
    let packets = frame(1, 90);
    packets[0].run();
    assert_eq!(packets[0].run().verdict, Verdict::Drop(Reason::Extension));
    packets[1].run();
    assert_eq!(packets[0].run().verdict, Verdict::Drop(Reason::Extension));
    assert_eq!(publish(&packets[2].run()), Publish::No);
    assert_eq!(publish(&packets[3].run()), Publish::After, "four different ones are all of it");
    assert_eq!(count(counters, Counter::Duplicate), 2);
}

#[test]
fn another_sender_is_learnt_after_a_while_and_not_while_the_first_one_sends() {
    let counters = loaded(STREAM);
    let stranger =
        |sequence, timestamp| Rtp { ssrc: 99, ..packet(sequence, timestamp, &[(4, 0, 0)]) };
    packet(1, 90_000, &[(4, 0, 1)]).run();
    for i in 0..7 {
        assert_eq!(stranger(500 + i, 7).run().verdict, Verdict::Drop(Reason::Extension));
    }
    assert_eq!(publish(&packet(2, 90_000, &[(4, 0, 2)]).run()), Publish::No, "it is there still");
    for i in 0..7 {
        assert_eq!(stranger(600 + i, 7).run().verdict, Verdict::Drop(Reason::Extension));
    }
    let learnt = stranger(607, 7).run();
    assert_eq!(publish(&learnt), Publish::Before, "a new frame, though its time is earlier");
    assert_eq!(publish(&stranger(608, 7).run()), Publish::No);
    assert_eq!(count(counters, Counter::WrongSsrc), 14);
    assert_eq!(count(counters, Counter::Restarts), 1);
    assert_eq!(count(counters, Counter::Ssrc), 99);
    assert_eq!(count(counters, Counter::Lost), 0, "its numbers are its own");
}

#[test]
fn a_sender_whose_clock_jumps_is_followed_both_ways() {
    let counters = loaded(STREAM);
    let at = |sequence, timestamp| packet(sequence, timestamp, &[(4, 0, 0)]).run();
    at(1, 1_000_000_000);
    assert_eq!(publish(&at(40_000, 2_000_000_000)), Publish::Before, "ahead: at once");
    assert_eq!(count(counters, Counter::Lost), 0);
    for i in 0..63 {
        assert_eq!(at(100 + i, 500_000_000).verdict, Verdict::Drop(Reason::Extension), "{i}");
    }
    assert_eq!(publish(&at(163, 500_000_000)), Publish::Before, "back: after a while");
    assert_eq!(publish(&at(164, 500_000_000)), Publish::No);
    assert_eq!(count(counters, Counter::Restarts), 2);
}

#[test]
fn a_hundred_thousand_packets_lost_at_once_do_not_confuse_the_numbers() {
    let counters = loaded(STREAM);
    packet(1, 3000, &[(4, 0, 0)]).run();
    // 65,536 and some: the same low bits come again.
    assert_eq!(publish(&packet(1, 9000, &[(4, 0, 0)]).run()), Publish::Before);
    assert_eq!(publish(&packet(2, 9000, &[(4, 0, 1)]).run()), Publish::No);
    assert_eq!(count(counters, Counter::Duplicate), 0);
}

#[test]
fn converted_pixels_lie_in_scratch_segment_by_segment() {
    let colour = Colour { bt709: false, full_range: true };
    for (format, data, expected) in [
        (Format::Rgb, vec![1, 2, 3, 4, 5, 6], vec![3, 2, 1, 255, 6, 5, 4, 255]),
        (Format::Uyvy, vec![128, 10, 128, 200], vec![10, 10, 10, 255, 200, 200, 200, 255]),
        // 512, 40, 512, 800 of ten bits each.
        (
            Format::Uyvp,
            vec![0x80, 0x02, 0x88, 0x03, 0x20],
            vec![10, 10, 10, 255, 200, 200, 200, 255],
        ),
    ] {
        loaded(Stream { format: Some(format), colour, ..STREAM });
        let length = u16::try_from(data.len()).unwrap();
        let mut two = packet(1, 90, &[(length, 0, 6), (length, 1, 0)]);
        two.data = [&data[..], &data].concat();
        let outcome = two.run();
        let Verdict::Dma(transfer) = outcome.verdict else { panic!("{format:?} {outcome:?}") };
        assert_eq!(transfer.source, Source::Scratch);
        assert_eq!(outcome.dma.len(), 2);
        for (element, (line, x)) in outcome.dma.iter().zip([(0, 6), (1, 0)]) {
            assert_eq!((element.line, element.x, element.length), (line, x, 8), "{format:?}");
            assert_eq!(scratch(element.source, 8), expected, "{format:?}");
        }
    }
}

#[test]
fn the_largest_packet_of_every_format_fits_the_scratch() {
    for format in [Format::Rgb, Format::Uyvy, Format::Uyvp] {
        let counters = loaded(Stream { format: Some(format), width: 4096, height: 64, ..STREAM });
        let (group, pixels) = format.group();
        // Sixteen segments of one frame of 3840 bytes, each a group less than what fits.
        let room = (3840 - 42 - 12 - 2 - 16 * 6) / 16 / usize::from(group);
        let length = u16::try_from(room).unwrap() * group;
        let segments: Vec<_> = (0..16).map(|line| (length, line, 0)).collect();
        let outcome = packet(1, 90, &segments).run();
        assert_eq!(outcome.dma.len(), 16, "{format:?}");
        let converted = 4 * usize::from(length / group * pixels);
        assert!(outcome.dma.iter().all(|element| usize::from(element.length) == converted));
        let one = u16::try_from((3840 - 62) / usize::from(group)).unwrap() * group;
        assert_eq!(packet(2, 90, &[(one, 20, 0)]).run().dma.len(), 1, "{format:?}");
        assert_eq!(count(counters, Counter::Malformed), 0);
    }
}

#[test]
fn several_streams_are_told_apart_by_port_and_address() {
    let counters = loaded(STREAM);
    configured(Stream { index: 0, port: 5006, width: 4, ..STREAM });
    configured(Stream { index: 1, destination: [0; 4], port: 5008, ..STREAM });
    configured(Stream { index: 2, destination: [239, 1, 1, 1], ..STREAM });
    for (port, window) in [(5004, 3), (5006, 0), (5008, 1)] {
        let outcome = Rtp { port, ..packet(1, 90, &[(4, 0, 0)]) }.run();
        assert_eq!(outcome.dma[0].window, window);
        assert_eq!(counters.u64_at(counter_at(window.into(), Counter::Packets)), 1);
    }
    configured(Stream { format: None, ..STREAM });
    assert_eq!(packet(2, 90, &[(4, 0, 0)]).run().verdict, Verdict::Drop(Reason::Unhandled));
}

#[test]
fn a_stream_configured_anew_begins_anew() {
    let counters = loaded(STREAM);
    packet(1, 90_000, &[(16, 0, 0)]).run();
    configured(Stream { width: 4, generation: 2, ..STREAM });
    let outcome = Rtp { ssrc: 5, ..packet(700, 3, &[(16, 0, 0)]) }.run();
    assert_eq!(publish(&outcome), Publish::Before, "the frame under way ends");
    assert_eq!(publish(&Rtp { ssrc: 5, ..packet(701, 3, &[(16, 1, 0)]) }.run()), Publish::After);
    assert_eq!(count(counters, Counter::WrongSsrc), 0);
}

#[test]
fn messages_of_others_configure_nothing() {
    loaded(STREAM);
    let bytes = Stream { format: None, ..STREAM }.to_bytes();
    let call = Call::small(&bytes).handler(CONFIGURE.0).source(Endpoint::Peer(1));
    let outcome = call.dispatch(extension::dispatch);
    assert_eq!(outcome.verdict, Verdict::Drop(Reason::Unhandled));
    assert_eq!(packet(1, 90, &[(4, 0, 0)]).run().dma.len(), 1, "the stream is there");
    let short = Call::small(&bytes[1..]).handler(CONFIGURE.0).dispatch(extension::dispatch);
    assert_eq!(short.verdict, Verdict::Drop(Reason::Truncated));
}
