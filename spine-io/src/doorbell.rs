//! Doorbells: waking a processor that sleeps, and only then.
//!
//! A processor says that it sleeps, looks at its queues once more, and then sleeps; whoever puts
//! something in a queue rings only if the processor said so. With both sides' fences one of the two
//! always sees the other, and while the processor is awake a doorbell costs no system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes one processor.
#[derive(Debug)]
pub struct Doorbell {
    event: EventFd,
    sleeping: AtomicBool,
    rung: AtomicU64,
}

impl Doorbell {
    /// A doorbell nobody has rung.
    ///
    /// # Errors
    /// What eventfd says.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            event: EventFd::from_value_and_flags(0, flags)?,
            sleeping: AtomicBool::new(false),
            rung: AtomicU64::new(0),
        })
    }

    /// Wakes the processor if it sleeps. Call after putting something in its queue.
    #[inline]
    pub fn ring(&self) {
        // Orders the queue's write before the look at the flag; pairs with the fence in `doze`.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            self.rung.fetch_add(1, Ordering::Relaxed);
            // The only error is a full counter, and then it is readable anyway.
            let _ = self.event.write(1);
        }
    }

    /// Says that the processor is about to sleep. It must look at its queues after this.
    pub(crate) fn doze(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        // Orders the flag before the look at the queues; pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// Says that it is awake; `heard` says that the descriptor was readable, and silences it.
    ///
    /// A ring whose write comes later than this leaves the descriptor readable: then the next sleep
    /// ends at once, hears it, and silences it.
    pub(crate) fn wake(&self, heard: bool) {
        self.sleeping.store(false, Ordering::Relaxed);
        if heard {
            let _ = self.event.read();
        }
    }

    /// How often it was really rung: system calls.
    pub fn rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// What becomes readable.
    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_fd().as_raw_fd()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
