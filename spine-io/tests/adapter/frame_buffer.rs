//! Frame buffers through the real runtime, with extensions that do their worst.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::common::{Rig, extension, wait_until};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use spine_abi::Reason;
use spine_abi::dma::{Direction, Element, Form, Publish, Source, Strides, Transfer};
use spine_abi::frame_buffer::{FRESH, Geometry, HEADER_BYTES, MAILBOX, Rectangle};
use spine_abi::interface::Domain;
use spine_abi::{Verdict, frame_buffer};
use spine_io::dma::{FrameBuffer, Grant, GrantError, Start};
use spine_io::{Budget, ExtensionId};

/// What every byte is before anything is written; DMA never moves it.
const SENTINEL: u8 = 0xa5;
const SOON: Duration = Duration::from_secs(5);

struct Buffer {
    file: File,
    geometry: Geometry,
}

impl Buffer {
    /// A buffer in which every byte is a sentinel.
    fn new(geometry: Geometry) -> Self {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"test", flags).unwrap());
        file.set_len(geometry.bytes() as u64).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
        let buffer = Self { file, geometry };
        buffer.paint();
        buffer
    }

    /// Makes everything but the header page sentinels.
    fn paint(&self) {
        let bytes = vec![SENTINEL; self.geometry.bytes() - HEADER_BYTES];
        self.file.write_all_at(&bytes, HEADER_BYTES as u64).unwrap();
    }

    fn grant(&self, window: u8, rectangle: Rectangle) -> Grant {
        let file = OwnedFd::from(self.file.try_clone().unwrap());
        let buffer = FrameBuffer { file, geometry: self.geometry, doorbell: None };
        Grant { window, buffer, rectangle, start: Start::AtOnce }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.geometry.bytes()];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Offsets of bytes that are no sentinels though they are in no pixel of the rectangle of any slot that
    /// the adapter may write, nor in a header.
    fn strays(&self, rectangle: Rectangle, slots: &[usize]) -> Vec<usize> {
        let bytes = self.bytes();
        let pixel = self.geometry.bytes_per_pixel() as usize;
        let stride = self.geometry.stride() as usize;
        let allowed = |at: usize| {
            slots.iter().any(|slot| {
                let header = self.geometry.slot_header(*slot);
                let Some(inside) = at.checked_sub(self.geometry.pixels(*slot)) else {
                    return (header..header + 64).contains(&at);
                };
                let (line, byte) = (inside / stride, inside % stride);
                let (x, y) = (rectangle.x as usize * pixel, rectangle.y as usize);
                (y..y + rectangle.height as usize).contains(&line)
                    && (x..x + rectangle.width as usize * pixel).contains(&byte)
            })
        };
        let wrong = bytes.iter().enumerate().skip(HEADER_BYTES);
        wrong.filter(|(at, byte)| **byte != SENTINEL && !allowed(*at)).map(|(at, _)| at).collect()
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, at as u64).unwrap();
        u32::from_le_bytes(bytes)
    }
}

/// An extension that does what each packet says: its first 56 bytes are the list, the next 8 the verdict.
fn obedient(domains: &[Domain]) -> Vec<u8> {
    extension(domains, "", "", "(local.set $verdict (i64.load offset=72 (local.get $slot)))")
}

/// A packet that has the extension give this verdict with this list; the bytes to be moved are 0x11 and
/// the packet's own.
fn command(elements: &[Element], verdict: Verdict) -> Vec<u8> {
    let mut packet = vec![0x11; 1400];
    let form = match verdict {
        Verdict::Dma(transfer) => transfer.form,
        _ => Form::Plain,
    };
    for (element, place) in elements.iter().zip(packet[..56].chunks_exact_mut(form.bytes())) {
        element.write(form, place).unwrap();
    }
    packet[56..64].copy_from_slice(&verdict.to_bits().to_le_bytes());
    packet
}

fn transfer(elements: u8, publish: Publish) -> Verdict {
    Verdict::Dma(Transfer {
        window: 0,
        elements,
        source: Source::Packet,
        form: Form::Plain,
        publish,
        tag: 5,
    })
}

fn plain(line: u16, x: u16, length: u16) -> Element {
    Element { source: 64, window: 0, line, x, length, strides: Strides::NONE }
}

/// A rig with an extension whose window 0 this is; strikes and budgets do not matter.
fn rig(buffer: &Buffer, rectangle: Rectangle) -> (Rig, ExtensionId) {
    let rig = Rig::new(1);
    let budget = Budget { message: 20_000, entry: 400_000, strikes: u32::MAX };
    let id = rig.load_with(&obedient(&[Domain::FrameBuffer]), budget);
    let granted = rig.adapter(0).grant(id, buffer.grant(0, rectangle)).unwrap();
    granted.wait(SOON).unwrap();
    buffer.paint();
    (rig, id)
}

fn settled(rig: &Rig, packets: u64) {
    wait_until("all packets", || rig.statistics(0).counters.handled == packets);
}

