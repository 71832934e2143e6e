//! Commanding an extension that is there: hearing it, and ending it.

use spine_client::daemon::protocol::{Answer, Bill, ExtensionNumber};
use spine_io::{ExtensionId, FifoId, LoadError};

use super::fifo::Opened;
use crate::asks::{CROWDED, Caller};
use crate::clients::Who;
use crate::extensions::Extension;
use crate::server::Server;
use spine_io::stats::Mail;

impl Server {
    pub(super) fn unload_for(
        &mut self,
        caller: Caller,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<(), String> {
        self.commanded(who, number)?;
        let extension = self.extensions.get(number).ok_or("it is gone already")?;
        if let Some((importer, it)) = self.extensions.importer_of(extension) {
            return Err(format!(
                "extension {importer} ({}) is linked against what {number} ({}) exports: unload that one first",
                it.name, extension.name
            ));
        }
        if self.asks.is_crowded(extension.wire, who.user) {
            return Err(CROWDED.to_owned());
        }
        // Who asks is told by the answer.
        self.commanded(who, number)?.listeners.retain(|listener| *listener != caller.client);
        self.unload(number, &format!("{} unloaded it", who.name), Some(caller));
        Ok(())
    }

    pub(super) fn attach(
        &mut self,
        caller: Caller,
        who: &Who,
        number: ExtensionNumber,
    ) -> Result<(), String> {
        let Extension { wire, place, messages_per_second, .. } = *self.commanded(who, number)?;
        let opening = self.open_fifo(caller.client, wire, messages_per_second)?;
        let question = move |adapter: &spine_io::AdapterHandle| {
            let opened = opening.open(adapter)?;
            match adapter.share(place, opened.fifo()) {
                Ok(()) => Ok(opened),
                Err(error) => {
                    opened.close(adapter);
                    Err(match error {
                        // The adapter has just unloaded it.
                        LoadError::NoExtension { .. } => {
                            format!("there is no extension {number} any more")
                        }
                        error => error.to_string(),
                    })
                }
            }
        };
        let who = who.clone();
        self.ask_for(caller, wire, question, move |server, caller, shared| {
            server.attached(caller, &who, (number, wire, place), shared);
        })
    }

    fn attached(
        &mut self,
        caller: Option<Caller>,
        who: &Who,
        (number, wire, place): (ExtensionNumber, usize, ExtensionId),
        shared: Result<Opened, String>,
    ) {
        let opened = match shared {
            Ok(opened) => opened,
            Err(why) => return self.answer_caller(caller, Err(why)),
        };
        let Some(Caller { client, .. }) = caller else {
            return self.close_unused(wire, opened);
        };
        let known = self.commanded(who, number).is_ok_and(|extension| extension.place == place);
        let gone = || format!("there is no extension {number} any more");
        let room = self.still_room(client, wire, &opened);
        if let Err(why) = if known { room } else { Err(gone()) } {
            self.close_unused(wire, opened);
            return self.answer_caller(caller, Err(why));
        }
        let beside = self.take_fifo(client, wire, opened);
        if let Some(extension) = self.extensions.get_mut(number) {
            if !extension.listeners.contains(&client) {
                extension.listeners.push(client);
            }
            let info = extension.describe(number, Mail::default(), Bill::default());
            self.answer_caller(caller, Ok((Answer::Attached(Box::new(info)), beside)));
        }
    }

    /// Closes a client's FIFO. What it sent before is delivered.
    pub(crate) fn close_fifo(&mut self, wire: usize, fifo: FifoId) {
        let closed = self.asks.ask(
            wire,
            None,
            move |adapter| adapter.close_fifo(fifo),
            |_, _, closed| {
                if let Err(error) = closed {
                    tracing::error!(%error, "cannot close a FIFO");
                }
            },
        );
        if let Err(why) = closed {
            tracing::error!(why, "cannot close a FIFO");
        }
    }
}
