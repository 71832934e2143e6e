//! The loop: fetch, decode, execute, count.
//!
//! The loop is compiled once for each set (`FOUR` is the LANai 4); asking each time costs a quarter more.
//!
//! Invariants:
//! - The pc and the addresses of the two instructions after it are known before an instruction starts; a jump replaces
//!   the second of the three (one delay slot), a load into v11's pc the third (two).
//! - A decoded instruction is kept beside the word it came from and used only while memory still holds that word, so that
//!   code may be overwritten, by a store or by DMA, at any time.
//! - On the LANai 4 a loaded value lands after the next instruction has read its operands. If that instruction writes the
//!   same register, its own result stays, for it is the later one in program order \[DER\].
//! - A load whose slot an interrupt comes before lands after that slot, when the user context goes on: functions end with a
//!   slot that reads the old frame pointer, and the chip saves its pipeline too (IPF1 to DPF1) \[DER\].
//! - Interrupts are taken before an instruction, never between a branch and its slot, since one pc is all that is saved
//!   \[DER\].

use super::cost::Cost;
use super::decode::{PC, decode};
use super::op::Op;
use super::registers::{NOWHERE, Registers};
use super::{Context, Isa, Memory, State};

/// Decoded words kept: 64 KB of code without two sharing a place.
const DECODED: usize = 1 << 14;

#[derive(Clone, Copy, Debug)]
struct Decoded {
    word: u32,
    reads: u32,
    op: Op,
}

impl Decoded {
    fn new(word: u32, isa: Isa) -> Self {
        let op = decode(word, isa);
        Decoded { word, reads: op.reads(), op }
    }
}

/// A loaded value on its way to its register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Landing {
    pub(super) register: u8,
    pub(super) value: u32,
}

pub(super) const NO_LANDING: Landing = Landing { register: NOWHERE, value: 0 };

/// One LANai processor.
#[derive(Clone, Debug)]
pub struct Cpu {
    isa: Isa,
    pub(super) cost: Cost,
    pub(super) registers: Registers,
    pub(super) pc: u32,
    pub(super) next: u32,
    pub(super) after: u32,
    /// What the previous instruction loaded (LANai 4).
    pub(super) landing: Landing,
    /// What this instruction loads.
    pub(super) loading: Landing,
    /// What the user context had loaded when it was interrupted (LANai 4).
    pub(super) parked: Landing,
    /// The register the previous instruction loaded, as a bit (v11).
    pub(super) loaded: u32,
    /// A value written to r31, to be answered at the end of the instruction.
    pub(super) isr_written: Option<u32>,
    pub(super) state: State,
    /// Something must be looked at before the next instruction: an interrupt, or the illegal state.
    pub(super) attention: bool,
    decoded: Box<[Decoded]>,
}

impl Cpu {
    /// A processor after reset, with the recommended costs.
    #[must_use]
    pub fn new(isa: Isa) -> Cpu {
        Cpu::with_cost(isa, Cost::RECOMMENDED)
    }

    /// A processor after reset, with these costs.
    #[must_use]
    pub fn with_cost(isa: Isa, cost: Cost) -> Cpu {
        Cpu {
            isa,
            cost,
            registers: Registers::new(isa),
            pc: 0,
            next: 4,
            after: 8,
            landing: NO_LANDING,
            loading: NO_LANDING,
            parked: NO_LANDING,
            loaded: 0,
            isr_written: None,
            state: State::Running,
            attention: false,
            decoded: vec![Decoded::new(0, isa); DECODED].into(),
        }
    }

    /// Registers zero, pc 0, system context, running. What hardware leaves undefined is zero here.
    pub fn reset(&mut self) {
        self.registers = Registers::new(self.isa);
        self.set_pc(0);
        self.landing = NO_LANDING;
        self.parked = NO_LANDING;
        self.loaded = 0;
        self.isr_written = None;
        self.state = State::Running;
        self.attention = false;
    }

    /// Executes one instruction; returns its cycles.
    pub fn step<M: Memory + ?Sized>(&mut self, memory: &mut M) -> u32 {
        match self.isa {
            Isa::V11 => self.execute::<false, M>(memory).0,
            Isa::Lanai4 => self.execute::<true, M>(memory).0,
        }
    }

