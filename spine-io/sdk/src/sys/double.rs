//! The runtime's double for tests on the host: no `unsafe`, one per thread.
//!
//! A test's thread stands for one loaded extension: statics, regions, buffers and the messages it sent
//! are kept here under that thread, so that tests running side by side do not meet.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use spine_abi::limits::TIMERS;
use spine_abi::{BufferRef, ErrorCode, Message};

use super::Span;

/// All that the runtime knows of the extension on this thread.
#[derive(Default)]
pub(crate) struct Double {
    cells: HashMap<usize, u64>,
    spans: HashMap<usize, Span>,
    /// Scratch memory and the addresses made up for it.
    scratch: Vec<(usize, u32, Span)>,
    pub(crate) regions: Vec<Span>,
    pub(crate) contexts: HashMap<u16, u32>,
    pub(crate) buffers: HashMap<BufferRef, Vec<u8>>,
    pub(crate) to_host: Vec<Message>,
    pub(crate) to_peers: Vec<(u16, Message)>,
    /// Timers armed: number, microseconds, handler, token.
    pub(crate) timers: Vec<(u32, u32, u16, u64)>,
    newest_timer: u32,
    /// What other extensions answer, by domain and interface.
    pub(crate) answers: HashMap<(String, String), Answer>,
}

/// A double of another extension's interface: numbers as bits.
pub(crate) type Answer = Rc<dyn Fn(&[u64]) -> u64>;

thread_local! {
    static DOUBLE: RefCell<Double> = RefCell::default();
}

pub(crate) fn with<R>(work: impl FnOnce(&mut Double) -> R) -> R {
    DOUBLE.with(|double| work(&mut double.borrow_mut()))
}

pub(crate) fn add_handler(number: u16, context: u32) -> i32 {
    with(|double| double.contexts.insert(number, context));
    0
}

pub(crate) fn region(index: u32) -> Option<Span> {
    with(|double| double.regions.get(index as usize).copied())
}

pub(crate) fn read(buffer: BufferRef, offset: u32, into: &mut [u8]) -> i32 {
    with_data(buffer, offset, |data| {
        let length = into.len().min(data.len());
        into[..length].copy_from_slice(&data[..length]);
        length
    })
}

pub(crate) fn write(buffer: BufferRef, offset: u32, from: &[u8]) -> i32 {
    with_data(buffer, offset, |data| {
        let length = from.len().min(data.len());
        data[..length].copy_from_slice(&from[..length]);
        length
    })
}

pub(crate) fn release(buffer: BufferRef) -> i32 {
    with(|double| match double.buffers.remove(&buffer) {
        Some(_) => 0,
        None => ErrorCode::NoBuffer.to_number(),
    })
}

pub(crate) fn send_host(message: &Message) -> i32 {
    with(|double| double.to_host.push(message.clone()));
    0
}

pub(crate) fn send_peer(peer: u16, message: &Message) -> i32 {
    with(|double| double.to_peers.push((peer, message.clone())));
    0
}

pub(crate) fn arm(microseconds: u32, handler: u16, token: u64) -> i32 {
    with(|double| {
        if double.timers.len() >= TIMERS {
            return ErrorCode::Full.to_number();
        }
        double.newest_timer += 1;
        double.timers.push((double.newest_timer, microseconds, handler, token));
        i32::try_from(double.newest_timer).unwrap_or(i32::MAX)
    })
}

pub(crate) fn cancel(timer: u32) -> i32 {
    with(|double| {
        let before = double.timers.len();
        double.timers.retain(|(number, ..)| *number != timer);
        if double.timers.len() < before { 0 } else { ErrorCode::NoTimer.to_number() }
    })
}

fn with_data(buffer: BufferRef, offset: u32, work: impl FnOnce(&mut [u8]) -> usize) -> i32 {
    with(|double| {
        let Some(data) = double.buffers.get_mut(&buffer) else {
            return ErrorCode::NoBuffer.to_number();
        };
        match data.get_mut(offset as usize..) {
            Some(data) => i32::try_from(work(data)).unwrap_or(i32::MAX),
            None => ErrorCode::OutOfRange.to_number(),
        }
    })
}

/// A static's number. The atomic is what it starts as, and gives every static an address of its own,
/// which is the key to this thread's value.
#[derive(Debug)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    pub(crate) fn get(&'static self) -> u64 {
        let start = || self.0.load(std::sync::atomic::Ordering::Relaxed);
        with(|double| double.cells.get(&key(self)).copied()).unwrap_or_else(start)
    }

    pub(crate) fn set(&'static self, value: u64) {
        with(|double| double.cells.insert(key(self), value));
    }
}

/// A static's region, under the address of its cell.
#[derive(Debug)]
pub(crate) struct SpanCell(Cell);

impl SpanCell {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn get(&'static self) -> Option<Span> {
        with(|double| double.spans.get(&key(&self.0)).copied())
    }

    pub(crate) fn set(&'static self, span: Span) {
        with(|double| *double.spans.entry(key(&self.0)).or_insert(span));
    }
}

/// A static's memory: each thread has its own, and a made-up 32-bit address for it. The number is only
/// there to have an address, the key to both.
#[derive(Debug)]
pub(crate) struct ScratchCell<const WORDS: usize>(AtomicU64);

impl<const WORDS: usize> ScratchCell<WORDS> {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn find(&'static self) -> (u32, Span) {
        with(|double| {
            let known = double.scratch.iter().find(|(of, ..)| *of == key(&self.0));
            if let Some((_, address, span)) = known {
                return (*address, *span);
            }
            // Far apart, so that a copy over the end of one is not taken for a good one.
            let address = u32::try_from(double.scratch.len() + 1).map_or(0, |n| n << 20);
            let span = Span::leak(8 * WORDS);
            double.scratch.push((key(&self.0), address, span));
            (address, span)
        })
    }

    pub(crate) fn span(&'static self) -> Span {
        self.find().1
    }

    pub(crate) fn address(&'static self) -> u32 {
        self.find().0
    }
}

/// The bytes at a made-up address.
pub(crate) fn scratch(address: u32, length: usize) -> Vec<u8> {
    let found = with(|double| {
        let starts = double.scratch.iter().rev();
        starts.copied().find(|(_, start, _)| *start <= address)
    });
    let Some((_, start, span)) = found else { panic!("no scratch has the address {address:#x}") };
    let at = (address - start) as usize;
    let byte = |at| span.load8(at).unwrap_or_else(|| panic!("{at} is beyond the scratch's end"));
    (at..at + length).map(byte).collect()
}

fn key<T>(cell: &'static T) -> usize {
    std::ptr::from_ref(cell).addr()
}
