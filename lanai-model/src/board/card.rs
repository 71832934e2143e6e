//! Everything on the board but the processor.
//!
//! The card is what the processor's bus leads to (`memory`), what a register write does (`effects`) and what its engines do
//! when their time comes (here). The ISR is kept here; the processor's r31 is a copy that follows one instruction late after
//! a register access, as firmware of the time expects, and at once after anything else.

use super::Shared;
use crate::arbiter::Arbiter;
use crate::bus::HostBus;
use crate::config::Config;
use crate::dma::{HostDma, Progress, ReceiveDma, SendDma};
use crate::extra::chain::Block;
use crate::link::Link;
use crate::registers::{CRC_ENABLE, NRES_ENABLE, isr, offset};
use crate::sram::Sram;
use crate::time::Time;
use crate::timers::Timers;
use crate::trace::{Event, Trace};

/// Elapsed instructions until a change made by a register access shows in the ISR: its own, and one more.
pub(super) const SETTLE: u8 = 2;

/// The board without its processor.
pub(crate) struct Card<H, L> {
    pub(crate) config: Config,
    pub(crate) shared: Shared,
    pub(crate) host: H,
    pub(crate) link: L,
    pub(super) timers: Timers,
    pub(super) host_dma: HostDma,
    pub(super) send: SendDma,
    pub(super) receive: ReceiveDma,
    pub(super) chain: Option<Block>,
    /// What was last written to each register.
    pub(super) file: [u32; 64],
    /// ISR bits that stay until they are cleared.
    latched: u32,
    /// The ISR as it has been published.
    visible: u32,
    /// Instructions until the processor's copy may be brought up to date.
    settle: u8,
    /// The ISR that shows first, after this instruction: the one before wrote a register and this one writes another.
    due: Option<u32>,
    pub(super) interrupts_enabled: bool,
    line: bool,
    /// Processor cycles since the board was made.
    pub(super) cycle: u64,
    /// Instructions since the board was made.
    pub(super) instructions: u64,
    /// The instruction under way was fetched.
    pub(super) fetched: bool,
    /// The cycle at which the processor has to stop for the next event.
    pub(super) deadline: u64,
    /// The end of the run under way.
    pub(super) until: Time,
}

impl<H: HostBus, L: Link> Card<H, L> {
    pub(super) fn new(config: Config, host: H, link: L) -> Self {
        let shared = Shared {
            sram: Sram::new(config.sram.bytes()),
            counters: super::Counters::default(),
            trace: Trace::default(),
            arbiter: Arbiter::new(&config),
        };
        let mut card = Self {
            timers: Timers::new(config.tick),
            shared,
            host,
            link,
            host_dma: HostDma::default(),
            send: SendDma::default(),
            receive: ReceiveDma::default(),
            chain: None,
            file: [0; 64],
            latched: isr::DMA_INT,
            visible: 0,
            settle: 0,
            due: None,
            interrupts_enabled: false,
            line: false,
            cycle: 0,
            instructions: 0,
            fetched: false,
            deadline: 0,
            until: Time::ZERO,
            config,
        };
        card.visible = card.isr(Time::ZERO);
        card
    }

    /// As after power-up, but for the memory and the counters.
    pub(super) fn reset(&mut self, now: Time) {
        self.host_dma = HostDma::default();
        self.send.stop();
        self.receive.stop();
        self.chain = None;
        self.file = [0; 64];
        self.timers.set_rtc(now, 0);
        self.timers.set_it(now, u32::MAX);
        self.latched = isr::DMA_INT;
        self.publish(now);
    }

    /// The time of the instruction under way.
    pub(super) fn now(&self) -> Time {
        self.config.clock.duration(self.cycle)
    }

    /// The ISR as it is, published or not.
    pub(super) fn isr(&self, now: Time) -> u32 {
        let ready = if self.send.ready(now) { isr::SEND_RDY } else { 0 };
        let idle = if self.send.busy() { 0 } else { isr::SEND_INT };
        self.latched | ready | idle | self.receive.levels()
    }

    /// The ISR as processor and host see it.
    pub(super) fn visible(&self) -> u32 {
        self.visible
    }

    pub(super) fn raise(&mut self, bits: u32) {
        self.latched |= bits & !isr::LEVELS;
    }

    pub(super) fn clear(&mut self, bits: u32) {
        self.latched &= !bits;
    }

    /// What the processor's write of `value` to the ISR makes of the bits that it sees.
    pub(super) fn processor_writes_isr(&mut self, value: u32) -> u32 {
        self.clear(value & !isr::HOST_SIG);
        self.raise(value & isr::HOST_SIG);
        let cleared = value & !isr::HOST_SIG & !isr::LEVELS;
        let seen = (self.visible & !cleared) | (value & isr::HOST_SIG);
        self.show(self.now(), seen);
        seen
    }

    /// A register access changed something: the processor sees it one instruction later.
    pub(super) fn changed(&mut self) {
        self.settle = SETTLE;
    }

