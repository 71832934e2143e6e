//! From a word to an instruction.
//!
//! The formats are those of LLVM's Lanai and of Myricom's binutils, which agree \[SRC\]; what only one of the two
//! instruction sets has is decided here and nowhere else. Every word has an answer: [`Op::Illegal`] if nothing else. Bits
//! that the formats call irrelevant are ignored, where LLVM's disassembler refuses a word that sets them.

use super::op::{Alu, Combine, Count, Mode, Move, Op};
use super::{Isa, Width};

/// The program counter's number.
pub(super) const PC: u8 = 2;

/// `punt`, the one word of its form \[SRC\].
pub(crate) const PUNT: u32 = 0xf003_ff47;

/// What `word` means to `isa`.
pub(super) fn decode(word: u32, isa: Isa) -> Op {
    let op = match word >> 28 {
        0..=7 => immediate(word),
        0b1000 | 0b1001 => memory(word),
        0b1010 | 0b1011 => memory_register(word),
        0b1100 => register(word, isa),
        0b1101 => match isa {
            Isa::V11 => count(word),
            Isa::Lanai4 => dual(word),
        },
        0b1110 => branch(word, isa),
        _ => special_memory(word, isa),
    };
    // Facts 2.3: the LANai 4 cannot load into its pc.
    if isa == Isa::Lanai4 && loads_pc(op) { Op::Illegal } else { op }
}

fn loads_pc(op: Op) -> bool {
    matches!(
        op,
        Op::Memory { access: Move::Load { .. }, rd: PC, .. }
            | Op::MemoryRegister { access: Move::Load { .. }, rd: PC, .. }
            | Op::MemoryAbsolute { store: false, rd: PC, .. }
    )
}

/// `width` bits of `word` from bit `low`; `width` is at most 8.
pub(super) fn field(word: u32, low: u32, width: u32) -> u8 {
    (word >> low & ((1 << width) - 1)).to_le_bytes()[0]
}

pub(super) fn bit(word: u32, number: u32) -> bool {
    word >> number & 1 != 0
}

pub(super) fn rd(word: u32) -> u8 {
    field(word, 23, 5)
}

pub(super) fn rs1(word: u32) -> u8 {
    field(word, 18, 5)
}

pub(super) fn rs2(word: u32) -> u8 {
    field(word, 11, 5)
}

/// `JJJJJ` of the register forms, Rs3 of the dual one.
pub(super) fn special(word: u32) -> u8 {
    field(word, 3, 5)
}

/// The low `width` bits of `word`, the highest of them its sign.
pub(super) fn signed(word: u32, width: u32) -> i16 {
    let [.., high, low] = (word << (16 - width)).to_be_bytes();
    i16::from_be_bytes([high, low]) >> (16 - width)
}

fn alu(number: u8) -> Option<Alu> {
    Some(match number {
        0 => Alu::Add,
        1 => Alu::AddCarry,
        2 => Alu::Sub,
        3 => Alu::SubBorrow,
        4 => Alu::And,
        5 => Alu::Or,
        6 => Alu::Xor,
        _ => return None,
    })
}

/// RI: the constant is the high or the low half; `and`'s other half is ones, the others' zeros.
fn immediate(word: u32) -> Op {
    let (rd, rs1, flags, high) = (rd(word), rs1(word), bit(word, 17), bit(word, 16));
    let constant = word & 0xffff;
    let Some(op) = alu(field(word, 28, 3)) else {
        return Op::ShiftImmediate { arithmetic: high, rd, rs1, flags, amount: signed(word, 16) };
    };
    let fill = if op == Alu::And { 0xffff } else { 0 };
    let value = if high { constant << 16 | fill } else { fill << 16 | constant };
    Op::Immediate { op, rd, rs1, flags, value }
}

/// `DDDI` of the register forms: bits 2 to 0 and bit 16.
pub(super) fn register_condition(word: u32) -> u8 {
    field(word, 0, 3) << 1 | field(word, 16, 1)
}

/// `DDDI` of the branches: bits 27 to 25 and bit 0.
pub(super) fn branch_condition(word: u32) -> u8 {
    field(word, 25, 3) << 1 | field(word, 0, 1)
}

fn register(word: u32, isa: Isa) -> Op {
    let (rd, rs1, rs2, flags) = (rd(word), rs1(word), rs2(word), bit(word, 17));
    let condition = register_condition(word);
    if let Some(op) = alu(field(word, 8, 3)) {
        return Op::Register { op, rd, rs1, rs2, flags, condition };
    }
    match special(word) {
        // SELECT came later than the LANai 4 (facts 2.3).
        0 if isa == Isa::V11 => Op::Select { rd, rs1, rs2, condition },
        0b10000..=0b10111 => {
            Op::ShiftRegister { arithmetic: false, rd, rs1, rs2, flags, condition }
        }
        0b11000..=0b11111 => Op::ShiftRegister { arithmetic: true, rd, rs1, rs2, flags, condition },
        _ => Op::Illegal,
    }
}

fn mode(number: u8) -> Mode {
    match number {
        0 => Mode::Base,
        1 => Mode::PostModify,
        2 => Mode::Offset,
        _ => Mode::PreModify,
    }
}

