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
//! - Interrupts are taken before an instruction, never between a branch and its slot, since one pc is all that is saved
//!   \[DER\].

use super::alu;
use super::cost::Cost;
use super::decode::{PC, decode};
use super::op::{Combine, Mode, Move, Op};
use super::registers::{
    INTERRUPTS, MASK, NOWHERE, OTHER_PC, OTHER_STATUS, Registers, STATUS, STATUS_USER,
};
use super::{Context, Isa, Memory, State, Width};

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
struct Landing {
    register: u8,
    value: u32,
}

const NO_LANDING: Landing = Landing { register: NOWHERE, value: 0 };

/// One LANai processor.
#[derive(Clone, Debug)]
pub struct Cpu {
    isa: Isa,
    cost: Cost,
    registers: Registers,
    pc: u32,
    next: u32,
    after: u32,
    /// What the previous instruction loaded (LANai 4).
    landing: Landing,
    /// What this instruction loads.
    loading: Landing,
    /// The register the previous instruction loaded, as a bit (v11).
    loaded: u32,
    /// A value written to r31, to be answered at the end of the instruction.
    isr_written: Option<u32>,
    state: State,
    /// Something must be looked at before the next instruction: an interrupt, or the illegal state.
    attention: bool,
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

    /// Decides whether something is to be looked at before the next instruction.
    fn look(&mut self) {
        let interrupt =
            self.context() == Context::User && self.registers.interrupts() & self.imr() != 0;
        self.attention = interrupt || self.state != State::Running;
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

    /// What the instruction does; returns the cycles beyond the ordinary ones.
    #[inline(always)]
    fn perform<const FOUR: bool, M: Memory + ?Sized>(&mut self, op: Op, memory: &mut M) -> u32 {
        match op {
            Op::Immediate { op, rd, rs1, flags, value } => {
                let (a, status) = (self.registers.get(rs1), self.registers.flags::<FOUR>());
                if flags {
                    self.registers.set_flags::<FOUR>(alu::flags(op, a, value, status, 0));
                }
                self.write::<FOUR>(rd, alu::result(op, a, value, status));
            }
            Op::Register { op, rd, rs1, rs2, flags, condition } => {
                let (a, b) = (self.registers.get(rs1), self.registers.get(rs2));
                let status = self.registers.flags::<FOUR>();
                if alu::holds(condition, status) {
                    if flags {
                        let kept = status & alu::FLAG_C;
                        self.registers.set_flags::<FOUR>(alu::flags(op, a, b, status, kept));
                    }
                    self.write::<FOUR>(rd, alu::result(op, a, b, status));
                }
            }
            Op::ShiftImmediate { arithmetic, rd, rs1, flags, amount } => {
                self.shift::<FOUR>(arithmetic, rd, self.registers.get(rs1), amount.into(), flags);
            }
            Op::ShiftRegister { arithmetic, rd, rs1, rs2, flags, condition } => {
                if alu::holds(condition, self.registers.flags::<FOUR>()) {
                    let amount = self.registers.get(rs2).cast_signed();
                    self.shift::<FOUR>(arithmetic, rd, self.registers.get(rs1), amount, flags);
                }
            }
            Op::Select { rd, rs1, rs2, condition } => {
                let chosen =
                    if alu::holds(condition, self.registers.flags::<FOUR>()) { rs1 } else { rs2 };
                self.write::<FOUR>(rd, self.registers.get(chosen));
            }
            Op::Memory { access, rd, base, mode, offset } => {
                let at = self.registers.get(base);
                let moved = at.wrapping_add_signed(offset.into());
                return self.access::<FOUR, M>(memory, access, rd, base, mode, at, moved);
            }
            Op::MemoryRegister { access, rd, base, mode, combine, rs2 } => {
                let (at, by) = (self.registers.get(base), self.registers.get(rs2));
                let moved = match combine {
                    Combine::Alu(op) => alu::result(op, at, by, self.registers.flags::<FOUR>()),
                    Combine::Shift { arithmetic } => alu::shift(at, by.cast_signed(), arithmetic),
                };
                return self.access::<FOUR, M>(memory, access, rd, base, mode, at, moved);
            }
            Op::MemoryAbsolute { store: true, rd, address } => {
                memory.store(address, Width::Word, self.registers.get(rd));
            }
            Op::MemoryAbsolute { store: false, rd, address } => {
                let value = memory.load(address, Width::Word);
                self.load::<FOUR>(rd, value);
            }
            // LLVM's description gives it a load's timing, but firmware of the LANai 4 reads the register in the very next
            // instruction (its first does: stack pointer, then frame pointer from it) [SRC: Myricom's MCP].
            Op::LongImmediate { rd, value } => self.write::<FOUR>(rd, value),
            Op::Branch { condition, target } => {
                if alu::holds(condition, self.registers.flags::<FOUR>()) {
                    self.jump(target);
                }
            }
            Op::BranchRelative { condition, rs1, offset } => {
                if alu::holds(condition, self.registers.flags::<FOUR>()) {
                    self.jump(self.registers.get(rs1).wrapping_add_signed(offset));
                }
            }
            Op::SetCondition { condition, rd } => {
                self.write::<FOUR>(
                    rd,
                    alu::holds(condition, self.registers.flags::<FOUR>()).into(),
                );
            }
            Op::CountBits { count, rd, rs1, flags } => {
                let value = alu::count(count, self.registers.get(rs1));
                if flags {
                    self.registers.set_flags::<FOUR>(alu::of_result(value));
                }
                self.write::<FOUR>(rd, value);
            }
            Op::Dual { outer, inner, rd, rs1, rs2, rs3, flags } => {
                let status = self.registers.flags::<FOUR>();
                let (a, b) = (self.registers.get(rs2), self.registers.get(rs3));
                let operand = alu::result(inner, a, b, status);
                let a = self.registers.get(rs1);
                if flags {
                    let kept = status & alu::FLAG_C;
                    self.registers.set_flags::<FOUR>(alu::flags(outer, a, operand, status, kept));
                }
                self.write::<FOUR>(rd, alu::result(outer, a, operand, status));
            }
            Op::Punt => {
                self.land();
                self.switch_context();
            }
            Op::Illegal => {}
        }
        0
    }

    #[inline(always)]
    fn shift<const FOUR: bool>(
        &mut self,
        arithmetic: bool,
        rd: u8,
        value: u32,
        amount: i32,
        flags: bool,
    ) {
        if flags {
            self.registers.set_flags::<FOUR>(alu::shift_flags(value, amount, arithmetic));
        }
        self.write::<FOUR>(rd, alu::shift(value, amount, arithmetic));
    }

    /// A load or store whose base register is `at` and would become `moved`; returns what its width costs.
    #[expect(clippy::too_many_arguments, reason = "the operands of one instruction form")]
    #[inline(always)]
    fn access<const FOUR: bool, M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        access: Move,
        rd: u8,
        base: u8,
        mode: Mode,
        at: u32,
        moved: u32,
    ) -> u32 {
        let address = match mode {
            Mode::Base | Mode::PostModify => at,
            Mode::Offset | Mode::PreModify => moved,
        };
        // What is stored is the register as it was before the base moved.
        let stored = self.registers.get(rd);
        if matches!(mode, Mode::PostModify | Mode::PreModify) {
            self.write::<FOUR>(base, moved);
        }
        match access {
            Move::Store { width } => {
                memory.store(align(address, width), width, stored);
                if width == Width::Word { 0 } else { self.cost.sub_word_store }
            }
            Move::Load { width, signed } => {
                let value = memory.load(align(address, width), width);
                self.load::<FOUR>(rd, extend(value, width, signed));
                if width == Width::Word { 0 } else { self.cost.sub_word_load }
            }
        }
    }

