use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::dma::{Direction, Form, Publish, Source, Strides};
use spine_abi::frame_buffer::{
    COMPLETE, FRESH, Geometry, MAILBOX, REPAIRED, counter, counters, mailbox_slot, slot,
};

use super::*;

/// A frame buffer's file, looked at by reading it: another process would map it.
struct Buffer {
    file: File,
    geometry: Geometry,
}

impl Buffer {
    fn new(geometry: Geometry) -> Self {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"test", flags).unwrap());
        file.set_len(geometry.bytes() as u64).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
        Self { file, geometry }
    }

    fn window(width: u32, height: u32, repair: bool) -> Self {
        Self::new(Geometry::window(1, width, height, repair).unwrap())
    }

    fn grant(&self, window: u8) -> Grant {
        self.lease(window, self.geometry.whole())
    }

    fn lease(&self, window: u8, rectangle: Rectangle) -> Grant {
        let file = OwnedFd::from(self.file.try_clone().unwrap());
        let buffer = FrameBuffer { file, geometry: self.geometry, doorbell: None };
        Grant { window, buffer, rectangle, start: Start::NextFrame }
    }

    fn bytes(&self, at: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at as u64).unwrap();
        bytes
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    fn count(&self, window: usize, which: usize) -> u64 {
        let bytes = self.bytes(counters(window) + which, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Takes the newest frame as an application does: the slot, if there is a new one.
    fn take(&self, front: &mut usize) -> bool {
        let word = self.word(MAILBOX);
        if word & FRESH == 0 {
            return false;
        }
        let back = u32::try_from(*front).unwrap().to_le_bytes();
        self.file.write_all_at(&back, MAILBOX as u64).unwrap();
        *front = mailbox_slot(word);
        true
    }

    fn pixels(&self, slot: usize) -> Vec<u8> {
        self.bytes(self.geometry.pixels(slot), self.geometry.pixel_bytes())
    }

    fn head(&self, slot: usize, field: usize) -> u32 {
        self.word(self.geometry.slot_header(slot) + field)
    }
}

const TRANSFER: Transfer = Transfer {
    window: 0,
    elements: 0,
    source: Source::Packet,
    form: Form::Plain,
    publish: Publish::No,
    tag: 77,
};
const FUEL: u64 = 100_000;

fn plain(source: u32, line: u16, x: u16, length: u16) -> Element {
    Element { source, window: 0, line, x, length, strides: Strides::NONE }
}

fn list(form: Form, elements: &[Element]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    for (element, at) in elements.iter().zip(bytes.chunks_exact_mut(form.bytes())) {
        element.write(form, at).unwrap();
    }
    bytes
}

fn granted(windows: &mut Windows, grant: Grant) -> Result<Acknowledgement, GrantError> {
    let (reply, acknowledgement) = Acknowledgement::pending();
    windows.grant(Prepared::new(grant)?, reply);
    Ok(acknowledgement)
}

fn wait(acknowledgement: &Acknowledgement) -> Result<(), GrantError> {
    acknowledgement.wait(Duration::ZERO)
}

/// Windows with this buffer as window 0.
fn windows(buffer: &Buffer) -> Windows {
    let mut windows = Windows::default();
    wait(&granted(&mut windows, buffer.grant(0)).unwrap()).unwrap();
    windows
}

impl Windows {
    fn dma(&mut self, elements: &[Element], source: &[u8], publish: Publish) -> u64 {
        let form = match elements.iter().all(|element| element.strides == Strides::NONE) {
            true => Form::Plain,
            false => Form::Strided,
        };
        let count = u8::try_from(elements.len()).unwrap();
        let transfer = Transfer { elements: count, form, publish, ..TRANSFER };
        self.carry_out(transfer, &list(form, elements), source, FUEL).unwrap()
    }

    /// All lines but these, of a window this wide, filled with a byte each; published.
    fn frame(&mut self, (width, height): (u16, u16), fill: u8, without: &[u16]) {
        let source = vec![fill; usize::from(width) * 4];
        for line in (0..height).filter(|line| !without.contains(line)) {
            self.dma(&[plain(0, line, 0, width * 4)], &source, Publish::No);
        }
        self.publish(0);
    }
}

#[test]
fn pieces_land_where_they_belong_and_nowhere_else() {
    let buffer = Buffer::window(8, 4, false);
    let mut windows = windows(&buffer);
    let source: Vec<u8> = (1..=100).collect();
    // Two segments, as of a packet that ends one line and begins the next.
    windows.dma(&[plain(10, 1, 5, 12), plain(22, 2, 0, 8)], &source, Publish::No);
    let mut expected = vec![0; 8 * 4 * 4];
    expected[32 + 20..32 + 32].copy_from_slice(&source[10..22]);
    expected[64..72].copy_from_slice(&source[22..30]);
    // The adapter begins with slot 2; nothing else of the file but its header page changed.
    assert_eq!(buffer.pixels(2), expected);
    for slot in [0, 1] {
        assert!(buffer.pixels(slot).iter().all(|byte| *byte == 0));
    }
    assert_eq!(buffer.count(0, counter::BYTES), 20);
    assert_eq!(buffer.count(0, counter::CLIPPED), 0);
}

#[test]
fn whatever_leaves_the_window_or_the_source_is_cut() {
    let source = [0xff; 64];
    let cases = [
        ("over the right edge", plain(0, 0, 6, 64), 8),
        ("right of the edge", plain(0, 0, 8, 4), 0),
        ("far right", plain(0, 0, u16::MAX, 4), 0),
        ("below the last line", plain(0, 4, 0, 4), 0),
        ("far below", plain(0, u16::MAX, 0, 4), 0),
        ("behind the source", plain(64, 0, 0, 4), 0),
        ("far behind it", plain(u32::MAX, 0, 0, 4), 0),
        ("over its end", plain(60, 0, 0, 8), 4),
        ("longer than any line", plain(0, 3, 0, u16::MAX), 32),
    ];
    for (name, element, moved) in cases {
        let buffer = Buffer::window(8, 4, false);
        let mut windows = windows(&buffer);
        windows.dma(&[element], &source, Publish::No);
        assert_eq!(buffer.count(0, counter::BYTES), moved, "{name}");
        assert_eq!(buffer.count(0, counter::CLIPPED), 1, "{name}");
        let written = buffer.pixels(2).iter().filter(|byte| **byte == 0xff).count();
        assert_eq!(written as u64, moved, "{name}");
        let others = [buffer.pixels(0), buffer.pixels(1)].concat();
        assert!(others.iter().all(|byte| *byte == 0), "{name}");
    }
}

#[test]
fn strided_pieces_spread_along_a_line_or_down_the_window() {
    let buffer = Buffer::window(4, 4, false);
    let mut windows = windows(&buffer);
    let rgb: Vec<u8> = (1..=12).collect();
    let lane = |from, lane| Element {
        strides: Strides { pieces: 4, source: 3, target: 4, lane, direction: Direction::Along },
        ..plain(from, 1, 0, 1)
    };
    // Red, green and blue each go to their own byte of the pixels.
    windows.dma(&[lane(0, 2), lane(1, 1), lane(2, 0)], &rgb, Publish::No);
    let down = Element {
        strides: Strides { pieces: 9, source: 4, target: 2, lane: 0, direction: Direction::Down },
        ..plain(0, 0, 3, 4)
    };
    windows.dma(&[down], &[&[21; 4][..], &[22; 4], &[23; 4]].concat(), Publish::No);
    let pixels = buffer.pixels(2);
    assert_eq!(pixels[16..32], [3, 2, 1, 0, 6, 5, 4, 0, 9, 8, 7, 0, 12, 11, 10, 0]);
    assert_eq!((&pixels[12..16], &pixels[44..48]), (&[21; 4][..], &[22; 4][..]));
    assert_eq!(pixels.iter().filter(|byte| **byte == 23).count(), 0, "below the window");
}

#[test]
fn a_list_costs_by_element_piece_and_byte_and_one_too_dear_does_nothing() {
    let buffer = Buffer::window(8, 4, false);
    let mut windows = windows(&buffer);
    let source = [9; 64];
    let element = plain(0, 0, 0, 32);
    assert_eq!(windows.dma(&[element], &source, Publish::No), ELEMENT_COST + 1 + 2);
    assert_eq!(windows.dma(&[], &source, Publish::Both), 2 * PUBLISH_COST);
    let strides = Strides { pieces: u16::MAX, target: 0, ..Strides::NONE };
    let dear = Element { length: u16::MAX, strides, ..element };
    let transfer = Transfer { elements: 1, form: Form::Strided, ..TRANSFER };
    let bytes = list(Form::Strided, &[dear]);
    let refused = windows.carry_out(transfer, &bytes, &source, FUEL);
    assert_eq!(refused, Err(ErrorCode::Full));
    assert_eq!(buffer.count(0, counter::BYTES), 32, "the first one's");
}

#[test]
fn a_list_with_one_bad_element_does_nothing_at_all() {
    let buffer = Buffer::window(8, 4, false);
    let mut windows = windows(&buffer);
    let mut bytes = list(Form::Plain, &[plain(0, 0, 0, 4), plain(0, 1, 0, 4)]);
    bytes[23] = 1;
    let transfer = Transfer { elements: 2, ..TRANSFER };
    let refused = windows.carry_out(transfer, &bytes, &[1; 64], FUEL);
    assert_eq!(refused, Err(ErrorCode::BadVerdict));
    assert_eq!(buffer.count(0, counter::BYTES), 0);
    let short = windows.carry_out(transfer, &bytes[..20], &[1; 64], FUEL);
    assert_eq!(short, Err(ErrorCode::OutOfRange));
}

#[test]
fn complete_frames_are_published_and_taken_or_overwritten() {
    let buffer = Buffer::window(8, 4, false);
    let mut windows = windows(&buffer);
    let mut front = 0;
    let mut shown = 0;
    for number in 1..=20_u8 {
        windows.frame((8, 4), number, &[]);
        if number % 3 == 0 {
            assert!(buffer.take(&mut front));
            shown += 1;
            assert!(buffer.pixels(front).iter().all(|byte| *byte == number));
            assert_eq!(buffer.head(front, slot::FLAGS), COMPLETE);
            assert_eq!(buffer.head(front, slot::FRAME_NUMBER), u32::from(number));
            assert_eq!(buffer.head(front, slot::TAG), 77);
        }
    }
    let overwritten = buffer.count(0, counter::OVERWRITTEN);
    // One more is in the mailbox still.
    assert_eq!(shown + overwritten + 1, buffer.count(0, counter::COMPLETE));
    assert_eq!(buffer.count(0, counter::COMPLETE), 20);
    assert!(!buffer.take(&mut front) || !buffer.take(&mut front));
}

#[test]
fn incomplete_frames_are_dropped_where_there_is_no_slot_to_repair_them() {
    let buffer = Buffer::window(8, 4, false);
    let mut windows = windows(&buffer);
    let mut front = 0;
    windows.frame((8, 4), 1, &[]);
    windows.frame((8, 4), 2, &[3]);
    assert!(buffer.take(&mut front));
    assert_eq!(buffer.pixels(front), [1; 128], "the complete one");
    windows.frame((8, 4), 3, &[]);
    assert!(buffer.take(&mut front));
    assert_eq!(buffer.pixels(front), [3; 128]);
    assert_eq!(buffer.count(0, counter::INCOMPLETE), 1);
    assert_eq!(buffer.count(0, counter::DROPPED), 1);
    assert_eq!(buffer.head(front, slot::FRAME_NUMBER), 3);
}

#[test]
fn incomplete_frames_are_repaired_in_slices_beside_the_next_and_flagged() {
    let (width, height) = (1024_u16, 64_u16);
    let buffer = Buffer::window(width.into(), height.into(), true);
    let mut windows = windows(&buffer);
    let mut front = 0;
    windows.frame((width, height), 1, &[]);
    let lost: Vec<u16> = (0..40).collect();
    windows.frame((width, height), 2, &lost);
    // 40 lines of 4 KiB are 160 KiB: three slices. Meanwhile the next frame begins.
    let source = vec![3; usize::from(width) * 4];
    for slices in 1..=3 {
        assert!(windows.is_repairing(), "after {} slices", slices - 1);
        windows.dma(&[plain(0, slices, 0, width * 4)], &source, Publish::No);
        windows.turn(Nanos(u64::from(slices)));
    }
    assert!(!windows.is_repairing());
    assert!(buffer.take(&mut front));
    let pixels = buffer.pixels(front);
    let lines = pixels.chunks_exact(usize::from(width) * 4).enumerate();
    for (line, bytes) in lines {
        let expected = if line < 40 { 1 } else { 2 };
        assert!(bytes.iter().all(|byte| *byte == expected), "line {line}");
    }
    assert_eq!(buffer.head(front, slot::FLAGS), REPAIRED);
    assert_eq!(buffer.head(front, slot::LINES_MISSING), 40);
    assert_eq!(buffer.head(front, slot::BYTES_MISSING), 40 * 4096);
    assert_eq!(buffer.count(0, counter::REPAIRED), 1);
}

#[test]
fn a_repair_that_the_next_frame_overtakes_is_given_up() {
    let (width, height) = (1024_u16, 64_u16);
    let buffer = Buffer::window(width.into(), height.into(), true);
    let mut windows = windows(&buffer);
    let mut front = 0;
    windows.frame((width, height), 1, &[]);
    let lost: Vec<u16> = (0..40).collect();
    windows.frame((width, height), 2, &lost);
    windows.turn(Nanos(1));
    windows.frame((width, height), 3, &[]);
    windows.turn(Nanos(2));
    assert!(!windows.is_repairing());
    assert!(buffer.take(&mut front));
    assert!(buffer.pixels(front).iter().all(|byte| *byte == 3));
    assert!(!buffer.take(&mut front));
    let counts = [counter::COMPLETE, counter::INCOMPLETE, counter::DROPPED, counter::REPAIRED];
    assert_eq!(counts.map(|which| buffer.count(0, which)), [2, 1, 1, 0]);
}

#[test]
fn the_first_frame_of_all_cannot_be_repaired() {
    let buffer = Buffer::window(8, 4, true);
    let mut windows = windows(&buffer);
    windows.frame((8, 4), 1, &[0]);
    assert!(!windows.is_repairing());
    assert_eq!(buffer.count(0, counter::DROPPED), 1);
    assert_eq!(buffer.word(MAILBOX) & FRESH, 0);
}

#[test]
fn publishing_before_ends_the_open_frame_and_nothing_twice() {
    let buffer = Buffer::window(8, 1, false);
    let mut windows = windows(&buffer);
    let mut front = 0;
    windows.dma(&[plain(0, 0, 0, 32)], &[1; 32], Publish::Before);
    assert!(!buffer.take(&mut front), "nothing was open before it");
    windows.dma(&[plain(0, 0, 0, 32)], &[2; 32], Publish::Both);
    assert!(buffer.take(&mut front));
    assert_eq!(buffer.pixels(front), [2; 32]);
    assert_eq!(buffer.count(0, counter::COMPLETE), 2);
    windows.publish(0);
    assert_eq!(buffer.count(0, counter::COMPLETE), 2, "no frame is open");
}

#[test]
fn a_new_geometry_begins_with_the_next_frame_and_is_acknowledged_then() {
    let (small, large) = (Buffer::window(8, 2, false), Buffer::window(16, 2, false));
    let mut windows = windows(&small);
    windows.dma(&[plain(0, 0, 0, 32)], &[1; 64], Publish::No);
    let acknowledgement = granted(&mut windows, large.grant(0)).unwrap();
    assert!(matches!(wait(&acknowledgement), Err(GrantError::Late)));
    windows.dma(&[plain(0, 1, 0, 32)], &[1; 64], Publish::After);
    wait(&acknowledgement).expect("the frame has ended");
    let mut front = 0;
    assert!(small.take(&mut front), "and was shown in the old buffer");
    windows.dma(&[plain(0, 0, 0, 64), plain(0, 1, 0, 64)], &[2; 64], Publish::After);
    assert!(!small.take(&mut front));
    let mut front = 0;
    assert!(large.take(&mut front));
    assert_eq!(large.pixels(front), [2; 128]);
    assert_eq!(large.count(0, counter::COMPLETE), 2, "the counters go on");
    // A stream that stopped in the middle of a frame is not waited for.
    windows.dma(&[plain(0, 0, 0, 64)], &[3; 64], Publish::No);
    let late = granted(&mut windows, small.grant(0)).unwrap();
    let now = Grant { start: Start::AtOnce, ..small.grant(0) };
    wait(&granted(&mut windows, now).unwrap()).expect("at once");
    assert!(matches!(wait(&late), Err(GrantError::Replaced)));
}

#[test]
fn leases_are_disjoint_rectangles_and_a_revoked_one_gets_nothing() {
    let screen = Buffer::new(Geometry::screen(1, 20, 10).unwrap());
    let mut windows = Windows::default();
    let rectangle = |x, y| Rectangle { x, y, width: 5, height: 4 };
    wait(&granted(&mut windows, screen.lease(0, rectangle(2, 3))).unwrap()).unwrap();
    let overlap = granted(&mut windows, screen.lease(1, rectangle(6, 6))).unwrap();
    assert!(matches!(wait(&overlap), Err(GrantError::Taken { window: 1 })));
    wait(&granted(&mut windows, screen.lease(1, rectangle(7, 6))).unwrap()).unwrap();

    let all = [plain(0, 0, 0, 80), plain(0, 1, 0, 80), plain(0, 2, 0, 80), plain(0, 9, 0, 80)];
    windows.dma(&all, &[0xee; 80], Publish::No);
    let in_lease = |x: usize, y: usize| (2..7).contains(&x) && (3..6).contains(&y);
    let painted = |screen: &Buffer| {
        let pixels = screen.pixels(0);
        let pixel = |x: usize, y: usize| pixels[(y * 20 + x) * 4] != 0;
        let mut found = Vec::new();
        for y in 0..10 {
            found.extend((0..20).filter(|x| pixel(*x, y)).map(|x| (x, y)));
        }
        found
    };
    let expected: Vec<_> = (3..6).flat_map(|y| (2..7).map(move |x| (x, y))).collect();
    assert_eq!(painted(&screen), expected);
    assert!(painted(&screen).iter().all(|(x, y)| in_lease(*x, *y)));

    let (reply, acknowledgement) = Acknowledgement::pending();
    windows.revoke(0, &reply);
    wait(&acknowledgement).unwrap();
    windows.dma(&[plain(0, 3, 0, 20)], &[0xee; 80], Publish::After);
    assert_eq!(painted(&screen), expected, "as it was");
    wait(&granted(&mut windows, screen.lease(0, rectangle(15, 0))).unwrap()).unwrap();
    assert_eq!(screen.count(0, counter::REVOKED), 1);
    windows.dma(&[plain(0, 0, 0, 20)], &[0xee; 80], Publish::No);
    assert_eq!(painted(&screen).len(), expected.len() + 5);
}

#[test]
fn grants_that_cannot_be_are_refused_with_a_reason() {
    let buffer = Buffer::window(8, 4, false);
    let refused = |grant| match Prepared::new(grant) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("granted"),
    };
    assert!(refused(buffer.grant(16)).contains("windows 0 to 15"));
    let part = Rectangle { x: 0, y: 0, width: 4, height: 4 };
    assert!(refused(buffer.lease(0, part)).contains("8x4"));
    let screen = Buffer::new(Geometry::screen(1, 8, 4).unwrap());
    for outside in [
        Rectangle { x: 5, ..part },
        Rectangle { y: 1, ..part },
        Rectangle { width: 0, ..part },
        Rectangle { x: u32::MAX, ..part },
    ] {
        assert!(refused(screen.lease(0, outside)).contains("8x4"), "{outside:?}");
    }
    let larger = Geometry::window(1, 640, 480, false).unwrap();
    let short = Grant {
        buffer: FrameBuffer { geometry: larger, ..buffer.grant(0).buffer },
        rectangle: larger.whole(),
        ..buffer.grant(0)
    };
    assert!(refused(short).contains("bytes instead of"));
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let unsealed = File::from(memfd_create(c"test", flags).unwrap());
    unsealed.set_len(1 << 20).unwrap();
    let buffer = FrameBuffer { file: unsealed.into(), ..buffer.grant(0).buffer };
    let rectangle = buffer.geometry.whole();
    let grant = Grant { window: 0, buffer, rectangle, start: Start::NextFrame };
    assert!(refused(grant).contains("not sealed"));
}