/// RM: a word at a register and a constant of 16 bits.
fn memory(word: u32) -> Op {
    let access = if bit(word, 28) {
        Move::Store { width: Width::Word }
    } else {
        Move::Load { width: Width::Word, signed: false }
    };
    let mode = mode(field(word, 16, 2));
    Op::Memory { access, rd: rd(word), base: rs1(word), mode, offset: signed(word, 16) }
}

/// RRM: any width at two registers; a shifted offset moves words only, whatever `YLE` says.
fn memory_register(word: u32) -> Op {
    let combine = match (alu(field(word, 8, 3)), special(word)) {
        (Some(op), _) => Combine::Alu(op),
        (None, 0b10000..=0b10111) => Combine::Shift { arithmetic: false },
        (None, 0b11000..=0b11111) => Combine::Shift { arithmetic: true },
        (None, _) => return Op::Illegal,
    };
    let width = match (combine, field(word, 1, 2)) {
        (Combine::Shift { .. }, _) | (_, 0b01 | 0b11) => Width::Word,
        (_, 0b00) => Width::Half,
        _ => Width::Byte,
    };
    let access = if bit(word, 28) {
        Move::Store { width }
    } else {
        Move::Load { width, signed: !bit(word, 0) }
    };
    let mode = mode(field(word, 16, 2));
    Op::MemoryRegister { access, rd: rd(word), base: rs1(word), mode, combine, rs2: rs2(word) }
}

/// 1101 of v11: population count and zeros.
fn count(word: u32) -> Op {
    let count = match field(word, 0, 3) {
        1 => Count::Ones,
        2 => Count::LeadingZeros,
        3 => Count::TrailingZeros,
        _ => return Op::Illegal,
    };
    Op::CountBits { count, rd: rd(word), rs1: rs1(word), flags: bit(word, 17) }
}

/// 1101 of the LANai 4: RRR (facts 6.7). What operation 7 does there is not known: illegal \[DER\].
fn dual(word: u32) -> Op {
    let (Some(outer), Some(inner)) = (alu(field(word, 8, 3)), alu(field(word, 0, 3))) else {
        return Op::Illegal;
    };
    Op::Dual {
        outer,
        inner,
        rd: rd(word),
        rs1: rs1(word),
        rs2: rs2(word),
        rs3: special(word),
        flags: bit(word, 17),
    }
}

/// BR, and with bit 1 set: on the LANai 4 the same relative to the pc, over the same range; on v11 BRR and SCC \[SRC\].
fn branch(word: u32, isa: Isa) -> Op {
    let condition = branch_condition(word);
    if !bit(word, 1) {
        return Op::Branch { condition, target: word & 0x01ff_fffc };
    }
    match (isa, bit(word, 24)) {
        (Isa::V11, true) => {
            let offset = i32::from(signed(word, 16) & !0b11);
            Op::BranchRelative { condition, rs1: rs1(word), offset }
        }
        (Isa::V11, false) => Op::SetCondition { condition, rd: rs1(word) },
        (Isa::Lanai4, _) => Op::BranchRelative { condition, rs1: PC, offset: branch_offset(word) },
    }
}

/// The distance of the LANai 4's relative branch: 25 bits, the highest its sign.
pub(super) fn branch_offset(word: u32) -> i32 {
    (word << 7).cast_signed() >> 7 & !0b11
}

/// Whether `word` is SBR, the LANai 4's branch to two registers combined; what its bit 2 would do is not known \[SRC\].
pub(super) fn is_register_branch(word: u32) -> bool {
    word & 0xf003_f804 == 0xf003_c000 && field(word, 8, 3) != 7
}

/// SBR. Its bit 1 says that the target is relative, which the registers say too: it changes nothing \[DER\].
fn register_branch(word: u32) -> Op {
    match alu(field(word, 8, 3)) {
        Some(op) => Op::BranchRegister {
            condition: branch_condition(word),
            op,
            rs1: rs1(word),
            rs2: special(word),
        },
        None => Op::Illegal,
    }
}

/// 1111: SLS, SLI, SPLS, SBR and `punt`.
fn special_memory(word: u32, isa: Isa) -> Op {
    let rd = rd(word);
    let constant = u32::from(rs1(word)) << 16 | word & 0xffff;
    match field(word, 15, 3) {
        0b000 | 0b001 => Op::MemoryAbsolute { store: false, rd, address: constant & !0b11 },
        0b010 | 0b011 => Op::MemoryAbsolute { store: true, rd, address: constant & !0b11 },
        0b100 | 0b101 => Op::LongImmediate { rd, value: constant },
        0b110 => {
            let width = if bit(word, 14) { Width::Byte } else { Width::Half };
            let access = if bit(word, 13) {
                Move::Store { width }
            } else {
                Move::Load { width, signed: !bit(word, 12) }
            };
            let mode = mode(field(word, 10, 2));
            Op::Memory { access, rd, base: rs1(word), mode, offset: signed(word, 10) }
        }
        _ if word == PUNT && isa == Isa::Lanai4 => Op::Punt,
        _ if is_register_branch(word) && isa == Isa::Lanai4 => register_branch(word),
        _ => Op::Illegal,
    }
}