    /// Executes until `cycles` are used (the last instruction may overrun) or [`Memory::elapsed`] answers true; returns
    /// the cycles used.
    pub fn run<M: Memory + ?Sized>(&mut self, memory: &mut M, cycles: u64) -> u64 {
        match self.isa {
            Isa::V11 => self.run_set::<false, M>(memory, cycles),
            Isa::Lanai4 => self.run_set::<true, M>(memory, cycles),
        }
    }

    fn run_set<const FOUR: bool, M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        cycles: u64,
    ) -> u64 {
        let mut used = 0;
        while used < cycles {
            let (spent, stop) = self.execute::<FOUR, M>(memory);
            used += u64::from(spent);
            if stop {
                break;
            }
        }
        used
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Whether it executes.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The context that runs.
    #[must_use]
    pub fn context(&self) -> Context {
        self.registers.context()
    }

    /// The interrupt bits: r31 on the LANai 4; on v11 no register, but a board may show them in its own.
    #[must_use]
    pub fn isr(&self) -> u32 {
        self.registers.interrupts()
    }

    /// The interrupt mask: r30 on the LANai 4, 0 on v11.
    #[must_use]
    pub fn imr(&self) -> u32 {
        self.registers.mask()
    }

    /// Sets interrupt bits.
    pub fn raise(&mut self, bits: u32) {
        self.set_isr(self.isr() | bits);
    }

    /// Clears interrupt bits.
    pub fn clear(&mut self, bits: u32) {
        self.set_isr(self.isr() & !bits);
    }

    /// Replaces all interrupt bits.
    pub fn set_isr(&mut self, bits: u32) {
        self.registers.set_interrupts(bits);
        self.look();
    }

    /// The value of register `number` (0 to 31; others read 0), without side effects. r2 is [`Cpu::pc`].
    #[must_use]
    pub fn register(&self, number: u8) -> u32 {
        match number {
            PC => self.pc,
            0..=31 => self.registers.get(number),
            _ => 0,
        }
    }

    /// Sets register `number`, without the side effects that an instruction's write has; r2 is [`Cpu::set_pc`].
    pub fn set_register(&mut self, number: u8, value: u32) {
        match number {
            PC => self.set_pc(value),
            0..=31 => self.registers.set(number, value),
            _ => {}
        }
        self.look();
    }

    /// Where the next instruction is.
    #[must_use]
    pub fn pc(&self) -> u32 {
        self.pc
    }

    /// Goes on at `address`, its low two bits cleared, without a delay slot.
    pub fn set_pc(&mut self, address: u32) {
        self.pc = address & !0b11;
        self.next = self.pc.wrapping_add(4);
        self.after = self.pc.wrapping_add(8);
    }

    /// The flags Z, N, V, C in bits 0 to 3, and on the LANai 4 the context in bit 4.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.registers.status()
    }

    /// One instruction: its cycles, and whether the memory wants [`Cpu::run`] to stop.
    #[inline(always)]
    fn execute<const FOUR: bool, M: Memory + ?Sized>(&mut self, memory: &mut M) -> (u32, bool) {
        let mut cycles = self.cost.instruction;
        if self.attention {
            if self.state != State::Running {
                return (1, memory.elapsed(1));
            }
            cycles += self.interrupt();
        }
        let address = self.pc;
        let word = memory.fetch(address);
        let place = (address >> 2) as usize % DECODED;
        if self.decoded[place].word != word {
            self.decoded[place] = Decoded::new(word, self.isa);
        }
        let Decoded { reads, op, .. } = self.decoded[place];
        if !FOUR {
            if reads & self.loaded != 0 {
                cycles += self.cost.load_use;
            }
            self.loaded = 0;
        }
        self.registers.set_visible_pc(if FOUR { address.wrapping_add(4) } else { address });
        self.pc = self.next;
        self.next = self.after;
        self.after = self.after.wrapping_add(4);

        cycles += self.perform::<FOUR, M>(op, memory);
        if op == Op::Illegal {
            self.stop(address, word);
        }
        if FOUR {
            self.land();
            self.landing = self.loading;
            self.loading = NO_LANDING;
            if let Some(value) = self.isr_written.take() {
                self.set_isr(memory.isr_write(self.isr(), value));
            }
        }
        cycles += memory.take_wait_cycles();
        (cycles, memory.elapsed(cycles))
    }
}
