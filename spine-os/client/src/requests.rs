//! What a client asks the daemon for, and how it waits for the answer.
//!
//! One request at a time; what the daemon says by itself meanwhile is taken in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::daemon::file;
use crate::daemon::protocol::{
    Answer, CLAIM_CHANGES, Call, Claim, FromDaemon, Request, encode, parse_answer,
};
use crate::daemon::socket::Received;
use crate::memory::Region;
use crate::{
    AdapterInfo, AdapterStatistics, ClaimChange, Client, ClientError, ExtensionInfo,
    ExtensionNumber, Load, PeerInfo,
};

/// How long the daemon may take for an answer. Linking a large extension takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    /// The daemon's adapters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn adapters(&mut self) -> Result<Vec<AdapterInfo>, ClientError> {
        match self.call(Request::Adapters, &[])? {
            Answer::Adapters(adapters) => Ok(adapters),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// All extensions, everybody's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn extensions(&mut self) -> Result<Vec<ExtensionInfo>, ClientError> {
        let mut all: Vec<ExtensionInfo> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last.number);
            match self.call(Request::Extensions { after }, &[])? {
                Answer::Extensions { extensions, more } => {
                    let done = !more || extensions.is_empty();
                    all.extend(extensions);
                    if done {
                        return Ok(all);
                    }
                }
                answer => return Err(ClientError::unexpected(&answer)),
            }
        }
    }

    /// All endpoints on other machines, and the messages to and from each.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn peers(&mut self) -> Result<Vec<PeerInfo>, ClientError> {
        match self.call(Request::Peers, &[])? {
            Answer::Peers(peers) => Ok(peers),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// What an adapter has counted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn statistics(&mut self, interface: &str) -> Result<AdapterStatistics, ClientError> {
        match self.call(Request::Statistics { interface: interface.to_owned() }, &[])? {
            Answer::Statistics(statistics) => Ok(*statistics),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Loads an extension, sharing these regions with it. What `load` says of regions is
    /// overwritten.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the daemon's sentence: by the policy, the linker or the
    /// adapter.
    pub fn load(
        &mut self,
        load: &Load,
        wasm: &[u8],
        regions: &[&Region],
    ) -> Result<ExtensionInfo, ClientError> {
        let file = file::seal(wasm)?;
        let sizes = regions.iter().map(|region| region.len() as u64).collect();
        let request = Request::Load(Load { regions: sizes, ..load.clone() });
        let mut beside = vec![file.as_fd()];
        beside.extend(regions.iter().map(|region| region.as_fd()));
        let (extension, came) = self.loaded(request, &beside)?;
        self.channels.add(&extension, came)?;
        Ok(extension)
    }

    /// Puts another version in an extension's place, without losing a message: its handler numbers,
    /// what waits for them, the buffers it keeps and its regions go over to the new one.
    /// `signature` is the text of the author's signature, if there is one.
    ///
    /// # Errors
    /// As [`load`](Self::load); the old version goes on running then.
    pub fn replace(
        &mut self,
        extension: ExtensionNumber,
        wasm: &[u8],
        signature: Option<String>,
    ) -> Result<ExtensionInfo, ClientError> {
        let file = file::seal(wasm)?;
        let request = Request::Replace { extension, signature };
        let (extension, _) = self.loaded(request, &[file.as_fd()])?;
        self.channels.update(&extension);
        Ok(extension)
    }

    fn loaded(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<(ExtensionInfo, Vec<OwnedFd>), ClientError> {
        match self.call_for(request, beside)? {
            (Answer::Loaded(extension), came) => Ok((*extension, came)),
            (answer, _) => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Unloads an extension.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn unload(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        self.done(Request::Unload { extension })?;
        // What it said last is there by now.
        self.collect();
        self.channels.forget(extension);
        self.handlers.retain(|(number, _), _| *number != extension);
        Ok(())
    }

    /// Changes which destinations' packets an extension has, [`CLAIM_CHANGES`] at a time. Without
    /// any change, the daemon only looks again which addresses this machine and the interface have.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: by the policy, because destinations of the interface are another
    /// extension's, or because there is no room. Those at a time that were refused are as before,
    /// and so are those behind them.
    pub fn claim(
        &mut self,
        extension: ExtensionNumber,
        changes: &[ClaimChange],
    ) -> Result<(), ClientError> {
        let mut rest = changes;
        loop {
            let now;
            (now, rest) = rest.split_at(rest.len().min(CLAIM_CHANGES));
            let changes = now.to_vec();
            self.done(Request::Claim(Claim { extension, enabled: None, changes }))?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Has an extension given what it claims by prefix, or leaves that to the kernel for now. It
    /// takes effect with the next packet.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn set_claiming(
        &mut self,
        extension: ExtensionNumber,
        enabled: bool,
    ) -> Result<(), ClientError> {
        let claim = Claim { extension, enabled: Some(enabled), ..Claim::default() };
        self.done(Request::Claim(claim))
    }

    /// Hears the messages of an extension that another connection of the same user loaded.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn attach(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        match self.call_for(Request::Attach { extension }, &[])? {
            (Answer::Attached(extension), beside) => self.channels.add(&extension, beside),
            (answer, _) => Err(ClientError::unexpected(&answer)),
        }
    }

    fn done(&mut self, request: Request) -> Result<(), ClientError> {
        match self.call(request, &[])? {
            Answer::Done => Ok(()),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    pub(crate) fn call(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<Answer, ClientError> {
        self.call_for(request, beside).map(|(answer, _)| answer)
    }

    /// Sends a request and waits for its answer, and what came beside it; what comes before is
    /// kept.
    fn call_for(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), ClientError> {
        self.last += 1;
        let call = Call { id: self.last, request };
        if let Err(error) = self.connection.send(&encode(&call)?, beside) {
            return Err(self.farewell().unwrap_or_else(|| error.into()));
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let heard = self.hear(end.saturating_duration_since(Instant::now()));
            if let Err(ClientError::HungUp) = heard {
                return Err(self.farewell().unwrap_or(ClientError::HungUp));
            }
            match heard? {
                Some((FromDaemon::Answer { id, answer }, came)) if id == call.id => {
                    return Ok((answer, came));
                }
                // What is refused as number 0 is the whole connection.
                Some((FromDaemon::Refused { id, why }, _)) if id == call.id || id == 0 => {
                    return Err(ClientError::Refused(why));
                }
                Some((said, _)) => self.note(said),
                None => return Err(ClientError::Timeout(PATIENCE)),
            }
        }
    }

    /// Why the daemon has hung up, if it said so. (That it did, with something unread, comes before
    /// what it said.)
    fn farewell(&self) -> Option<ClientError> {
        while let Ok(Some((said, _))) = self.hear(Duration::ZERO) {
            if let FromDaemon::Refused { id: 0, why } = said {
                return Some(ClientError::Refused(why));
            }
        }
        None
    }

    /// What the daemon says next, and what came beside it; `None` when it says nothing in time.
    pub(crate) fn hear(
        &self,
        timeout: Duration,
    ) -> Result<Option<(FromDaemon, Vec<OwnedFd>)>, ClientError> {
        match self.connection.receive(timeout)? {
            Received::Packet(packet) => {
                Ok(Some((parse_answer(&packet.bytes)?, packet.descriptors)))
            }
            Received::Nothing => Ok(None),
            Received::HungUp => Err(ClientError::HungUp),
            Received::Unfit(why) => Err(ClientError::Daemon(why.to_owned())),
        }
    }
}