#[test]
fn a_frame_crosses_the_runtime_and_the_doorbell_rings() {
    use std::sync::Arc;

    use nix::sys::eventfd::{EfdFlags, EventFd};

    let buffer = Buffer::new(Geometry::window(3, 16, 4, false).unwrap());
    let (mut rig, id) = rig(&buffer, buffer.geometry.whole());
    let doorbell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
    let mut grant = buffer.grant(0, buffer.geometry.whole());
    grant.buffer.doorbell = Some(Arc::clone(&doorbell));
    rig.adapter(0).grant(id, grant).unwrap().wait(SOON).unwrap();
    let lines: Vec<_> = (0..4).map(|line| plain(line, 0, 64)).collect();
    rig.send(&command(&lines[..2], transfer(2, Publish::No)));
    rig.send(&command(&lines[2..], transfer(2, Publish::After)));
    wait_until("the doorbell", || doorbell.read().is_ok());
    let word = buffer.word(MAILBOX);
    assert_ne!(word & FRESH, 0);
    let slot = frame_buffer::mailbox_slot(word);
    let pixels = buffer.geometry.pixels(slot);
    let bytes = buffer.bytes();
    assert!(bytes[pixels..pixels + 256].iter().all(|byte| *byte == 0x11));
    assert_eq!(buffer.word(buffer.geometry.slot_header(slot) + frame_buffer::slot::TAG), 5);
    assert_eq!(buffer.word(buffer.geometry.slot_header(slot)), 3, "its generation");
    settled(&rig, 2);
    assert_eq!(rig.statistics(0).counters.consumed, 2);
    assert_eq!(rig.statistics(0).counters.dropped.total(), 0);
}

#[test]
fn without_the_domain_nothing_is_moved_or_granted() {
    let buffer = Buffer::new(Geometry::window(1, 16, 4, false).unwrap());
    let mut rig = Rig::new(1);
    let id = rig.load(&obedient(&[]));
    let refused = rig.adapter(0).grant(id, buffer.grant(0, buffer.geometry.whole())).unwrap();
    assert!(matches!(refused.wait(SOON), Err(GrantError::NotGranted { .. })));
    rig.send(&command(&[plain(0, 0, 64)], transfer(1, Publish::After)));
    rig.send(&command(&[], Verdict::Publish { window: 0 }));
    rig.wait_for_drops(Reason::BadVerdict, 2);
    let nobody = rig.adapter(0).revoke(ExtensionId(9), 0).unwrap();
    assert!(matches!(nobody.wait(SOON), Err(GrantError::NoExtension { .. })));
}

#[test]
fn lists_that_make_no_sense_or_cost_too_much_are_refused_whole() {
    let buffer = Buffer::new(Geometry::window(1, 16, 4, false).unwrap());
    let (mut rig, _) = rig(&buffer, buffer.geometry.whole());
    let good = plain(0, 0, 64);
    let mut stray_byte = command(&[good, plain(1, 0, 64)], transfer(2, Publish::No));
    stray_byte[23] = 1;
    let strides =
        Strides { pieces: u16::MAX, source: 0, target: 0, lane: 0, direction: Direction::Along };
    let endless = Element { strides, length: 64, ..good };
    let Verdict::Dma(one) = transfer(1, Publish::No) else { unreachable!() };
    let strided = Verdict::Dma(Transfer { form: Form::Strided, elements: 2, ..one });
    let too_dear = command(&[plain(0, 0, 64), endless], strided);
    for packet in [stray_byte, too_dear] {
        rig.send(&packet);
    }
    rig.wait_for_drops(Reason::BadVerdict, 2);
    assert_eq!(buffer.strays(buffer.geometry.whole(), &[]), Vec::<usize>::new());
}

#[test]
fn an_extension_that_is_stopped_has_moved_nothing() {
    let buffer = Buffer::new(Geometry::window(1, 16, 4, false).unwrap());
    let rig = Rig::new(1);
    let body = "(local.set $verdict (i64.load offset=72 (local.get $slot)))
        (loop $forever (br $forever))";
    let image = extension(&[Domain::FrameBuffer], "", "", body);
    let budget = Budget { strikes: u32::MAX, ..Budget::default() };
    let id = rig.load_with(&image, budget);
    let whole = buffer.geometry.whole();
    rig.adapter(0).grant(id, buffer.grant(0, whole)).unwrap().wait(SOON).unwrap();
    let mut rig = rig;
    for _ in 0..10 {
        rig.send(&command(&[plain(0, 0, 64)], transfer(1, Publish::After)));
    }
    rig.wait_for_drops(Reason::Stopped, 10);
    assert_eq!(buffer.strays(whole, &[]), Vec::<usize>::new());
    assert_eq!(buffer.word(MAILBOX) & FRESH, 0);
}

