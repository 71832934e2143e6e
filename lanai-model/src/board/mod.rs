//! The board: processor, memory, registers and engines on one time line.
//!
//! [`Board::run_until`] lets the processor execute until an engine has something to do, does that at its exact time, and goes
//! on. Engines therefore run beside the processor: a DMA started by one instruction moves bytes under the next ones. The
//! processor may overrun an event by the rest of its instruction, never more.
//!
//! A board is in reset when it is made, with its memory accessible, as after power-up: load an image, then switch reset off
//! through the control register ([`Board::control`]).

mod card;
mod effects;
mod host_view;
mod memory;
mod shared;

pub use host_view::{HostWrite, MapRegion, control};
pub use shared::Counters;
pub(crate) use shared::Shared;

use card::Card;

use crate::bus::HostBus;
use crate::config::Config;
use crate::cpu::{Cpu, State};
use crate::link::Link;
use crate::registers::isr;
use crate::sram::Sram;
use crate::time::Time;
use crate::trace::{Event, Trace, Who};

/// A LANai 4 board between a host `H` and a link `L`.
pub struct Board<H, L> {
    cpu: Cpu,
    card: Card<H, L>,
    now: Time,
    in_reset: bool,
    /// The processor stopped at a word it does not know, and that has been reported.
    reported_illegal: bool,
}

impl<H: HostBus, L: Link> Board<H, L> {
    /// A board at time zero, in reset, its memory zero.
    #[must_use]
    pub fn new(config: Config, host: H, link: L) -> Self {
        let cpu = Cpu::new(config.isa);
        let card = Card::new(config, host, link);
        Self { cpu, card, now: Time::ZERO, in_reset: true, reported_illegal: false }
    }

    /// The time up to which everything has happened.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Runs until `time`; at once if that is past.
    pub fn run_until(&mut self, time: Time) {
        self.card.until = time;
        self.card.run_events(self.now);
        self.sync();
        while self.now < time {
            if self.running() {
                self.run_processor();
            } else {
                self.skip();
            }
            self.card.run_events(self.now);
            self.sync();
        }
    }

    /// Runs for `length`.
    pub fn advance(&mut self, length: Time) {
        self.run_until(self.now + length);
    }

    /// Executes one instruction with everything that happens meanwhile; nothing if the processor does not run.
    pub fn step(&mut self) {
        if self.running() {
            self.card.until = Time::NEVER;
            let before = self.card.cycle;
            self.cpu.step(&mut self.card);
            self.now = self.now.max(self.card.config.clock.duration(self.card.cycle.max(before)));
            self.card.run_events(self.now);
            self.sync();
        }
    }

    /// Whether the processor executes: it is not in reset and has met no word that it does not know.
    #[must_use]
    pub fn running(&self) -> bool {
        !self.in_reset && self.cpu.state() == State::Running
    }

    /// Whether reset is on.
    #[must_use]
    pub fn in_reset(&self) -> bool {
        self.in_reset
    }

    /// The processor, to look at.
    #[must_use]
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The processor, to set registers before a run.
    pub fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpu
    }

    /// The memory.
    #[must_use]
    pub fn sram(&self) -> &Sram {
        &self.card.shared.sram
    }

    /// The memory, to write without cost or trace.
    pub fn sram_mut(&mut self) -> &mut Sram {
        &mut self.card.shared.sram
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &H {
        &self.card.host
    }

    /// The host, to change.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.card.host
    }

    /// The link.
    #[must_use]
    pub fn link(&self) -> &L {
        &self.card.link
    }

    /// The link, to put packets in.
    pub fn link_mut(&mut self) -> &mut L {
        &mut self.card.link
    }

    /// The numbers it is built from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.card.config
    }

    /// Instructions executed, those of an illegal word's stop not among them.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.card.instructions
    }

    /// Processor cycles that have passed, in reset too.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.card.cycle
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.card.shared.counters
    }

    /// What was traced.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.card.shared.trace
    }

    /// Traces into `trace` from now on.
    pub fn set_trace(&mut self, trace: Trace) {
        self.card.shared.trace = trace;
    }

    /// The ISR as host and processor see it now.
    #[must_use]
    pub fn isr(&self) -> u32 {
        self.card.visible()
    }

    /// The link was reset from outside, or went up or down: NRES_INT or LINK_INT rises.
    pub fn link_event(&mut self, reset: bool) {
        self.card.raise(if reset { isr::NRES_INT } else { isr::LINK_INT });
        self.card.publish(self.now);
        self.sync();
    }

    /// When something will happen that the processor did not start: a bound for those who step several boards together.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.card.next_event(self.now)
    }

    /// Runs the processor up to the next event or the end of the run.
    fn run_processor(&mut self) {
        let cycles = self.card.deadline.saturating_sub(self.card.cycle);
        self.cpu.run(&mut self.card, cycles);
        let reached = self.card.now();
        // The processor may be ahead by the rest of an instruction; the engines follow in the next round.
        self.now = self.now.max(reached.min(self.card.until));
        if let State::Illegal { address, word } = self.cpu.state()
            && !std::mem::replace(&mut self.reported_illegal, true)
        {
            self.card.shared.trace.push(self.now, Event::Illegal { address, word });
        }
    }

    /// Nobody computes: goes to the next event.
    fn skip(&mut self) {
        self.card.publish(self.now);
        self.card.shared.arbiter.idle();
        self.now = self.card.next_event(self.now).min(self.card.until).max(self.now);
        let cycle = self.card.config.clock.count_up(self.now);
        self.card.cycle = self.card.cycle.max(cycle);
    }

    /// Brings the processor's ISR to the published one.
    fn sync(&mut self) {
        if self.cpu.isr() != self.card.visible() {
            self.cpu.set_isr(self.card.visible());
        }
    }

    fn set_reset(&mut self, on: bool) {
        if on == self.in_reset {
            return;
        }
        self.in_reset = on;
        self.card.shared.trace.push(self.now, Event::Reset { on });
        if on {
            self.cpu.reset();
            self.card.reset(self.now);
            self.reported_illegal = false;
        }
        self.sync();
    }
}
