//! The arithmetic and logic unit: results and flags.
//!
//! The rules are those of LLVM's format descriptions \[SRC\]: subtraction adds the complement, so that the carry after it
//! means "no borrow"; overflow compares signs; a right shift clears the carry and a left one leaves the last bit it lost
//! there. What they leave open is marked.

use super::op::{Alu, Count};

/// Zero.
pub const FLAG_Z: u32 = 1;
/// Negative.
pub const FLAG_N: u32 = 1 << 1;
/// Overflow.
pub const FLAG_V: u32 = 1 << 2;
/// Carry.
pub const FLAG_C: u32 = 1 << 3;
/// All four.
pub(super) const FLAGS: u32 = FLAG_Z | FLAG_N | FLAG_V | FLAG_C;

/// For each condition `DDDI`, one bit for each of the 16 values of the flags.
const CONDITIONS: [u16; 16] = conditions();

const fn conditions() -> [u16; 16] {
    let mut table = [0; 16];
    let mut flags = 0;
    while flags < 16 {
        let z = flags & FLAG_Z != 0;
        let less = (flags & FLAG_N != 0) != (flags & FLAG_V != 0);
        let c = flags & FLAG_C != 0;
        // The even ones: true, higher, no carry, not equal, no overflow, plus, greater or equal, greater.
        let even =
            [true, c && !z, !c, !z, flags & FLAG_V == 0, flags & FLAG_N == 0, !less, !less && !z];
        let mut pair = 0;
        while pair < 8 {
            let number = if even[pair] { 2 * pair } else { 2 * pair + 1 };
            table[number] |= 1 << flags;
            pair += 1;
        }
        flags += 1;
    }
    table
}

/// Whether `condition` (0 to 15) holds with these flags.
pub(super) fn holds(condition: u8, flags: u32) -> bool {
    CONDITIONS[usize::from(condition & 15)] >> (flags & FLAGS) & 1 != 0
}

/// The result alone.
pub(super) fn result(op: Alu, a: u32, b: u32, flags: u32) -> u32 {
    let carry = (flags & FLAG_C) / FLAG_C;
    match op {
        Alu::Add => a.wrapping_add(b),
        Alu::AddCarry => a.wrapping_add(b).wrapping_add(carry),
        Alu::Sub => a.wrapping_sub(b),
        Alu::SubBorrow => a.wrapping_add(!b).wrapping_add(carry),
        Alu::And => a & b,
        Alu::Or => a | b,
        Alu::Xor => a ^ b,
    }
}

/// The flags after `op`; `logic_carry` is what a logic operation leaves in C.
///
/// The register form of a logic operation keeps the carry and the immediate form clears it \[SRC\].
pub(super) fn flags(op: Alu, a: u32, b: u32, flags: u32, logic_carry: u32) -> u32 {
    let carry = flags & FLAG_C != 0;
    let (b, carry_in) = match op {
        Alu::Add => (b, false),
        Alu::AddCarry => (b, carry),
        Alu::Sub => (!b, true),
        Alu::SubBorrow => (!b, carry),
        Alu::And | Alu::Or | Alu::Xor => return of_result(result(op, a, b, flags)) | logic_carry,
    };
    let (sum, carry_out) = a.carrying_add(b, carry_in);
    let overflow = !(a ^ b) & (a ^ sum) & 1 << 31 != 0;
    of_result(sum) | if carry_out { FLAG_C } else { 0 } | if overflow { FLAG_V } else { 0 }
}

/// Z and N of a result.
pub(super) fn of_result(result: u32) -> u32 {
    (u32::from(result == 0) * FLAG_Z) | ((result >> 31) * FLAG_N)
}

/// `value` shifted by `amount`, left if positive.
///
/// Only -31 to 31 is defined; beyond, all bits are shifted out \[DER\].
pub(super) fn shift(value: u32, amount: i32, arithmetic: bool) -> u32 {
    let distance = amount.unsigned_abs();
    match (amount >= 0, arithmetic) {
        (true, _) => value.checked_shl(distance).unwrap_or(0),
        (false, false) => value.checked_shr(distance).unwrap_or(0),
        (false, true) => (value.cast_signed() >> distance.min(31)).cast_unsigned(),
    }
}

/// The flags after [`shift`]; a shift by nothing loses no bit and clears C \[DER\].
pub(super) fn shift_flags(value: u32, amount: i32, arithmetic: bool) -> u32 {
    let lost = match amount {
        1..=32 => value >> (32 - amount) & 1,
        _ => 0,
    };
    of_result(shift(value, amount, arithmetic)) | (lost * FLAG_C)
}

/// The bits of `value` counted; 32 zeros in a zero.
pub(super) fn count(count: Count, value: u32) -> u32 {
    match count {
        Count::Ones => value.count_ones(),
        Count::LeadingZeros => value.leading_zeros(),
        Count::TrailingZeros => value.trailing_zeros(),
    }
}