#[test]
fn after_a_revocation_is_acknowledged_nothing_is_written() {
    let screen = Buffer::new(Geometry::screen(1, 64, 64).unwrap());
    let rectangle = |x, y| Rectangle { x, y, width: 16, height: 16 };
    let (mut rig, id) = rig(&screen, rectangle(0, 0));
    let everywhere: Vec<_> = (0..4).map(|i| plain(i * 5, 0, 64)).collect();
    let packet = command(&everywhere, transfer(4, Publish::No));
    let mut at = rectangle(0, 0);
    for step in 1..=200_u32 {
        for _ in 0..20 {
            rig.send(&packet);
        }
        // While packets are under way.
        rig.adapter(0).revoke(id, 0).unwrap().wait(SOON).unwrap();
        assert_eq!(screen.strays(at, &[0]), Vec::<usize>::new(), "step {step}");
        screen.paint();
        at = rectangle(step * 7 % 48, step * 11 % 48);
        rig.adapter(0).grant(id, screen.grant(0, at)).unwrap().wait(SOON).unwrap();
    }
}

/// Numbers near the edges of a small window, and anywhere.
fn near(edge: u16) -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0..=edge + 3, 1 => any::<u16>()]
}

fn any_element() -> impl Strategy<Value = Element> {
    let place = (prop_oneof![0u32..1500, any::<u32>()], 0u8..3, near(9), near(20), near(90));
    let direction = prop_oneof![Just(Direction::Along), Just(Direction::Down)];
    let strides = (near(12), near(20), near(20), any::<u8>(), direction);
    (place, strides).prop_map(|((source, window, line, x, length), strides)| {
        let (pieces, from, target, lane, direction) = strides;
        let strides = Strides { pieces, source: from, target, lane, direction };
        Element { source, window, line, x, length, strides }
    })
}

fn any_verdict() -> impl Strategy<Value = u64> {
    let transfer = (0u8..3, 0u8..=4, any::<bool>(), any::<bool>(), 0usize..4, any::<u32>());
    let dma = transfer.prop_map(|(window, elements, scratch, strided, publish, tag)| {
        let verdict = Verdict::Dma(Transfer {
            window,
            elements,
            source: if scratch { Source::Scratch } else { Source::Packet },
            form: if strided { Form::Strided } else { Form::Plain },
            publish: [Publish::No, Publish::Before, Publish::After, Publish::Both][publish],
            tag,
        });
        verdict.to_bits()
    });
    let publish = (0u8..3).prop_map(|window| Verdict::Publish { window }.to_bits());
    prop_oneof![12 => dma, 1 => publish, 1 => any::<u64>()]
}

/// A packet with a random list, or with random bytes where the list is.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let listed = (proptest::collection::vec(any_element(), 4), any_verdict());
    let listed = listed.prop_map(|(elements, bits)| {
        let form = if bits >> 25 & 1 == 1 { Form::Strided } else { Form::Plain };
        let mut packet = vec![0x11; 600];
        for (element, place) in elements.iter().zip(packet[..56].chunks_exact_mut(form.bytes())) {
            element.write(form, place).unwrap();
        }
        packet[56..64].copy_from_slice(&bits.to_le_bytes());
        packet
    });
    let noise = (proptest::collection::vec(any::<u8>(), 56), any_verdict());
    let noise = noise.prop_map(|(list, bits)| [&list[..], &bits.to_le_bytes(), &[7; 100]].concat());
    prop_oneof![8 => listed, 1 => noise]
}

#[test]
fn whatever_a_hostile_extension_asks_nothing_is_written_outside_of_what_was_granted() {
    // A window with bytes between its lines, a lease in the middle of a screen, and one beside it.
    let window = Buffer::new(Geometry::new(1, 3, (16, 8), 96, 4).unwrap());
    let screen = Buffer::new(Geometry::screen(1, 40, 24).unwrap());
    let lease = Rectangle { x: 12, y: 7, width: 16, height: 8 };
    let (rig, id) = rig(&window, window.geometry.whole());
    rig.adapter(0).grant(id, screen.grant(1, lease)).unwrap().wait(SOON).unwrap();
    screen.paint();
    let (rig, sent) = (RefCell::new(rig), Cell::new(0));
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() };
    proptest!(config, |(packets in proptest::collection::vec(any_packet(), 1..60))| {
        for packet in &packets {
            rig.borrow_mut().send(packet);
        }
        sent.set(sent.get() + packets.len() as u64);
        settled(&rig.borrow(), sent.get());
        // Slot 0 is the application's, which never took another: the adapter writes 1 and 2 only.
        let strays = window.strays(window.geometry.whole(), &[1, 2]);
        assert!(strays.is_empty(), "window: {strays:?}");
        let strays = screen.strays(lease, &[0]);
        assert!(strays.is_empty(), "screen: {strays:?}");
    });
    let bytes = window.bytes();
    let moved = bytes[HEADER_BYTES..].iter().filter(|byte| **byte == 0x11).count();
    assert!(moved > 0, "something was moved");
}
