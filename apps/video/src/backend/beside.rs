//! The router beside us: it owns the interfaces, and our extension is a guest on the adapter of one.
//!
//! It runs in a thread of its own, which is handed our claims once the extension knows its streams, and tells
//! us when it forwards. Until then what extensions say to the host is ours to read, from then on the router's.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use clap::Parser as _;
use nix::sys::eventfd::{EfdFlags, EventFd};
use spine_io::Machine;
use spine_nic::open::PortClaim;
use spine_os::linker::Linker;
use spine_router::cli::Options;
use spine_router::guest::{Guest, GuestError};
use spine_router::report::Report;
use spine_router::start::{self, Ended, Failure};

/// Why there is no router, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    /// It says.
    #[error("the router: {0}")]
    Router(#[from] Failure),
    /// What it is told on the command line.
    #[error("the router: {0}")]
    Options(#[from] clap::Error),
    /// Its thread.
    #[error("cannot start the router: {0}")]
    Thread(#[from] std::io::Error),
    /// It ended without a word.
    #[error("the router has ended; its last words are above, if it had any")]
    Gone,
}

/// What the router is told.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The interface that streams come in on: its adapter is the first.
    pub interface: &'a str,
    /// The others.
    pub others: &'a [String],
    /// The adapters' core.
    pub core: Option<usize>,
    /// Frames of each adapter.
    pub frames: u32,
}

/// A router that runs, or is about to.
pub struct Beside {
    thread: Option<JoinHandle<Result<Ended, Failure>>>,
    go: Option<SyncSender<Vec<PortClaim>>>,
    ready: Receiver<()>,
    end: Arc<EventFd>,
}

impl Beside {
    /// Opens the router's interfaces; nothing is claimed before [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`BesideError`].
    pub fn open(
        settings: &Settings<'_>,
        linker: &Arc<Linker>,
    ) -> Result<(Self, Arc<Machine>), BesideError> {
        let options = options(settings)?;
        let end =
            Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(std::io::Error::from)?);
        let (opened, machine) = sync_channel(1);
        let (go, claims) = sync_channel::<Vec<PortClaim>>(1);
        let (forwards, ready) = sync_channel(1);
        let (linker, until) = (Arc::clone(linker), Arc::clone(&end));
        let body = move || {
            let guest = Guest {
                linker: &linker,
                begin: Box::new(move |machine| {
                    // Whoever has hung up wants no router any more.
                    let hung_up = || GuestError("nobody wants it".to_owned());
                    opened.send(Arc::clone(machine)).map_err(|_| hung_up())?;
                    claims.recv().map_err(|_| hung_up())
                }),
                ready: Box::new(move || {
                    // As above.
                    let _ = forwards.send(());
                }),
                end: until.as_fd(),
            };
            start::run_with(&options, guest)
        };
        let thread = std::thread::Builder::new().name("spine-router".to_owned()).spawn(body)?;
        let mut router = Self { thread: Some(thread), go: Some(go), ready, end };
        match machine.recv() {
            Ok(machine) => Ok((router, machine)),
            Err(_) => Err(router.failure()),
        }
    }

    /// Claims these packets for us, and waits until everything else is forwarded.
    ///
    /// # Errors
    /// [`BesideError`].
    pub fn begin(&mut self, claims: Vec<PortClaim>) -> Result<(), BesideError> {
        let sent = self.go.take().is_some_and(|go| go.send(claims).is_ok());
        if sent && self.ready.recv().is_ok() { Ok(()) } else { Err(self.failure()) }
    }

    /// Why it does not run any more; `None` while it does.
    pub fn trouble(&mut self) -> Option<BesideError> {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished).then(|| self.failure())
    }

    /// Ends it: from here on the kernel has every packet. Answers what it did.
    ///
    /// # Errors
    /// [`BesideError`].
    pub fn end(&mut self) -> Result<Report, BesideError> {
        // A full counter is readable, too.
        let _ = self.end.write(1);
        // One that waits for us to begin sees that we do not.
        self.go = None;
        match self.join()? {
            Ended { report, failure: None } => Ok(report),
            Ended { failure: Some(failure), .. } => Err(failure.into()),
        }
    }

    fn join(&mut self) -> Result<Ended, BesideError> {
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        Ok(ended.ok_or(BesideError::Gone)??)
    }

    fn failure(&mut self) -> BesideError {
        self.end().err().unwrap_or(BesideError::Gone)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Why it failed nobody can be told any more.
            let _ = self.end();
        }
    }
}

/// As on the router's command line.
fn options(settings: &Settings<'_>) -> Result<Options, clap::Error> {
    let Settings { interface, others, core, frames } = *settings;
    let mut words = vec!["spine-router".to_owned()];
    let mut say = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    // The only kind that claims ports beside destinations.
    say("--nic", "xdp");
    say("--frames", &frames.to_string());
    say("--iface", interface);
    others.iter().for_each(|name| say("--iface", name));
    if let Some(core) = core {
        say("--cores", &core.to_string());
    }
    Options::try_parse_from(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_told_what_we_were_told() {
        let others = ["b".to_owned(), "c".to_owned()];
        let settings = Settings { interface: "a", others: &others, core: Some(1), frames: 32768 };
        let options = options(&settings).unwrap();
        assert_eq!(options.interfaces, ["a", "b", "c"]);
        assert_eq!((options.cores, options.frames), (vec![1], Some(32768)));
    }
}
