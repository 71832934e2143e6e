//! A client's FIFOs: one to each adapter with extensions of its, and which extension is which.
//!
//! In a FIFO an extension has the number of its place on the adapter, which another one may have
//! after it. The adapter says in the FIFO itself where one ends ([`Notice`]), so what is read there
//! belongs to the oldest extension of that place whose end was not read.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use spine_abi::{Endpoint, HandlerNumber, Message, Notice};
use spine_ring::SendError;

use crate::daemon::protocol::{ExtensionInfo, ExtensionNumber, FIFO_DESCRIPTORS};
use crate::fifo::{Closed, Counts, Fds, HostEnd};
use crate::{ClientError, Event};

/// How long a sender waits for room: what an adapter that is awake needs to make some, many times
/// over.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits between two looks, once it has looked for a moment.
const MOMENT: Duration = Duration::from_micros(50);

/// The FIFO to one adapter.
struct Channel {
    /// Its number among the FIFOs this client ever had, from 1.
    number: u64,
    interface: String,
    end: HostEnd,
    /// The extensions of each place, the oldest first.
    places: HashMap<u16, VecDeque<ExtensionNumber>>,
    /// Whether it was told that this one is closed.
    told: bool,
}

/// An extension that may be sent to.
struct Known {
    channel: usize,
    name: String,
    handlers: Vec<u16>,
    /// The numbers of its handlers on its adapter.
    numbers: Vec<u16>,
}

impl Known {
    /// What a handler is called in the FIFO.
    fn number(&self, handler: u16) -> HandlerNumber {
        let at = self.handlers.iter().position(|known| *known == handler);
        let number = at.and_then(|at| self.numbers.get(at));
        HandlerNumber(number.copied().unwrap_or(handler))
    }
}

/// All FIFOs of a client.
#[derive(Default)]
pub(crate) struct Channels {
    all: Vec<Channel>,
    known: HashMap<ExtensionNumber, Known>,
    /// What FIFOs that were closed had done.
    past: Counts,
    /// FIFOs opened so far.
    opened: u64,
}

impl Channels {
    /// Takes an extension in, and the FIFO that came with it, if one did.
    ///
    /// # Errors
    /// [`ClientError`]: no FIFO leads to it, or what came is none.
    pub(crate) fn add(
        &mut self,
        extension: &ExtensionInfo,
        beside: Vec<OwnedFd>,
    ) -> Result<(), ClientError> {
        let of_interface = |channel: &Channel| channel.interface == extension.interface;
        let mut found = self.all.iter().position(of_interface);
        if beside.len() == FIFO_DESCRIPTORS {
            found = Some(self.open(&extension.interface, found, beside)?);
        }
        let Some(channel) = found.and_then(|channel| self.all.get_mut(channel)) else {
            return Err(ClientError::Daemon("no FIFO came with the extension".to_owned()));
        };
        let place = channel.places.entry(extension.place).or_default();
        if !place.contains(&extension.number) {
            place.push_back(extension.number);
        }
        let (name, handlers) = (extension.name.clone(), extension.handlers.clone());
        let numbers = extension.numbers.clone();
        let known = Known { channel: found.unwrap_or(0), name, handlers, numbers };
        self.known.insert(extension.number, known);
        Ok(())
    }

    /// Opens a FIFO, in the place of the one to the same adapter if there was one.
    fn open(
        &mut self,
        interface: &str,
        before: Option<usize>,
        beside: Vec<OwnedFd>,
    ) -> Result<usize, ClientError> {
        let fds = <[OwnedFd; FIFO_DESCRIPTORS]>::try_from(beside);
        let fds = fds.map_err(|_| ClientError::Daemon("no FIFO came".to_owned()))?;
        let end = HostEnd::from_fds(Fds::from_fds(fds))?;
        let (interface, places) = (interface.to_owned(), HashMap::new());
        self.opened += 1;
        let channel = Channel { number: self.opened, interface, end, places, told: false };
        match before.and_then(|at| Some((at, self.all.get_mut(at)?))) {
            Some((at, place)) => {
                let gone = std::mem::replace(place, channel);
                self.past = sum(self.past, gone.end.counts());
                self.known.retain(|_, known| known.channel != at);
                Ok(at)
            }
            None => {
                self.all.push(channel);
                Ok(self.all.len() - 1)
            }
        }
    }

    /// Takes in what another version of an extension has, if this client hears it.
    pub(crate) fn update(&mut self, extension: &ExtensionInfo) {
        if let Some(known) = self.known.get_mut(&extension.number) {
            known.name.clone_from(&extension.name);
            known.handlers.clone_from(&extension.handlers);
            known.numbers.clone_from(&extension.numbers);
        }
    }

