//! The runtime's double for tests on the host: no `unsafe`, one per thread.
//!
//! A test's thread stands for one loaded extension: statics, regions, buffers and the messages it sent
//! are kept here under that thread, so that tests running side by side do not meet.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use spine_abi::{BufferRef, ErrorCode, Message};

use super::Span;

/// All that the runtime knows of the extension on this thread.
#[derive(Default)]
pub(crate) struct Double {
    cells: HashMap<usize, u64>,
    spans: HashMap<usize, Span>,
    pub(crate) regions: Vec<Span>,
    pub(crate) contexts: HashMap<u16, u32>,
    pub(crate) buffers: HashMap<BufferRef, Vec<u8>>,
    pub(crate) to_host: Vec<Message>,
    pub(crate) to_peers: Vec<(u16, Message)>,
}

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

fn key<T>(cell: &'static T) -> usize {
    std::ptr::from_ref(cell).addr()
}
