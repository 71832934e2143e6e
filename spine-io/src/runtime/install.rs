//! Extensions come and go.
//!
//! All or nothing on the way in; on the way out everything that an extension held comes back, and whoever has to
//! know is told.
//!
//! Packets that an ended extension has not answered for are the kernel's, as those are that still come for it: what
//! waits for it, and what it kept, go there as they were received, as far as one extension's share of the queue to
//! the kernel has room. Only untouched ones do: a packet that a handler wrote to, or passed on or kept with its first
//! bytes copied back (`writeback`), may not be what was received, and its checksums may be wrong; it is dropped. What
//! an extension answered for, or was stopped at, is not asked back from anywhere.

use spine_abi::limits::EXTENSIONS;
use spine_abi::{Notice, Reason};

use super::{Adapter, Installed};
use crate::dispatcher::price::Price;
use crate::dispatcher::share::Share;
use crate::dispatcher::waiting::Waiting;
use crate::extension::{Instance, LoadError, Loaded, ended};
use crate::id::{ExtensionId, FifoId};
use crate::message::{Body, Pending};
use crate::stats::Bill;
use crate::watchdog::Strikes;

impl Adapter {
    /// Installs an extension that was prepared for this adapter.
    ///
    /// # Errors
    /// [`LoadError::Full`], [`LoadError::HandlerTaken`], or one of those about domains of other extensions;
    /// the adapter is as before.
    pub fn install(&mut self, instance: Loaded) -> Result<ExtensionId, LoadError> {
        match self.admit(&instance) {
            Ok((number, links)) => Ok(self.put(number, instance, &links)),
            Err(error) => {
                ended::take_apart(instance);
                Err(error)
            }
        }
    }

    /// Finds a place for an extension, and those it is linked against. Its handlers are its own then.
    fn admit(&mut self, instance: &Instance) -> Result<(u16, Vec<u16>), LoadError> {
        let name = || self.out.nic.name().to_owned();
        let free = self.extensions.iter().position(Option::is_none);
        let place = free.unwrap_or(self.extensions.len());
        let Some(number) = u16::try_from(place).ok().filter(|_| place < EXTENSIONS) else {
            return Err(LoadError::Full(name()));
        };
        let links = self.find_links(instance, number)?;
        if let Some(room) = self.out.nic.card_bytes() {
            let used = self.extensions.iter().flatten().map(|it| it.instance.card_bytes());
            let (left, wanted) = (room.saturating_sub(used.sum()), instance.card_bytes());
            if wanted > left {
                let why = format!(
                    "it needs {wanted} bytes (memory, code, slot and regions) and the card {} has {left} left",
                    name()
                );
                return Err(LoadError::Memory { name: instance.name().to_owned(), why });
            }
        }
        let handlers: Vec<_> = instance.handlers().collect();
        self.table.install(number, handlers.iter().copied()).map_err(|taken| {
            LoadError::HandlerTaken {
                number: taken,
                name: instance.name().to_owned(),
                adapter: name(),
            }
        })?;
        Ok((number, links))
    }

    /// Puts an extension that was admitted in its place.
    fn put(&mut self, number: u16, mut instance: Loaded, links: &[u16]) -> ExtensionId {
        instance.installed_as(number);
        instance.set_links(links);
        instance.timers().start(self.now);
        self.next_timer = self.next_timer.min(instance.timers().next());
        let owner = self.owners.add(instance.user());
        let price = Price::unknown(instance.budget().message, self.meter.slowness());
        let installed = Some(Installed {
            instance,
            waiting: Waiting::new(),
            share: Share::default(),
            price,
            strikes: Strikes::default(),
            bill: Bill::default(),
            owner,
            posted: false,
        });
        match self.extensions.get_mut(usize::from(number)) {
            Some(place) => *place = installed,
            None => self.extensions.push(installed),
        }
        self.relink();
        ExtensionId(number)
    }

    /// Removes an extension and takes back all it held: waiting messages, kept buffers. Applications of
    /// other processes are told. Those that are linked against it go with it. Says whether it was there.
    pub fn unload(&mut self, ExtensionId(extension): ExtensionId) -> bool {
        let Some(mut applications) = self.remove(extension) else { return false };
        applications.retain(|application| *application != FifoId::OWN);
        self.notify(&applications, Notice::Removed { extension });
        true
    }

    /// Removes an extension; whose it was.
    pub(super) fn remove(&mut self, extension: u16) -> Option<Vec<FifoId>> {
        let place = self.extensions.get_mut(usize::from(extension));
        let mut installed = place.and_then(Option::take)?;
        self.table.remove(extension);
        self.owners.remove(installed.owner);
        self.meter.forget(installed.bill.nanos);
        self.again.retain(|number| *number != extension);
        self.frames.change(installed.frames(), 0);
        for pending in installed.waiting.drain() {
            self.orphan(extension, pending, Reason::Unloaded);
        }
        self.out.collect(extension, &mut installed.instance);
        for (frame, touched) in installed.instance.kept().drain() {
            match touched {
                true => self.out.drop(frame, Reason::Unloaded),
                false => self.out.give_back(extension, frame, Reason::Unloaded),
            }
        }
        self.retire_importers(extension);
        let applications = std::mem::take(installed.instance.applications_mut());
        ended::take_apart(installed.instance);
        Some(applications)
    }

    /// A message whose extension, or handler, is no more.
    pub(super) fn orphan(&mut self, extension: u16, message: Pending, reason: Reason) {
        match message.body {
            Body::Bulk(frame, _) if !message.touched => {
                self.out.give_back(extension, frame, reason);
            }
            body => self.refuse(body, reason),
        }
    }

    pub(super) fn notify(&mut self, applications: &[FifoId], notice: Notice) {
        let lost = self.out.hosts.notify(applications, notice, self.now);
        self.out.counters.messages_dropped.add(Reason::HostFull, lost);
    }
}
