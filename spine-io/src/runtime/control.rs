//! What the host asks of an adapter, done between two events.
//!
//! One request after the other, a burst of them at most, so that a host that keeps asking does not keep
//! packets waiting.

use std::sync::mpsc::SendError;

use super::Adapter;
use super::meter::Row;
use crate::dma::{GrantError, Windows};
use crate::extension::ended;
use crate::id::ExtensionId;
use crate::probe;
use crate::runtime::request::Control;

impl Adapter {
    /// The control event, in a row of its own.
    pub(super) fn control_in_time(&mut self) -> bool {
        self.meter.close_before();
        let worked = self.control();
        self.meter.close(Row::Control);
        worked
    }

    #[inline(never)]
    fn control(&mut self) -> bool {
        let mut worked = self.receive_from_hosts(self.plan.burst);
        for _ in 0..self.plan.burst {
            let next = self.request.take().or_else(|| self.control.try_recv().ok());
            let Some(request) = next else { break };
            worked = true;
            // What an application sent before it asked is there before the answer.
            self.receive_from_hosts(usize::MAX);
            // Whoever asked may have gone; then nobody wants the answer.
            match request {
                Control::Install(loaded, reply) => {
                    let _ = reply.send(self.install(loaded));
                }
                Control::Replace(extension, loaded, reply) => {
                    if let Err(SendError(Ok(before))) = reply.send(self.replace(extension, loaded))
                    {
                        ended::take_apart(before);
                    }
                }
                Control::Unload(extension, anyway, reply) => {
                    let needed = if anyway { Ok(()) } else { self.needed(extension) };
                    let _ = reply.send(needed.map(|()| self.unload(extension)));
                }
                Control::Attach(end, allowance, reply) => {
                    let _ = reply.send(self.out.hosts.add(*end, allowance));
                }
                Control::Share(extension, application, reply) => {
                    let _ = reply.send(self.share(extension, application));
                }
                Control::Detach(fifo, reply) => {
                    let _ = reply.send(self.out.hosts.remove(fifo));
                }
                Control::Unstamped(number) => self.unstamped = number,
                Control::Statistics(reply) => {
                    let _ = reply.send(self.statistics());
                }
                Control::Grant(extension, prepared, reply) => match self.windows(extension) {
                    Ok(windows) => windows.grant(*prepared, reply),
                    Err(error) => drop(reply.send(Err(error))),
                },
                Control::Revoke(extension, window, reply) => match self.windows(extension) {
                    Ok(windows) => windows.revoke(window, &reply),
                    Err(error) => drop(reply.send(Err(error))),
                },
                Control::Probe(mut probe, clock, reply) => {
                    let timed = !self.modelled;
                    let times = if timed { probe::time(&mut probe, &*clock) } else { Vec::new() };
                    ended::take_apart(probe);
                    let _ = reply.send(times);
                }
                Control::Expect(entry) => {
                    self.longest = u64::try_from(entry.as_nanos()).unwrap_or(u64::MAX);
                }
            }
        }
        if self.modelled {
            // A card that is never idle never begins a turn: it looks again when it has served one.
            self.request = self.control.try_recv().ok();
            self.need_control();
        }
        worked
    }

    /// The windows of an extension, if it may have any.
    fn windows(&mut self, extension: ExtensionId) -> Result<&mut Windows, GrantError> {
        let extension = extension.0;
        let place = self.extensions.get_mut(usize::from(extension)).and_then(Option::as_mut);
        let installed = place.ok_or_else(|| GrantError::NoExtension {
            extension,
            adapter: self.out.nic.name().to_owned(),
        })?;
        installed.instance.windows().ok_or(GrantError::NotGranted { extension })
    }
}
