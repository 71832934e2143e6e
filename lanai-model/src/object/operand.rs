//! The operands of assembly text: registers, numbers, addresses, and the dual form's second operand.

use std::collections::HashMap;

use crate::cpu::OPERATIONS;
use crate::registers;

/// One operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Register(u32),
    /// A constant, or a label's address.
    Number(i64),
    Memory(Memory),
    /// `(%r1 add %r2)`.
    Dual {
        a: u32,
        operation: u32,
        b: u32,
    },
}

/// What stands in brackets, with what stands before them. `pq` is the mode's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// `[0x1234]` or `[label]`, 21 bits.
    Absolute(u32),
    /// `4[%r6]`, `4[*%r6]`, `4[%r6*]`.
    Offset { base: u32, pq: u32, offset: i64 },
    /// `[++%r6]`, `[%r6--]`: as far as the access is wide.
    Step { base: u32, pq: u32, down: bool },
    /// `[%r6 add %r9]`, `[*%r6 sub %r9]`.
    Combined { base: u32, pq: u32, operation: u32, arithmetic: bool, register: u32 },
}

/// Splits at commas; operands hold none.
pub(super) fn split(text: &str) -> Vec<&str> {
    let text = text.trim();
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// Reads one operand.
///
/// # Errors
/// A sentence that says what it should have been.
pub(super) fn parse(text: &str, symbols: &HashMap<String, u32>) -> Result<Operand, String> {
    if let Some(register) = register(text) {
        return Ok(Operand::Register(register));
    }
    if let Some(number) = number(text) {
        return Ok(Operand::Number(number));
    }
    if let Some(address) = symbols.get(text) {
        return Ok(Operand::Number(i64::from(*address)));
    }
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    if let Some([a, operation, b]) = inner.and_then(words) {
        let operands = (register(a), self::operation(operation), register(b));
        if let (Some(a), Some((operation @ 0..=6, _)), Some(b)) = operands {
            return Ok(Operand::Dual { a, operation, b });
        }
    }
    memory(text, symbols).map(Operand::Memory).ok_or_else(|| {
        format!("`{text}` is no register, number, address in brackets or label of this text")
    })
}

/// The words between blanks, if there are as many as wanted.
fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

/// `%r0` to `%r31`, and the names that LLVM and LANai 4 programmers use.
fn register(text: &str) -> Option<u32> {
    let name = text.strip_prefix('%')?;
    let named = match name {
        "pc" => 2,
        "ps" => 3,
        "sp" => 4,
        "fp" => 5,
        "rv" => 8,
        "rr1" => 10,
        "rr2" => 11,
        "rca" => 15,
        "aps" => 28,
        "apc" => 29,
        "imr" => 30,
        "isr" => 31,
        _ => return name.strip_prefix('r')?.parse().ok().filter(|number| *number < 32),
    };
    Some(named)
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -i64::from(value) } else { i64::from(value) })
}

/// An operation's number, and whether it is the arithmetic shift.
fn operation(name: &str) -> Option<(u32, bool)> {
    if name == "sha" {
        return Some((7, true));
    }
    let index = OPERATIONS.iter().position(|known| *known == name)?;
    Some((u32::try_from(index).ok()?, false))
}

fn memory(text: &str, symbols: &HashMap<String, u32>) -> Option<Memory> {
    let (before, inside) = text.strip_suffix(']')?.split_once('[')?;
    if let Some([base, operation, by]) = words(inside) {
        let (base, pq) = starred(base)?;
        let (operation, arithmetic) = self::operation(operation)?;
        let register = register(by).filter(|_| before.is_empty())?;
        return Some(Memory::Combined { base, pq, operation, arithmetic, register });
    }
    if before.is_empty() {
        if let Some(address) = number(inside) {
            return absolute(u32::try_from(address).ok()?);
        }
        if let Some(address) = symbols.get(inside) {
            return absolute(*address);
        }
        if let Some(offset) = registers::by_name(inside) {
            return absolute(registers::BASE + offset);
        }
        for (sign, down) in [("++", false), ("--", true)] {
            if let Some(base) = inside.strip_prefix(sign) {
                return Some(Memory::Step { base: register(base)?, pq: 3, down });
            }
            if let Some(base) = inside.strip_suffix(sign) {
                return Some(Memory::Step { base: register(base)?, pq: 1, down });
            }
        }
    }
    let offset = if before.is_empty() { 0 } else { number(before)? };
    let (base, pq) = starred(inside)?;
    // As compilers write it: no offset is the mode without one.
    Some(Memory::Offset { base, pq: if (pq, offset) == (2, 0) { 0 } else { pq }, offset })
}

/// Where `address` is to be reached: in 21 bits, or 16 with their sign, from r0.
fn absolute(address: u32) -> Option<Memory> {
    if address < 1 << 21 {
        return Some(Memory::Absolute(address));
    }
    let offset = i64::from(address.cast_signed());
    i16::try_from(offset).is_ok().then_some(Memory::Offset { base: 0, pq: 2, offset })
}

/// `%r6`, `*%r6` (the base moves before the access) or `%r6*` (after it).
fn starred(text: &str) -> Option<(u32, u32)> {
    if let Some(base) = text.strip_prefix('*') {
        Some((register(base)?, 3))
    } else if let Some(base) = text.strip_suffix('*') {
        Some((register(base)?, 1))
    } else {
        Some((register(text)?, 2))
    }
}