    /// A register access is about to change something: what the one before it changed shows in its own time.
    pub(super) fn changing(&mut self, now: Time) {
        if self.settle == 1 {
            self.due = Some(self.isr(now));
        }
    }

    /// One instruction has passed; true when that published something that the processor's copy has to follow.
    #[inline]
    pub(super) fn settled(&mut self) -> bool {
        if self.settle == 0 {
            return false;
        }
        self.settle -= 1;
        match (self.due.take(), self.settle) {
            (_, 0) => self.publish(self.now()),
            (Some(due), _) => self.show(self.now(), due),
            (None, _) => return false,
        }
        true
    }

    /// Publishes the ISR unless a register access still delays it.
    pub(super) fn publish_if_settled(&mut self, now: Time) {
        if self.settle == 0 {
            self.publish(now);
        }
    }

    /// Publishes the ISR.
    pub(super) fn publish(&mut self, now: Time) {
        self.settle = 0;
        self.due = None;
        self.show(now, self.isr(now));
    }

    fn show(&mut self, now: Time, value: u32) {
        if value != self.visible {
            let (set, cleared) = (value & !self.visible, self.visible & !value);
            self.shared.trace.push(now, Event::Isr { set, cleared });
            self.visible = value;
        }
        self.drive_line(now);
    }

    /// Brings the interrupt line to what ISR, EIMR and the control register say.
    pub(super) fn drive_line(&mut self, now: Time) {
        let line = self.interrupts_enabled && self.visible & self.register(offset::EIMR) != 0;
        if line != self.line {
            self.line = line;
            self.shared.trace.push(now, Event::Interrupt { asserted: line });
            self.host.interrupt(now, line);
        }
    }

    /// What was last written to the register at `offset`.
    pub(super) fn register(&self, offset: u32) -> u32 {
        self.file.get((offset / 4) as usize).copied().unwrap_or(0)
    }

    pub(super) fn set_register(&mut self, offset: u32, value: u32) {
        if let Some(place) = self.file.get_mut((offset / 4) as usize) {
            *place = value;
        }
    }

    pub(super) fn crc_enabled(&self) -> bool {
        self.register(offset::MYRINET) & CRC_ENABLE != 0
    }

    /// How long the link may say stop before that resets it: for ever without NRES_ENABLE. (SRC; DER what the bit does, and 2)
    fn timeout(&self) -> Time {
        if self.register(offset::MYRINET) & NRES_ENABLE == 0 {
            return Time::NEVER;
        }
        match self.register(offset::TIMEOUT) & 3 {
            0 => Time::from_us(62_500),
            1 => Time::from_us(250_000),
            2 => Time::from_us(1_000_000),
            _ => Time::from_us(4_000_000),
        }
    }

    /// When the next engine has something to do after `now`.
    pub(super) fn next_event(&self, now: Time) -> Time {
        let due = [
            Some(self.timers.wrap()),
            self.host_dma.due(&self.config),
            self.send.due(now),
            self.receive.due(&self.config, &self.link),
        ];
        due.into_iter().flatten().min().unwrap_or(Time::NEVER)
    }

    /// Tells the processor when to stop next.
    pub(super) fn plan(&mut self, now: Time) {
        let stop = self.next_event(now).min(self.until);
        self.deadline = self.config.clock.count_up(stop);
    }

    /// Does what is due by `now`, in the order of the times.
    pub(super) fn run_events(&mut self, now: Time) {
        loop {
            // An event that was due while the processor finished its instruction happens at its own time.
            let due = self.next_event(now);
            if due > now {
                break;
            }
            self.run_event(due);
        }
        self.publish_if_settled(now);
        self.plan(now);
    }

    fn run_event(&mut self, now: Time) {
        if self.timers.pass_wrap(now) {
            self.raise(isr::TIME_INT);
        }
        self.advance_host_dma(now);
        self.advance_send(now);
        if self.receive.due(&self.config, &self.link).is_some_and(|due| due <= now)
            && let Some(piece) = self.link.receive()
        {
            let crc_enabled = self.crc_enabled();
            let rises = self.receive.accept(now, &piece, crc_enabled, &mut self.shared);
            self.raise(rises);
        }
        self.receive.watch(now, &self.config, &self.link);
        self.shared.arbiter.host_dma = self.host_dma.busy();
        self.shared.arbiter.receive = self.receive.inside_packet();
        self.publish_if_settled(now);
    }

    /// Moves what the host DMA has had time for.
    pub(super) fn advance_host_dma(&mut self, now: Time) {
        if self.host_dma.advance(now, &self.config, &mut self.shared, &mut self.host)
            && !self.follow_chain(now)
        {
            self.raise(isr::DMA_INT);
        }
    }

    fn advance_send(&mut self, now: Time) {
        let (crc_enabled, timeout) = (self.crc_enabled(), self.timeout());
        let progress = self.send.advance(
            now,
            &self.config,
            crc_enabled,
            timeout,
            &mut self.shared,
            &mut self.link,
        );
        if progress == Progress::TimedOut {
            self.shared.counters.link_timeouts += 1;
            self.raise(isr::NRES_INT);
        }
    }
}