    /// Whether an extension is known, and has this handler, as far as is known here.
    pub(crate) fn has(&self, extension: ExtensionNumber, handler: u16) -> bool {
        self.known.get(&extension).is_some_and(|known| known.handlers.contains(&handler))
    }

    /// The sentence for a handler that an extension does not have.
    pub(crate) fn lacks(&self, extension: ExtensionNumber, handler: u16) -> String {
        let (name, handlers) = match self.known.get(&extension) {
            Some(known) => (known.name.as_str(), known.handlers.as_slice()),
            None => ("?", &[][..]),
        };
        format!("extension {extension} ({name}) has no handler {handler}; it has {handlers:?}")
    }

    /// Sends a message, waiting for room; `meanwhile` is called again and again then.
    ///
    /// # Errors
    /// [`ClientError::Full`], [`ClientError::Fifo`], [`ClientError::HungUp`].
    pub(crate) fn send(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
        mut meanwhile: impl FnMut(Event),
    ) -> Result<(), ClientError> {
        let start = Instant::now();
        loop {
            // Its end may have been read meanwhile: then nobody is sent anything.
            let Some(known) = self.known.get(&extension) else { return Ok(()) };
            let number = known.number(handler);
            let message = Message::small(number, Endpoint::Host, arguments);
            let Some(channel) = self.all.get_mut(known.channel) else { return Ok(()) };
            match channel.end.send(&message) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) if start.elapsed() < crate::wait::MOMENT => {
                    std::hint::spin_loop()
                }
                Err(SendError::Full) if start.elapsed() < PATIENCE => std::thread::sleep(MOMENT),
                Err(SendError::Full) => return Err(ClientError::Full(PATIENCE)),
                Err(SendError::Closed(why)) => return Err(channel.closed(why)),
            }
            self.collect(&mut meanwhile);
        }
    }

    /// Takes what is in the FIFOs; never waits, and makes no system call.
    pub(crate) fn collect(&mut self, mut into: impl FnMut(Event)) {
        for channel in &mut self.all {
            while let Some(message) = channel.end.try_receive() {
                if let Some(event) = channel.read(&message, &mut self.known) {
                    into(event);
                }
            }
        }
    }

    /// Forgets an extension: true if it was known. What is still read from it is nobody's.
    pub(crate) fn forget(&mut self, extension: ExtensionNumber) -> bool {
        self.known.remove(&extension).is_some()
    }

    /// Says that this client is about to wait. It must [collect](Self::collect) once more after
    /// this.
    pub(crate) fn doze(&mut self) {
        self.open_channels().for_each(|channel| channel.end.doze());
    }

    /// What becomes readable when something comes, or an adapter has gone; each with a number that
    /// is above zero and not used again for another.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let open = self.all.iter().filter(|channel| channel.end.state().is_ok());
        open.map(|channel| (channel.number, channel.end.as_fd()))
    }

    /// Says that this client is awake; `heard` says which of the [descriptors](Self::descriptors)
    /// were readable.
    pub(crate) fn wake(&mut self, heard: &[bool]) {
        let mut heard = heard.iter().copied().chain(std::iter::repeat(false));
        for channel in self.open_channels() {
            channel.end.wake(heard.next().unwrap_or(false));
        }
    }

    /// Why an adapter talks no more with this client, told once for each.
    pub(crate) fn newly_closed(&mut self) -> Option<ClientError> {
        self.all.iter_mut().find_map(|channel| {
            let why = channel.end.state().err()?;
            (!std::mem::replace(&mut channel.told, true)).then(|| channel.closed(why))
        })
    }

    fn open_channels(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.all.iter_mut().filter(|channel| channel.end.state().is_ok())
    }

    /// What this client's ends have done.
    pub(crate) fn counts(&self) -> Counts {
        self.all.iter().fold(self.past, |all, channel| sum(all, channel.end.counts()))
    }
}

impl Channel {
    /// What a message means; `None` if it is nobody's.
    fn read(
        &mut self,
        message: &Message,
        known: &mut HashMap<ExtensionNumber, Known>,
    ) -> Option<Event> {
        match Notice::from_message(message) {
            Some(Notice::Removed { extension }) => {
                // The daemon says why.
                self.end_of(extension);
                None
            }
            Some(Notice::Unloaded { extension, offence, strikes }) => {
                let extension = self.end_of(extension)?;
                known.remove(&extension)?;
                let why =
                    format!("it was stopped {strikes} times: its handlers {}", offence.text());
                Some(Event::Ended { extension, why })
            }
            None => {
                let Endpoint::Extension(place) = message.header().source else { return None };
                let extension = *self.places.get(&place)?.front()?;
                known.contains_key(&extension).then(|| Event::Message {
                    extension,
                    handler: message.header().handler.0,
                    arguments: message.arguments().to_vec(),
                })
            }
        }
    }

