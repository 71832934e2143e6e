//! Replacing an extension while it runs, without losing a message.
//!
//! The new version was linked and prepared aside, regions and all; what is left is done between two
//! events. It takes over its predecessor's place: the handler numbers, what waits for them (each message
//! for the handler of the same number), the buffers kept under their references, and the windows on frame
//! buffers. What the predecessor sent last still leaves. Its strikes do not pass on, nor does its memory:
//! state that is to survive lives in a region, which both versions were given.

use spine_abi::{HandlerNumber, Reason};

use super::Adapter;
use crate::extension::{Instance, LoadError, Loaded, ended};
use crate::id::ExtensionId;
use crate::watchdog::Strikes;

impl Adapter {
    /// Puts a prepared instance in an extension's place, and gives the one that was there, for its caller
    /// to take apart. Packets that wait for a handler which the new version lacks are the kernel's
    /// ([`Reason::NoHandler`]); messages are dropped.
    ///
    /// # Errors
    /// [`LoadError::NoExtension`], [`LoadError::HandlerTaken`] by a third one, [`LoadError::Needed`] where others
    /// are linked against what the new version does not export, and those about what it was linked against
    /// itself; all is as before.
    pub fn replace(
        &mut self,
        extension: ExtensionId,
        instance: Loaded,
    ) -> Result<Loaded, LoadError> {
        match self.admit_in_place(extension, &instance) {
            Ok((links, before)) => self.exchange(extension, instance, &links, &before),
            Err(error) => {
                ended::take_apart(instance);
                Err(error)
            }
        }
    }

    /// Finds those that a next version is linked against, and gives it the handlers of the one before, which
    /// are the second part of the answer.
    fn admit_in_place(
        &mut self,
        extension: ExtensionId,
        instance: &Instance,
    ) -> Result<(Vec<u16>, Vec<HandlerNumber>), LoadError> {
        let (number, adapter) = (extension.0, self.out.nic.name().to_owned());
        let Some(Some(installed)) = self.extensions.get(usize::from(number)) else {
            return Err(LoadError::NoExtension { extension: number, adapter });
        };
        let before: Vec<HandlerNumber> = installed.instance.handlers().collect();
        if instance.exports() != installed.instance.exports() {
            self.needed(extension)?;
        }
        let links = self.find_links(instance, number)?;
        self.table.remove(number);
        let after: Vec<HandlerNumber> = instance.handlers().collect();
        if let Err(taken) = self.table.install(number, after.into_iter()) {
            // They were its own a moment ago.
            let restored = self.table.install(number, before.into_iter());
            debug_assert!(restored.is_ok());
            let name = instance.name().to_owned();
            return Err(LoadError::HandlerTaken { number: taken, name, adapter });
        }
        Ok((links, before))
    }

    /// Puts a next version that was admitted in its place; gives the one before, whose handlers were these.
    fn exchange(
        &mut self,
        extension: ExtensionId,
        mut instance: Loaded,
        links: &[u16],
        before: &[HandlerNumber],
    ) -> Result<Loaded, LoadError> {
        let (number, adapter) = (extension.0, self.out.nic.name().to_owned());
        let Some(Some(installed)) = self.extensions.get_mut(usize::from(number)) else {
            return Err(LoadError::NoExtension { extension: number, adapter });
        };
        instance.timers().start(self.now);
        instance.set_links(links);
        let after: Vec<HandlerNumber> = instance.handlers().collect();
        self.out.collect(number, &mut installed.instance);
        let frames = installed.frames();
        instance.installed_as(number);
        instance.take_over(&mut installed.instance);
        std::mem::swap(&mut installed.instance, &mut instance);
        installed.strikes = Strikes::default();
        let waiting: Vec<_> = installed.waiting.drain().collect();
        let mut orphans = Vec::new();
        for mut message in waiting {
            let wanted = before.get(usize::from(message.handler));
            let found = after.iter().position(|handler| Some(handler) == wanted);
            match found.and_then(|position| u8::try_from(position).ok()) {
                Some(position) => {
                    message.handler = position;
                    installed.waiting.push(message);
                }
                None => orphans.push(message),
            }
        }
        self.frames.change(frames, installed.frames());
        for message in orphans {
            self.orphan(number, message, Reason::NoHandler);
        }
        self.relink();
        self.next_timer = self.now;
        Ok(instance)
    }
}
