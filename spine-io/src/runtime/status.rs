//! What an adapter says of itself: its statistics, and whether and when its processor must look again.

use spine_abi::Nanos;
use spine_abi::limits::BURST;

use super::{Adapter, Statistics};
use crate::endpoint::Fifos;
use crate::id::ExtensionId;
use crate::stats::{Counters, ExtensionStatistics};

impl Adapter {
    /// Counts the last turn if it took longer than it can by its extensions' work.
    #[inline]
    pub(super) fn watch_time(&mut self, now: Nanos) {
        let took = now.since(self.now);
        if self.worked && took > self.longest {
            let extensions = self.extensions.iter().flatten().count() as u64;
            self.out.counters.overruns +=
                u64::from(took > self.longest.saturating_mul(extensions.max(1)));
        }
    }

    /// A copy of everything the adapter knows of itself.
    pub fn statistics(&mut self) -> Statistics {
        Statistics {
            name: self.out.nic.name().to_owned(),
            mode: self.out.nic.mode().to_owned(),
            counters: self.out.counters.clone(),
            nic: self.out.nic.statistics(),
            processor_syscalls: 0,
            remotes: self.out.remotes.statistics().collect(),
            fifos: self.out.hosts.statistics(),
            mail: self.mail(),
            extensions: self.extension_statistics(),
            times: self.meter.times(),
            frames: (self.out.pool.free(), self.out.pool.total()),
        }
    }

    fn extension_statistics(&self) -> Vec<ExtensionStatistics> {
        let places = (0..).zip(&self.extensions);
        let known = places.filter_map(|(number, installed)| {
            let installed = installed.as_ref()?;
            Some(ExtensionStatistics {
                id: ExtensionId(number),
                name: installed.instance.name().to_owned(),
                user: installed.instance.user(),
                bill: installed.bill,
                picos_per_unit: installed.price.picos(),
                strikes: installed.strikes.count(),
                frames: installed.frames(),
                memory: installed.instance.memory_bytes(),
                last_stop: installed.instance.last_stop().map(|stop| (stop.handler, stop.text())),
            })
        });
        known.collect()
    }

    /// The time at which the adapter last looked at a clock; `None` if it never does.
    pub(crate) fn seen(&self) -> Option<Nanos> {
        self.meter.is_on().then(|| self.meter.seen())
    }

    /// Hands what waits for the wire's next call to it now. The packets stay counted by the backend if that fails.
    pub(crate) fn flush(&mut self) {
        let nic = &mut self.out.nic;
        if nic.unflushed() > 0
            && let Err(error) = self.meter.flush(|| nic.flush())
        {
            // An interface that is down says so each time.
            tracing::debug!(interface = self.out.nic.name(), %error, "flush failed");
        }
    }

    /// The adapter's time: of its last turn, or its model's own.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// The counters as they stand.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// The backend.
    pub(crate) fn nic(&mut self) -> &mut dyn spine_nic::Nic {
        &mut *self.out.nic
    }

    /// Its ends of the FIFOs to applications.
    pub(crate) fn fifos(&mut self) -> &mut Fifos {
        &mut self.out.hosts
    }

    /// Whether the processor should look again soon although nothing wakes it: packets that the wire
    /// would not take yet, or frames that are out while few are at home.
    pub(crate) fn is_owed(&self) -> bool {
        let nic = &self.out.nic;
        nic.unflushed() > 0 || nic.in_flight() > 0 && self.out.pool.free() < BURST
    }

    /// Whether there is anything to do without waiting: asked before the processor sleeps.
    pub(crate) fn has_work(&mut self) -> bool {
        !self.again.is_empty()
            || self.out.has_arrivals()
            || self.out.waiting(self.now)
            || self.out.hosts.is_ready()
            || self.now >= self.next_timer
    }

    /// Nanoseconds until there is something to do although nothing arrives; `None`: nothing before
    /// something does.
    pub(crate) fn due_in(&self) -> Option<u64> {
        let remotes = self.out.remotes.deadline(self.now).map(|at| at.since(self.now));
        let timer = (self.next_timer != Nanos(u64::MAX)).then(|| self.next_timer.since(self.now));
        let hosts = self.out.hosts.due_in(self.now);
        [remotes, hosts, timer, self.due].into_iter().flatten().min()
    }
}