    /// The end of the oldest extension of a place.
    fn end_of(&mut self, place: u16) -> Option<ExtensionNumber> {
        let extensions = self.places.get_mut(&place)?;
        let ended = extensions.pop_front();
        if extensions.is_empty() {
            self.places.remove(&place);
        }
        ended
    }

    fn closed(&self, why: Closed) -> ClientError {
        match why {
            // As a rule the daemon's end: the connection says so, too.
            Closed::Left => ClientError::HungUp,
            why => ClientError::Fifo { interface: self.interface.clone(), why },
        }
    }
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        sent: one.sent + other.sent,
        received: one.received + other.received,
        malformed: one.malformed + other.malformed,
        rings: one.rings + other.rings,
        heard: one.heard + other.heard,
        sleeps: one.sleeps + other.sleeps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::{End, Side};
    use spine_abi::notice::Offence;

    /// The adapter's end, and a client with extensions 1 and 2, one after the other at place 3.
    fn client() -> (End, Channels) {
        let (adapter, fds) = spine_ring::create(Side::Adapter, 8).unwrap();
        let mut channels = Channels::default();
        let extension = |number| ExtensionInfo {
            number,
            interface: "a".to_owned(),
            place: 3,
            handlers: vec![7],
            ..ExtensionInfo::default()
        };
        channels.add(&extension(1), fds.into_fds().into()).unwrap();
        channels.add(&extension(2), Vec::new()).unwrap();
        (adapter, channels)
    }

    fn collected(channels: &mut Channels) -> Vec<Event> {
        let mut events = Vec::new();
        channels.collect(|event| events.push(event));
        events
    }

    fn said(extension: ExtensionNumber, text: &[u8]) -> Event {
        Event::Message { extension, handler: 9, arguments: text.to_vec() }
    }

    #[test]
    fn what_comes_before_the_end_of_an_extension_is_its_own_and_the_rest_its_successors() {
        let (mut adapter, mut channels) = client();
        let message = |text: &[u8]| Message::small(HandlerNumber(9), Endpoint::Extension(3), text);
        let notice = Notice::Unloaded { extension: 3, offence: Offence::Trapped, strikes: 10 };
        let other = Message::small(HandlerNumber(9), Endpoint::Extension(4), b"whose?");
        for sent in [message(b"one"), other, notice.to_message(), message(b"two")] {
            adapter.sender.send(&sent).unwrap();
        }
        let events = collected(&mut channels);
        let [first, Event::Ended { extension: 1, why }, second] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((first, second), (&said(1, b"one"), &said(2, b"two")));
        assert!(why.contains("stopped 10 times: its handlers trapped"), "{why}");
        assert!(!channels.has(1, 7) && channels.has(2, 7) && !channels.has(2, 8));
        assert!(channels.lacks(2, 8).contains("no handler 8; it has [7]"));
    }

    #[test]
    fn what_was_forgotten_says_nothing_any_more_and_its_place_is_anothers_after_the_notice() {
        let (mut adapter, mut channels) = client();
        assert!(channels.forget(1) && !channels.forget(1));
        let message = Message::small(HandlerNumber(9), Endpoint::Extension(3), b"x");
        adapter.sender.send(&message).unwrap();
        assert_eq!(collected(&mut channels), []);
        adapter.sender.send(&Notice::Removed { extension: 3 }.to_message()).unwrap();
        adapter.sender.send(&message).unwrap();
        assert_eq!(collected(&mut channels), [said(2, b"x")]);
    }

    #[test]
    fn an_adapter_that_is_gone_is_told_of_once() {
        let (adapter, mut channels) = client();
        drop(adapter);
        channels.doze();
        assert!(matches!(channels.newly_closed(), Some(ClientError::HungUp)));
        assert!(channels.newly_closed().is_none());
        assert_eq!(channels.descriptors().count(), 0, "it is waited for no longer");
        assert!(matches!(channels.send(2, 7, b"x", drop), Err(ClientError::HungUp)));
    }

    #[test]
    fn nothing_is_opened_but_a_fifo() {
        let mut channels = Channels::default();
        let info = ExtensionInfo::default();
        let error = channels.add(&info, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no FIFO came"), "{error}");
        let file = || OwnedFd::from(tempfile::tempfile().unwrap());
        assert!(matches!(channels.add(&info, vec![file(), file()]), Err(ClientError::NoFifo(_))));
    }
}
