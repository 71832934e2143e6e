//! What the adapters of a scene are connected to: sorted wires, and a slow kernel.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spine_abi::HandlerNumber;
use spine_io::AdapterSetup;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::loopback::{Loopback, Wire};
use spine_nic::punt::{KernelPort, Queue};
use spine_nic::{Nic, NicStatistics};

/// Frames of each adapter.
const FRAMES: u32 = 1024;
/// Packets a wire holds.
const WIRE: usize = 256;
/// Packets the kernel takes at most.
const KERNEL_QUEUE: usize = 64;

/// Two adapters on one processor, the memory of their frames, and the far ends of their wires. The first
/// has the kernel, if there is one.
pub(crate) fn setups(
    kernel: Option<Box<dyn KernelPort>>,
) -> (Vec<AdapterSetup>, Arc<FrameMemory>, Vec<Wire>) {
    let (memory, dealt) = FrameMemory::anonymous(2 * FRAMES, 2048, 2).expect("memory");
    let (mut setups, mut wires, mut kernel) = (Vec::new(), Vec::new(), kernel);
    for (index, frames) in dealt.into_iter().enumerate() {
        let name = format!("wire{index}");
        let (inner, wire) = Loopback::wire(&name, Arc::clone(&memory), WIRE).expect("a wire");
        setups.push(AdapterSetup {
            kernel: kernel.take(),
            ..AdapterSetup::new(Box::new(Sorted { inner, memory: Arc::clone(&memory) }), frames)
        });
        wires.push(wire);
    }
    (setups, memory, wires)
}

/// A wire whose packets say in their first byte which handler they are for.
struct Sorted {
    inner: Loopback,
    memory: Arc<FrameMemory>,
}

impl Nic for Sorted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn mode(&self) -> &str {
        self.inner.mode()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let before = into.len();
        let count = self.inner.receive(into, most);
        for frame in &mut into[before..] {
            let number = u16::from(self.memory.packet(frame)[0]);
            frame.set_handler(HandlerNumber(number));
        }
        count
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.inner.transmit(from)
    }

    fn unflushed(&self) -> usize {
        self.inner.unflushed()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.inner.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.inner.refill(from);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.inner.poll_fd()
    }

    fn statistics(&mut self) -> NicStatistics {
        self.inner.statistics()
    }
}

/// A kernel that is slower than the adapter.
#[derive(Default)]
pub(crate) struct SlowKernel {
    /// Packets it has not done with.
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl KernelPort for SlowKernel {
    fn hand_over(&mut self, _packet: &[u8]) -> bool {
        let taken = self.waiting.load(Relaxed) < KERNEL_QUEUE;
        self.waiting.fetch_add(usize::from(taken), Relaxed);
        taken
    }

    fn queue(&self) -> Option<Queue> {
        let waiting = self.waiting.load(Relaxed);
        Some(Queue { waiting, capacity: KERNEL_QUEUE })
    }
}
