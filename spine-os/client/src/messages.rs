//! Messages: to extensions, and from them, each to who waits for it.

use std::time::{Duration, Instant};

use spine_abi::limits::ARGUMENT_BYTES;

use crate::memory::Region;
use crate::{Client, ClientError, Event, ExtensionNumber, keep};

impl Client {
    /// Sends a small message of up to 240 bytes to a handler. Waits while the FIFO is full, for two
    /// seconds at most. An extension of another connection is [attached](Self::attach) first.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is no such handler or no such extension;
    /// [`ClientError::Full`].
    pub fn send(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
    ) -> Result<(), ClientError> {
        if arguments.len() > ARGUMENT_BYTES {
            return Err(ClientError::Arguments(arguments.len()));
        }
        // Its end may have been told.
        self.collect();
        if !self.channels.has(extension, handler) {
            self.attach(extension)?;
            if !self.channels.has(extension, handler) {
                return Err(ClientError::Refused(self.channels.lacks(extension, handler)));
            }
        }
        let Self { channels, waiting, lost, .. } = self;
        channels.send(extension, handler, arguments, |event| keep(waiting, lost, event))
    }

    /// Writes data into a region shared with the extension, at `offset`, and sends its handler a
    /// small message that says where: two 32-bit numbers, offset and length. When the data may be
    /// written over, is between the application and its extension.
    ///
    /// # Errors
    /// [`ClientError::Bulk`]: it leaves the region; otherwise as [`send`](Self::send).
    pub fn send_bulk(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        region: &Region,
        offset: u32,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        region.write(place, data)?;
        // The FIFO releases the message after the data was written, so the handler sees all of it.
        let mut arguments = [0; 8];
        arguments[..4].copy_from_slice(&offset.to_le_bytes());
        arguments[4..].copy_from_slice(&length.to_le_bytes());
        self.send(extension, handler, &arguments)
    }

    /// Installs what runs on messages that an extension sends to `handler`.
    /// [`receive`](Self::receive) calls it, and then passes over such messages.
    pub fn on(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        run: impl FnMut(&[u8]) + 'static,
    ) {
        self.handlers.insert((extension, handler), Box::new(run));
    }

    /// Sends a message and waits for the next one that the extension sends to `answer`.
    ///
    /// # Errors
    /// [`ClientError::Timeout`]; [`ClientError::Ended`]; otherwise as [`send`](Self::send).
    pub fn ask(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
        answer: u16,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.send(extension, handler, arguments)?;
        self.wait_for(extension, answer, timeout)
    }

    /// Waits for the next message that an extension sends to `handler`; others are kept for later.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::Ended`], [`ClientError::HungUp`].
    pub fn wait_for(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let end = Instant::now() + timeout;
        let is_it = |event: &Event| match event {
            Event::Message { extension: from, handler: to, .. } => {
                (*from, *to) == (extension, handler)
            }
            Event::Ended { extension: which, .. } => *which == extension,
        };
        loop {
            if let Some(at) = self.waiting.iter().position(is_it) {
                match self.waiting.remove(at) {
                    Some(Event::Message { arguments, .. }) => return Ok(arguments),
                    Some(Event::Ended { why, .. }) => return Err(ClientError::Ended(why)),
                    None => {}
                }
            }
            if !self.wait(end)? {
                return Err(ClientError::Timeout(timeout));
            }
        }
    }

    /// The next event that no installed handler took, waiting for it at most this long; `None` when
    /// there was none.
    ///
    /// # Errors
    /// [`ClientError::HungUp`] and what else a broken connection says.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        let end = Instant::now() + timeout;
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if let Some(event) = self.dispatch(event) {
                    return Ok(Some(event));
                }
            }
            if !self.wait(end)? {
                return Ok(None);
            }
        }
    }

    /// Gives a message to its handler; an event that has none comes back.
    fn dispatch(&mut self, event: Event) -> Option<Event> {
        let Event::Message { extension, handler, arguments } = &event else { return Some(event) };
        match self.handlers.get_mut(&(*extension, *handler)) {
            Some(run) => {
                run(arguments);
                None
            }
            None => Some(event),
        }
    }
}