    /// A value from memory for `rd`.
    #[inline(always)]
    fn load<const FOUR: bool>(&mut self, rd: u8, value: u32) {
        if FOUR {
            self.loading = Landing { register: rd, value };
        } else if rd == PC {
            // Two instructions are under way already: both run before the jump.
            self.after = value & !0b11;
        } else {
            self.loaded = 1 << (rd & 31);
            self.registers.set(rd, value);
        }
    }

    /// The previous instruction's load reaches its register.
    #[inline(always)]
    fn land(&mut self) {
        let Landing { register, value } = self.landing;
        if register != NOWHERE {
            self.landing = NO_LANDING;
            self.write::<true>(register, value);
        }
    }

    /// An instruction's result; it wins over a load that lands with it.
    #[inline(always)]
    fn write<const FOUR: bool>(&mut self, register: u8, value: u32) {
        if FOUR && self.landing.register == register {
            self.landing = NO_LANDING;
        }
        if Registers::is_plain::<FOUR>(register) {
            self.registers.set(register, value);
        } else {
            self.write_special(register, value);
        }
    }

    /// A write to the pc, or on the LANai 4 to r3 or r28 to r31.
    fn write_special(&mut self, register: u8, value: u32) {
        let context = self.registers.status() & STATUS_USER;
        match register {
            PC => self.jump(value),
            STATUS => self.registers.set(STATUS, value & alu::FLAGS | context),
            OTHER_STATUS => {
                let other = context ^ STATUS_USER;
                self.registers.set(OTHER_STATUS, value & alu::FLAGS | other);
            }
            OTHER_PC => self.registers.set(OTHER_PC, value & !0b11),
            MASK => {
                self.registers.set(MASK, value);
                self.look();
            }
            INTERRUPTS => self.isr_written = Some(value),
            _ => {}
        }
    }

    /// To `target`, after one more instruction.
    #[inline(always)]
    fn jump(&mut self, target: u32) {
        self.next = target & !0b11;
        self.after = self.next.wrapping_add(4);
    }

    /// Takes the interrupt unless the pc is in a delay slot; returns its cycles.
    fn interrupt(&mut self) -> u32 {
        if self.next != self.pc.wrapping_add(4) {
            return 0;
        }
        self.land();
        self.switch_context();
        self.cost.interrupt
    }

    fn switch_context(&mut self) {
        let other = self.registers.switch_context(self.pc);
        self.set_pc(other);
        self.look();
    }

    /// Stays at an illegal word.
    fn stop(&mut self, address: u32, word: u32) {
        self.set_pc(address);
        self.state = State::Illegal { address, word };
        self.attention = true;
    }
}

fn align(address: u32, width: Width) -> u32 {
    match width {
        Width::Byte => address,
        Width::Half => address & !1,
        Width::Word => address & !0b11,
    }
}

fn extend(value: u32, width: Width, signed: bool) -> u32 {
    let unused = match width {
        Width::Byte => 24,
        Width::Half => 16,
        Width::Word => 0,
    };
    let high = value << unused;
    if signed { (high.cast_signed() >> unused).cast_unsigned() } else { high >> unused }
}
