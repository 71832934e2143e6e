//! What each instruction does.
//!
//! Results go through [`Cpu::write`], loaded values through [`Cpu::load`]: there, and in `special`, is all that a register
//! does besides keeping a value. Compiled once for each set, as the loop is.

use super::alu;
use super::decode::PC;
use super::execute::{Cpu, Landing, NO_LANDING};
use super::op::{Combine, Mode, Move, Op};
use super::registers::{NOWHERE, Registers};
use super::{Memory, Width};

impl Cpu {
    /// What the instruction does; returns the cycles beyond the ordinary ones.
    #[inline(always)]
    pub(super) fn perform<const FOUR: bool, M: Memory + ?Sized>(
        &mut self,
        op: Op,
        memory: &mut M,
    ) -> u32 {
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
            Op::BranchRegister { condition, op, rs1, rs2 } => {
                let status = self.registers.flags::<FOUR>();
                if alu::holds(condition, status) {
                    let (a, b) = (self.registers.get(rs1), self.registers.get(rs2));
                    self.jump(alu::result(op, a, b, status));
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
            Op::Punt => self.punt(),
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
    pub(super) fn land(&mut self) {
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

    /// To `target`, after one more instruction.
    #[inline(always)]
    pub(super) fn jump(&mut self, target: u32) {
        self.next = target & !0b11;
        self.after = self.next.wrapping_add(4);
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
