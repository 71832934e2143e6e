//! Extensions that have ended are taken apart beside the adapter, not on it.
//!
//! Giving an extension's memory back takes the system milliseconds: 16 MiB of its own and up to a gigabyte of
//! regions, page by page. The neighbours' packets would wait for that, as often as somebody loads an
//! extension that is struck out, or whose handler is taken. So an adapter hands the instance to one thread of
//! the process, and goes on.
//!
//! The thread has few instances waiting: an adapter that brings more takes them apart itself. It ends with
//! the process. What an extension held of its adapter (frames, timers, its place in the tables) was taken
//! back before.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use super::Loaded;

/// Instances that wait at most. Each has four gigabytes of address space.
const WAITING: usize = 64;

static THREAD: OnceLock<SyncSender<Loaded>> = OnceLock::new();

/// Starts the thread, once. From a thread that is not pinned, whose cores it inherits.
///
/// # Errors
/// What the system says: there is no such thread then, and adapters do the work themselves.
pub(crate) fn start() -> io::Result<()> {
    if THREAD.get().is_some() {
        return Ok(());
    }
    let (sender, receiver) = sync_channel::<Loaded>(WAITING);
    // Of two that start at the same time one is too late: its receiver goes, and so does its thread.
    let _ = THREAD.set(sender);
    let work = move || receiver.into_iter().for_each(drop);
    std::thread::Builder::new().name("spine-ended".to_owned()).spawn(work).map(drop)
}

/// Takes an instance apart, later and elsewhere if that can be.
pub(crate) fn take_apart(instance: Loaded) {
    let Some(thread) = THREAD.get() else { return };
    if let Err(TrySendError::Full(instance) | TrySendError::Disconnected(instance)) =
        thread.try_send(instance)
    {
        drop(instance);
    }
}
