//! The mailbox and the lease over every interleaving of two threads (loom).
//!
//! Pixels are relaxed atomics here, so that nothing but the protocol orders them; a mark on each slot says
//! who is at it. The naive way of moving a window is here, too, and is found out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::{self, AcqRel, Relaxed};
use loom::sync::mpsc::channel;
use loom::thread;
use spine_abi::frame_buffer::mailbox_fresh;
use spine_abi::mailbox::{EMPTY, Reader, Word, Writer};

/// The mailbox word as loom sees it, and how a swap orders what is around it.
struct Mailbox(AtomicU32, Ordering);

impl Word for Mailbox {
    fn peek(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn swap(&self, value: u32) -> u32 {
        self.0.swap(value, self.1)
    }
}

/// Memory of two lines, and who is at it.
struct Memory {
    busy: AtomicU32,
    lines: [AtomicU32; 2],
}

impl Memory {
    fn new() -> Self {
        Self { busy: AtomicU32::new(0), lines: [AtomicU32::new(0), AtomicU32::new(0)] }
    }

    /// Enters, works and leaves; nobody else may be there meanwhile.
    fn alone<R>(&self, work: impl FnOnce(&[AtomicU32; 2]) -> R) -> R {
        assert_eq!(self.busy.swap(1, Relaxed), 0, "somebody is at this memory");
        let result = work(&self.lines);
        assert_eq!(self.busy.swap(0, Relaxed), 1);
        result
    }

    fn write(&self, value: u32) {
        self.alone(|lines| lines.iter().for_each(|line| line.store(value, Relaxed)));
    }

    fn read(&self) -> u32 {
        self.alone(|[one, other]| {
            let (one, other) = (one.load(Relaxed), other.load(Relaxed));
            assert_eq!(one, other, "a torn frame");
            one
        })
    }
}

struct Window {
    mailbox: Mailbox,
    slots: Vec<Memory>,
}

impl Window {
    fn new(slots: usize, order: Ordering) -> Arc<Self> {
        let slots = (0..slots).map(|_| Memory::new()).collect();
        Arc::new(Self { mailbox: Mailbox(AtomicU32::new(EMPTY), order), slots })
    }
}

/// Takes what there is, twice; says how many frames that were.
fn look(window: &Window, reader: &mut Reader) -> u32 {
    let (mut shown, mut last) = (0, 0);
    for _ in 0..2 {
        if reader.take(&window.mailbox) {
            let frame = window.slots[reader.front()].read();
            assert!(frame > last, "frame {frame} after {last}");
            last = frame;
            shown += 1;
        }
    }
    shown
}

fn frames(order: Ordering) {
    loom::model(move || {
        const FRAMES: u32 = 3;
        let window = Window::new(3, order);
        let adapter = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                let mut writer = Writer::new(3);
                let mut overwritten = 0;
                for frame in 1..=FRAMES {
                    window.slots[writer.back()].write(frame);
                    overwritten += u32::from(writer.publish(&window.mailbox));
                }
                overwritten
            })
        };
        let mut reader = Reader::new(3);
        let shown = look(&window, &mut reader);
        let overwritten = adapter.join().unwrap();
        let waiting = u32::from(mailbox_fresh(window.mailbox.peek()));
        assert_eq!(shown + overwritten + waiting, FRAMES);
    });
}

#[test]
fn no_frame_is_torn_and_each_is_shown_or_overwritten() {
    frames(AcqRel);
}

/// The model finds out what the swaps' order is for.
#[test]
#[should_panic]
fn without_release_and_acquire_frames_tear() {
    frames(Relaxed);
}

#[test]
fn a_frame_under_repair_is_nobody_elses_either() {
    loom::model(|| {
        let window = Window::new(4, AcqRel);
        let adapter = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                let mut writer = Writer::new(4);
                window.slots[writer.back()].write(1);
                let from = writer.back();
                writer.publish(&window.mailbox);
                // Frame 2 has a hole: it is set aside, frame 3 begins, and then 2 is completed from what
                // the application may be reading: reading it, too, takes nothing from anybody.
                window.slots[writer.back()].write(0);
                writer.set_aside();
                window.slots[writer.back()].write(0);
                let before = window.slots[from].lines[0].load(Relaxed);
                assert_eq!(before, 1, "the slot published last does not change");
                window.slots[writer.aside()].write(2);
                writer.publish_aside(&window.mailbox);
                window.slots[writer.back()].write(3);
                writer.publish(&window.mailbox);
            })
        };
        let mut reader = Reader::new(4);
        look(&window, &mut reader);
        adapter.join().unwrap();
    });
}

/// What the application asks an adapter for, and the adapter between two messages answers.
enum Control {
    Revoke,
    Grant(usize),
}

/// The screen: two places a window can be. Painting is done by the adapter where the lease says, erasing by
/// the application where the window was.
fn screen() -> Arc<[Memory; 2]> {
    Arc::new([Memory::new(), Memory::new()])
}

#[test]
fn after_the_acknowledgement_of_a_revocation_the_place_is_the_applications() {
    loom::model(|| {
        let screen = screen();
        let (control, requests) = channel();
        let (reply, acknowledged) = channel();
        let adapter = {
            let screen = Arc::clone(&screen);
            thread::spawn(move || {
                let mut lease = Some(0);
                for request in [None, Some(()), Some(())] {
                    // A message, and then whatever was asked for meanwhile.
                    if let Some(place) = lease {
                        screen[place].write(1);
                    }
                    if request.is_none() {
                        continue;
                    }
                    match requests.recv().unwrap() {
                        Control::Revoke => lease = None,
                        Control::Grant(place) => lease = Some(place),
                    }
                    reply.send(()).unwrap();
                }
                if let Some(place) = lease {
                    screen[place].write(1);
                }
            })
        };
        control.send(Control::Revoke).unwrap();
        acknowledged.recv().unwrap();
        screen[0].write(0);
        control.send(Control::Grant(1)).unwrap();
        acknowledged.recv().unwrap();
        adapter.join().unwrap();
        assert_eq!(screen[0].read(), 0, "no stray pixel where the window was");
        assert_eq!(screen[1].read(), 1);
    });
}

/// The way it was done first: the application says where the window is now, and erases where it was.
#[test]
#[should_panic(expected = "at this memory")]
fn without_an_acknowledgement_the_adapter_still_paints_where_the_window_was() {
    loom::model(|| {
        let screen = screen();
        let place = Arc::new(AtomicU32::new(0));
        let adapter = {
            let (screen, place) = (Arc::clone(&screen), Arc::clone(&place));
            thread::spawn(move || screen[place.load(Relaxed) as usize].write(1))
        };
        place.store(1, Relaxed);
        screen[0].write(0);
        adapter.join().unwrap();
    });
}
