//! From the adapters to the server: a thread each waits for notices and wakes the server for them.
//!
//! Messages of extensions do not come here: they go to their applications by FIFOs of their own. The queue is
//! bounded, and the thread waits when it is full: then the adapter keeps its notices.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use spine_abi::Notice;
use spine_abi::limits::HOST_FIFO;
use spine_io::Machine;

/// How long a thread waits before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// What the server hears of, with what wakes it.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Arc<EventFd>);

impl Bell {
    /// One nobody has rung.
    ///
    /// # Errors
    /// What eventfd says.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Wakes the server.
    pub(crate) fn ring(&self) {
        // The only error is a full counter, and then it is readable anyway.
        let _ = self.0.write(1);
    }

    /// Silences it, before one looks at what it rang for.
    pub(crate) fn silence(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Starts a thread for each adapter; each ends soon after the receiver is dropped.
///
/// # Errors
/// There are no threads.
pub(crate) fn collect(machine: &Arc<Machine>, bell: &Bell) -> io::Result<Receiver<(u16, Notice)>> {
    let (to, from) = sync_channel(HOST_FIFO);
    for index in 0..machine.adapters().len() {
        let (machine, bell, to) = (Arc::clone(machine), bell.clone(), to.clone());
        std::thread::Builder::new()
            .name(format!("spine-mail{index}"))
            .spawn(move || carry(&machine, index, &bell, &to))?;
    }
    Ok(from)
}

fn carry(machine: &Machine, index: usize, bell: &Bell, to: &SyncSender<(u16, Notice)>) {
    let Some(adapter) = machine.adapters().get(index) else { return };
    let number = adapter.index();
    while machine.is_running() {
        let Some(message) = adapter.receive(LOOK) else { continue };
        let Some(notice) = Notice::from_message(&message) else { continue };
        if to.send((number, notice)).is_err() {
            return;
        }
        bell.ring();
    }
}
