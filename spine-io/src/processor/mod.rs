//! A processor: one pinned thread that runs one or more adapters, turn after turn.
//!
//! While there is work it makes no system call but those of the wires. When there has been none for
//! a moment it says so on its [`doorbell`](crate::doorbell) and to the FIFOs of its applications, looks once more, and
//! sleeps in one io_uring wait over all its sockets, FIFOs and the doorbell.
//!
//! In copy mode each look of the kernel at a transmit ring is a system call; `pace` decides when one is
//! worth it.

mod pace;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use spine_abi::Nanos;
use spine_nic::clock::Clock;
use spine_ring::Sleeper;
use spine_ring::sleeper::Watch;

use self::pace::{Pace, Purse};
use crate::doorbell::Doorbell;
use crate::runtime::Adapter;

/// The longest sleep: bounds how late a stop request is seen if its doorbell were ever missed.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The longest sleep while a wire owes us something that no descriptor tells of.
const SHORT_SLEEP: Duration = Duration::from_micros(500);
/// Turns without work between two looks at the clock.
const IDLE_TURNS: u32 = 8;

/// What a processor tells the rest of the process.
#[derive(Debug)]
pub struct ProcessorShared {
    /// Wakes it.
    pub doorbell: Arc<Doorbell>,
    /// Asks it to end.
    pub stop: AtomicBool,
    /// Sleeps so far: one system call each.
    pub sleeps: AtomicU64,
    /// Doorbells of FIFOs rung and silenced so far: one system call each. As of the last sleep.
    pub fifo_calls: AtomicU64,
}

impl ProcessorShared {
    /// A processor that has not started.
    ///
    /// # Errors
    /// What eventfd says.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            doorbell: Arc::new(Doorbell::new()?),
            stop: AtomicBool::new(false),
            sleeps: AtomicU64::new(0),
            fifo_calls: AtomicU64::new(0),
        }))
    }

    /// System calls made for its sleeping and waking: a ring is a write and a read.
    pub fn syscalls(&self) -> u64 {
        let fifos = self.fifo_calls.load(Ordering::Relaxed);
        self.sleeps.load(Ordering::Relaxed) + 2 * self.doorbell.rung() + fifos
    }
}

/// A thread's worth of adapters. The sleeper ends first: it has the wires' descriptors in its ring.
pub struct Processor<C> {
    sleeper: Sleeper,
    doorbell: Watch,
    adapters: Vec<(Adapter, Pace)>,
    purse: Purse,
    shared: Arc<ProcessorShared>,
    clock: C,
}

impl<C: Clock> Processor<C> {
    /// A processor for these adapters.
    ///
    /// # Errors
    /// What io_uring says.
    pub fn new(adapters: Vec<Adapter>, shared: Arc<ProcessorShared>, clock: C) -> io::Result<Self> {
        let mut adapters: Vec<_> =
            adapters.into_iter().map(|adapter| (adapter, Pace::default())).collect();
        let mut sleeper = Sleeper::new()?;
        let doorbell = sleeper.watch(shared.doorbell.fd());
        let mut fds = Vec::new();
        adapters.iter_mut().for_each(|(adapter, _)| adapter.nic().poll_fds(&mut fds));
        for fd in fds {
            sleeper.watch(fd);
        }
        Ok(Self { sleeper, doorbell, adapters, purse: Purse::default(), shared, clock })
    }

    /// Pins the calling thread to a core.
    ///
    /// # Errors
    /// The core does not exist, or the thread may not run there.
    pub fn pin(core: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(core)?;
        Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
    }

    /// Runs until asked to stop.
    ///
    /// # Errors
    /// When it can no longer sleep; packets are never the reason.
    pub fn run(mut self) -> io::Result<()> {
        let mut now = self.clock.now();
        let mut last_work = now;
        let mut idle = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            if self.turn(now) {
                now = self.seen();
                last_work = now;
                idle = 0;
                continue;
            }
            now = self.clock.now();
            idle += 1;
            if idle < IDLE_TURNS || now.since(last_work) < self.patience() {
                std::hint::spin_loop();
                continue;
            }
            self.sleep()?;
            now = self.clock.now();
            last_work = now;
            idle = 0;
        }
        Ok(())
    }

    /// One turn of every adapter; says whether any message moved.
    fn turn(&mut self, now: Nanos) -> bool {
        let (mut worked, mut now) = (false, now);
        for (adapter, pace) in &mut self.adapters {
            worked |= adapter.turn(now);
            let unflushed = adapter.nic().unflushed();
            if pace.is_due(unflushed, &self.purse, now) {
                pace.flushed(unflushed, &mut self.purse);
                adapter.flush();
            }
            // What one adapter took is not the next one's.
            now = adapter.seen().unwrap_or(now);
        }
        worked
    }

    /// The time after a turn: where every adapter measures, they have looked already.
    fn seen(&self) -> Nanos {
        let latest =
            |latest: Nanos, (adapter, _): &(Adapter, Pace)| Some(latest.max(adapter.seen()?));
        let seen = self.adapters.iter().try_fold(Nanos(0), latest);
        seen.unwrap_or_else(|| self.clock.now())
    }

    /// How long to look for work before sleeping: long enough to bridge the gaps of a high rate.
    fn patience(&self) -> u64 {
        self.adapters.iter().map(|(_, pace)| pace.patience(&self.purse)).max().unwrap_or(0)
    }

    /// How long nothing needs doing, if nothing arrives.
    fn longest_sleep(&self) -> Duration {
        let owed = self.adapters.iter().any(|(adapter, _)| adapter.is_owed());
        let most = if owed { SHORT_SLEEP } else { LONGEST_SLEEP };
        let due = self.adapters.iter().filter_map(|(adapter, _)| adapter.due_in()).min();
        due.map_or(most, |nanos| most.min(Duration::from_nanos(nanos)))
    }

    fn sleep(&mut self) -> io::Result<()> {
        for (adapter, _) in &mut self.adapters {
            adapter.flush();
        }
        self.shared.doorbell.doze();
        self.adapters.iter_mut().for_each(|(adapter, _)| adapter.fifos().doze());
        // What came between the last turn and the doze was not rung for; nor was a request to stop.
        let now = self.clock.now();
        if !self.shared.stop.load(Ordering::Relaxed)
            && !self.turn(now)
            && !self.adapters.iter_mut().any(|(adapter, _)| adapter.has_work())
        {
            for (adapter, _) in &mut self.adapters {
                adapter.flush();
                adapter.fifos().watch(&mut self.sleeper)?;
            }
            self.shared.sleeps.fetch_add(1, Ordering::Relaxed);
            self.purse.pay(0);
            self.sleeper.sleep(self.longest_sleep())?;
        }
        self.shared.doorbell.wake(self.sleeper.take_fired(self.doorbell));
        let mut calls = 0;
        for (adapter, _) in &mut self.adapters {
            adapter.fifos().wake(&mut self.sleeper);
            calls += adapter.fifos().calls();
        }
        self.shared.fifo_calls.store(calls, Ordering::Relaxed);
        Ok(())
    }
}
