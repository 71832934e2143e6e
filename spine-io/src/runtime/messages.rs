//! Small messages: from peers, from other machines, from applications, each to the handler it names.

use spine_abi::event::Stage;
use spine_abi::limits::BURST;
use spine_abi::{Endpoint, HandlerNumber, Message, Reason};

use super::{Adapter, Installed};
use crate::dispatcher::Target;
use crate::endpoint::fifo::APPLICATIONS;
use crate::endpoint::peer::PeerMessage;
use crate::extension::{Instance, LoadError};
use crate::id::{ExtensionId, FifoId};
use crate::message::Body;
use crate::stats::Mail;

impl Adapter {
    pub(super) fn arrivals(&mut self) -> bool {
        let mut messages = Vec::new();
        let most = if self.singly { 1 } else { 4 * BURST };
        let moved = self.out.arrivals(most, |from, message| messages.push((from, message)));
        for (from, PeerMessage { sender, owner, message }) in messages {
            let number = message.header().handler;
            let target = match owner {
                Some(owner) => self.nearest(number, |it| owner.nearness(it.owner()?)),
                None => self.table.find(number),
            };
            self.deliver_to(target, message, Endpoint::Peer(from), sender);
        }
        moved | self.deliver_from_remotes()
    }

    /// Gives what arrived from other machines to its handlers, in order. What a handler's queue has no
    /// room for stays where it is, and its sender gets no credit for it.
    pub(super) fn deliver_from_remotes(&mut self) -> bool {
        if !self.out.remotes.has_arrived() {
            return false;
        }
        let first = self.out.peers.len();
        let mut remotes = std::mem::take(&mut self.out.remotes);
        let moved = remotes.deliver(|index, message| {
            let from = u16::try_from(first + index).unwrap_or(u16::MAX);
            let target = self.remotely(message.header().handler, index);
            self.has_room(target, Endpoint::Peer(from)) && {
                self.out.counters.from_peer += 1;
                self.deliver_to(target, message.clone(), Endpoint::Peer(from), 0);
                true
            }
        });
        self.out.remotes = remotes;
        moved
    }

    /// The handler of this number in the extension that is nearest to whoever names it.
    fn nearest(
        &self,
        number: HandlerNumber,
        nearness: impl Fn(&Instance) -> Option<u8>,
    ) -> Option<Target> {
        let places = (0..).zip(&self.extensions);
        let found = places.filter_map(|(extension, installed)| {
            let instance = &installed.as_ref()?.instance;
            let near = nearness(instance)?;
            Some((near, Target { extension, handler: instance.position(number)? }))
        });
        found.min_by_key(|(near, _)| *near).map(|(_, target)| target)
    }

    /// Who a message from an endpoint on another machine is for: of those who may send there root's first, who can
    /// replace the daemon. Where extensions have no owners, numbers are the adapter's.
    fn remotely(&self, number: HandlerNumber, remote: usize) -> Option<Target> {
        let unowned = self.table.find(number).filter(|target| {
            let installed = self.extensions.get(usize::from(target.extension));
            installed.and_then(Option::as_ref).is_some_and(|it| it.instance.owner().is_none())
        });
        unowned.or_else(|| {
            self.nearest(number, |it| {
                it.may_reach(remote).then(|| u8::from(it.owner().is_some_and(|it| it.user != 0)))
            })
        })
    }

    /// Whether the handler that a small message is for could take it now. One that is for nobody can be
    /// dropped at once.
    fn has_room(&self, target: Option<Target>, source: Endpoint) -> bool {
        let Some(target) = target else { return true };
        let installed = self.extensions.get(usize::from(target.extension));
        installed.and_then(Option::as_ref).is_none_or(|it| it.waiting.has_room_from(source, 0))
    }

    /// Gives a small message to the handler it is for; `sender` is the extension of a peer.
    fn deliver_to(
        &mut self,
        target: Option<Target>,
        message: Message,
        source: Endpoint,
        sender: u16,
    ) {
        match target {
            Some(target) => {
                let mut message = Box::new(message);
                message.set_source(source);
                self.enqueue(target, source, sender, Body::Small(message));
            }
            None => self.out.counters.messages_dropped.add(Reason::NoHandler, 1),
        }
    }

    /// Sees to a control event where the host has asked for something or sent something.
    pub(super) fn need_control(&mut self) {
        let needed = self.request.is_some() || self.out.hosts.is_ready();
        self.need(Stage::Control, usize::from(needed), None);
    }

    /// Gives the messages of applications, up to `most` of each, to the handlers they name.
    pub(super) fn receive_from_hosts(&mut self, most: usize) -> bool {
        let mut messages = std::mem::take(&mut self.from_hosts);
        let bad = self.out.hosts.receive(most, self.now, &mut messages);
        let moved = bad > 0 || !messages.is_empty();
        self.out.counters.messages_dropped.add(Reason::BadMessage, bad);
        for (application, message) in messages.drain(..) {
            self.out.counters.from_host += 1;
            if self.reaches(application, message.header().handler) {
                let target = self.table.find(message.header().handler);
                self.deliver_to(target, message, Endpoint::Host, 0);
            } else {
                self.out.counters.messages_dropped.add(Reason::NoHandler, 1);
            }
        }
        self.from_hosts = messages;
        moved
    }

    /// Whether an application may send to a handler: of its own extensions, or it runs the adapter. The
    /// extension is noted to have mail then.
    fn reaches(&mut self, application: FifoId, handler: HandlerNumber) -> bool {
        let target = self.table.find(handler).map(|target| usize::from(target.extension));
        let installed = target.and_then(|place| self.extensions.get_mut(place)?.as_mut());
        let Some(Installed { instance, .. }) = installed else { return false };
        let reaches = application == FifoId::OWN || instance.applications().contains(&application);
        instance.mail().from_host += u64::from(reaches);
        reaches
    }

    /// What each extension and its applications have sent each other.
    pub(super) fn mail(&mut self) -> Vec<(ExtensionId, Mail)> {
        let places = (0..).zip(&mut self.extensions);
        let mail = places.filter_map(|(number, installed)| {
            Some((ExtensionId(number), *installed.as_mut()?.instance.mail()))
        });
        mail.collect()
    }

    /// Lets one more application hear an extension, and send to it.
    ///
    /// # Errors
    /// [`LoadError::NoExtension`]; [`LoadError::Applications`]: it has as many as it can.
    pub(super) fn share(
        &mut self,
        extension: ExtensionId,
        application: FifoId,
    ) -> Result<(), LoadError> {
        let place = self.extensions.get_mut(usize::from(extension.0)).and_then(Option::as_mut);
        let Some(Installed { instance, .. }) = place else {
            let adapter = self.out.nic.name().to_owned();
            return Err(LoadError::NoExtension { extension: extension.0, adapter });
        };
        let hosts = &self.out.hosts;
        let applications = instance.applications_mut();
        applications.retain(|known| *known != application && hosts.has(*known));
        if applications.len() >= APPLICATIONS {
            return Err(LoadError::Applications(instance.name().to_owned()));
        }
        applications.push(application);
        Ok(())
    }
}
