//! One instruction, taken apart.
//!
//! The forms are those of both instruction sets; [`super::decode`] says which words of which set become which form.
//! Registers are numbers from 0 to 31 and are not renamed here.

use super::Width;

/// The seven arithmetic and logic operations, as the field `AAA` or `BBB` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alu {
    Add,
    AddCarry,
    Sub,
    SubBorrow,
    And,
    Or,
    Xor,
}

/// The operations that only v11 has, all on one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Ones,
    LeadingZeros,
    TrailingZeros,
}

/// What a load or store does with its base register, as the bits `PQ` number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The address is the base; the offset is ignored.
    Base,
    /// The address is the base, which then becomes base + offset.
    PostModify,
    /// The address is base + offset.
    Offset,
    /// The address is base + offset, which the base becomes too.
    PreModify,
}

/// What a load or store moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// From memory to a register, signs extended if `signed`.
    Load { width: Width, signed: bool },
    /// From a register to memory.
    Store { width: Width },
}

/// What combines base and offset of the register-register memory form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    Alu(Alu),
    Shift { arithmetic: bool },
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// rd = rs1 op value.
    Immediate { op: Alu, rd: u8, rs1: u8, flags: bool, value: u32 },
    /// rd = rs1 shifted by amount, left if positive.
    ShiftImmediate { arithmetic: bool, rd: u8, rs1: u8, flags: bool, amount: i16 },
    /// rd = rs1 op rs2, if the condition holds.
    Register { op: Alu, rd: u8, rs1: u8, rs2: u8, flags: bool, condition: u8 },
    /// rd = rs1 shifted by rs2, if the condition holds.
    ShiftRegister { arithmetic: bool, rd: u8, rs1: u8, rs2: u8, flags: bool, condition: u8 },
    /// rd = rs1 if the condition holds, else rs2.
    Select { rd: u8, rs1: u8, rs2: u8, condition: u8 },
    /// Memory at a base register and a constant; sub-word if it is the SPLS form.
    Memory { access: Move, rd: u8, base: u8, mode: Mode, offset: i16 },
    /// Memory at two registers combined.
    MemoryRegister { access: Move, rd: u8, base: u8, mode: Mode, combine: Combine, rs2: u8 },
    /// A word at a constant address of 21 bits.
    MemoryAbsolute { store: bool, rd: u8, address: u32 },
    /// rd = a constant of 21 bits.
    LongImmediate { rd: u8, value: u32 },
    /// To an absolute address, if the condition holds.
    Branch { condition: u8, target: u32 },
    /// To rs1 + offset, if the condition holds.
    BranchRelative { condition: u8, rs1: u8, offset: i32 },
    /// To rs1 op rs2, if the condition holds.
    BranchRegister { condition: u8, op: Alu, rs1: u8, rs2: u8 },
    /// rd = 1 if the condition holds, else 0.
    SetCondition { condition: u8, rd: u8 },
    /// rd = bits of rs1 counted.
    CountBits { count: Count, rd: u8, rs1: u8, flags: bool },
    /// rd = rs1 outer (rs2 inner rs3): the LANai 4's two ALUs.
    Dual { outer: Alu, inner: Alu, rd: u8, rs1: u8, rs2: u8, rs3: u8, flags: bool },
    /// To the other context.
    Punt,
    /// Not an instruction.
    Illegal,
}

impl Op {
    /// Which registers it reads, one bit each; r0 and r1 are constants and are left out.
    pub(super) fn reads(self) -> u32 {
        let mask = match self {
            Op::Immediate { rs1, .. }
            | Op::ShiftImmediate { rs1, .. }
            | Op::BranchRelative { rs1, .. }
            | Op::CountBits { rs1, .. } => 1 << rs1,
            Op::Register { rs1, rs2, .. }
            | Op::ShiftRegister { rs1, rs2, .. }
            | Op::BranchRegister { rs1, rs2, .. }
            | Op::Select { rs1, rs2, .. } => 1 << rs1 | 1 << rs2,
            Op::Memory { access, rd, base, .. } => 1 << base | access.reads(rd),
            Op::MemoryRegister { access, rd, base, mode, rs2, .. } => {
                let offset = if mode == Mode::Base { 0 } else { 1 << rs2 };
                1 << base | offset | access.reads(rd)
            }
            Op::MemoryAbsolute { store: true, rd, .. } => 1 << rd,
            Op::Dual { rs1, rs2, rs3, .. } => 1 << rs1 | 1 << rs2 | 1 << rs3,
            Op::MemoryAbsolute { store: false, .. }
            | Op::LongImmediate { .. }
            | Op::Branch { .. }
            | Op::SetCondition { .. }
            | Op::Punt
            | Op::Illegal => 0,
        };
        mask & !0b11
    }
}

impl Move {
    fn reads(self, rd: u8) -> u32 {
        match self {
            Move::Load { .. } => 0,
            Move::Store { .. } => 1 << rd,
        }
    }
}
