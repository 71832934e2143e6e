//! Words as assembly text.
//!
//! For v11 the text is what LLVM's disassembler prints, and `<unknown>` for the words it refuses: also those that the
//! processor executes because the bits that LLVM insists on are irrelevant. (LLVM crashes on a memory access at a shifted
//! register with an unknown shift; here that is `<unknown>` too.) For the LANai 4 there is no such authority. Its text is the
//! same where the instruction is, with registers named as its programmers knew them, and four forms of its own:
//!
//! ```text
//! punt                                to the other context
//! bt.r %pc, 0x1c                      relative to the pc, which is the branch's address + 4
//! beq  (%r6 add %r7)                  to two registers combined
//! sub  %r0, (%r1 add %r14), %r14      r14 = r0 - (r1 + r14), the dual form
//! ```

use std::fmt::{self, Write as _};

use super::Isa;
use super::decode::{
    PC, PUNT, bit, branch_condition, branch_offset, field, is_register_branch, rd,
    register_condition, rs1, rs2, signed, special,
};

/// The operations by number; 7 is the shift or, with a register, whatever `JJJJJ` says.
pub(crate) const OPERATIONS: [&str; 8] = ["add", "addc", "sub", "subb", "and", "or", "xor", "sh"];

/// The conditions by their number `DDDI`.
pub(crate) const CONDITIONS: [&str; 16] = [
    "t", "f", "ugt", "ule", "ult", "uge", "ne", "eq", "vc", "vs", "pl", "mi", "ge", "lt", "gt",
    "le",
];

/// `word` as assembly text, mnemonic and operands separated by a tab; `<unknown>` if there is none.
#[must_use]
pub fn disassemble(word: u32, isa: Isa) -> String {
    text(word, isa).unwrap_or_else(|| "<unknown>".into())
}

fn text(word: u32, isa: Isa) -> Option<String> {
    match word >> 28 {
        0..=6 => Some(immediate(word, isa)),
        7 => Some(shift(word, isa)),
        0b1000 | 0b1001 => memory(word, isa),
        0b1010 | 0b1011 => memory_register(word, isa),
        0b1100 => register(word, isa),
        0b1101 if isa == Isa::V11 => count(word, isa),
        0b1101 => dual(word, isa),
        0b1110 => branch(word, isa),
        _ => special_memory(word, isa),
    }
}

/// A register as each set's programmers write it.
struct Name(u8, Isa);

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.0, self.1) {
            (2, _) => "pc",
            (4, _) => "sp",
            (5, _) => "fp",
            (8, Isa::V11) => "rv",
            (10, Isa::V11) => "rr1",
            (11, Isa::V11) => "rr2",
            (15, Isa::V11) => "rca",
            (3, Isa::Lanai4) => "ps",
            (28, Isa::Lanai4) => "aps",
            (29, Isa::Lanai4) => "apc",
            (30, Isa::Lanai4) => "imr",
            (31, Isa::Lanai4) => "isr",
            (number, _) => return write!(formatter, "%r{number}"),
        };
        write!(formatter, "%{name}")
    }
}

/// A constant in hexadecimal, its sign in front.
struct Hex(i32);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(formatter, "{sign}{:#x}", self.0.unsigned_abs())
    }
}

fn operation(number: u8) -> &'static str {
    OPERATIONS[usize::from(number & 7)]
}

fn condition(number: u8) -> &'static str {
    CONDITIONS[usize::from(number & 15)]
}

fn flags(word: u32) -> &'static str {
    if bit(word, 17) { ".f" } else { "" }
}

fn immediate(word: u32, isa: Isa) -> String {
    match word {
        1 => return "nop".into(),
        2..=6 if isa == Isa::V11 => return format!("log_{}", word - 2),
        _ => {}
    }
    let (name, from, to) = (operation(field(word, 28, 3)), rs1(word), Name(rd(word), isa));
    let constant = match (name, bit(word, 16)) {
        ("and", false) => 0xffff_0000 | word & 0xffff,
        ("and", true) => word << 16 | 0xffff,
        (_, false) => word & 0xffff,
        (_, true) => word << 16,
    };
    // A constant alone: added to r0, or masking the ones of r1.
    if matches!((name, from), ("add", 0) | ("and", 1)) && !bit(word, 17) {
        return format!("mov\t{constant:#x}, {to}");
    }
    format!("{name}{}\t{}, {constant:#x}, {to}", flags(word), Name(from, isa))
}

fn shift(word: u32, isa: Isa) -> String {
    let kind = if bit(word, 16) { "sha" } else { "sh" };
    let amount = Hex(signed(word, 16).into());
    format!("{kind}{}\t{}, {amount}, {}", flags(word), Name(rs1(word), isa), Name(rd(word), isa))
}

fn register(word: u32, isa: Isa) -> Option<String> {
    let (a, b, to) = (Name(rs1(word), isa), Name(rs2(word), isa), Name(rd(word), isa));
    let when = condition(register_condition(word));
    let suffix = if when == "t" { String::new() } else { format!(".{when}") };
    let set = flags(word);
    let name = match (field(word, 8, 3), special(word)) {
        (7, 0) if set.is_empty() && isa == Isa::V11 => {
            return Some(format!("sel.{when} {a}, {b}, {to}"));
        }
        (7, 0b10000) => "sh",
        (7, 0b11000) => "sha",
        (5, 0) if rd(word) == PC && set.is_empty() => {
            return Some(jump(when, rs1(word), rs2(word), isa));
        }
        (number @ 0..=6, 0) => operation(number),
        _ => return None,
    };
    if name == "add" && rs2(word) == 0 && set.is_empty() && when == "t" {
        return Some(format!("mov\t{a}, {to}"));
    }
    Some(format!("{name}{set}{suffix}\t{a}, {b}, {to}"))
}

/// `or` into the pc, which LLVM prints as a branch (and two registers, wrongly, as their sum).
fn jump(when: &str, a: u8, b: u8, isa: Isa) -> String {
    match (a, b) {
        (0, _) if when == "t" => format!("bt\t{}", Name(b, isa)),
        (_, 0) => format!("b{when}\t{}", Name(a, isa)),
        _ => format!("b{when}\t{} add {}", Name(a, isa), Name(b, isa)),
    }
}

/// Load or store text around the address.
fn access(name: &str, store: bool, word: u32, isa: Isa, address: &str) -> String {
    let data = Name(rd(word), isa);
    if store { format!("{name}\t{data}, {address}") } else { format!("{name}\t{address}, {data}") }
}

/// The address of the constant forms: `4[%r6]`, `[*%r6]`, `[%r6++]`.
fn offset_address(base: u8, pq: u8, offset: i16, step: u16, isa: Isa) -> String {
    let base = Name(base, isa);
    let sign = if offset < 0 { "--" } else { "++" };
    match (pq, offset.unsigned_abs() == step) {
        (0, _) => format!("0[{base}]"),
        (1, true) => format!("[{base}{sign}]"),
        (1, false) => format!("{offset}[{base}*]"),
        (2, _) => format!("{offset}[{base}]"),
        (_, true) => format!("[{sign}{base}]"),
        (_, false) => format!("{offset}[*{base}]"),
    }
}

fn memory(word: u32, isa: Isa) -> Option<String> {
    let store = bit(word, 28);
    if isa == Isa::Lanai4 && rd(word) == PC && !store {
        return None;
    }
    if word == 0x8116_fffc {
        return Some("ld\t-4[%fp], %pc ! return".into());
    }
    let address = offset_address(rs1(word), field(word, 16, 2), signed(word, 16), 4, isa);
    Some(access(if store { "st" } else { "ld" }, store, word, isa, &address))
}

fn memory_register(word: u32, isa: Isa) -> Option<String> {
    let store = bit(word, 28);
    let name = match (store, field(word, 0, 3)) {
        (false, 0b000) => "ld.h",
        (false, 0b001) => "uld.h",
        (false, 0b010) => "ld",
        (false, 0b011) => "uld",
        (false, 0b100) => "ld.b",
        (false, 0b101) => "uld.b",
        (true, 0b000) => "st.h",
        (true, 0b010) => "st",
        (true, 0b100) => "st.b",
        _ => return None,
    };
    if isa == Isa::Lanai4 && rd(word) == PC && !store {
        return None;
    }
    let combine = match (field(word, 8, 3), special(word)) {
        (7, 0 | 0b10000) => "sh",
        (7, 0b01000 | 0b11000) => "sha",
        (7, _) => return None,
        (number, _) => operation(number),
    };
    let (pq, mut by) = (field(word, 16, 2), rs2(word));
    let (before, after) = match pq {
        1 => ("", "*"),
        3 => ("*", ""),
        _ => ("", ""),
    };
    if pq == 0 {
        by = 0;
    }
    let mut address = String::new();
    let _ =
        write!(address, "[{before}{}{after} {combine} {}]", Name(rs1(word), isa), Name(by, isa));
    Some(access(name, store, word, isa, &address))
}

fn count(word: u32, isa: Isa) -> Option<String> {
    // LLVM wants everything between the operands and the operation to be zero.
    if word & 0x0003_fff8 != 0 {
        return None;
    }
    let name = match field(word, 0, 3) {
        1 => "popc",
        2 => "leadz",
        3 => "trailz",
        _ => return None,
    };
    Some(format!("{name}\t{}, {}", Name(rs1(word), isa), Name(rd(word), isa)))
}

fn dual(word: u32, isa: Isa) -> Option<String> {
    let (outer, inner) = (field(word, 8, 3), field(word, 0, 3));
    if outer == 7 || inner == 7 {
        return None;
    }
    Some(format!(
        "{}{}\t{}, ({} {} {}), {}",
        operation(outer),
        flags(word),
        Name(rs1(word), isa),
        Name(rs2(word), isa),
        operation(inner),
        Name(special(word), isa),
        Name(rd(word), isa)
    ))
}

fn branch(word: u32, isa: Isa) -> Option<String> {
    let when = condition(branch_condition(word));
    if !bit(word, 1) {
        return Some(format!("b{when}\t{:#x}", word & 0x01ff_fffc));
    }
    if isa == Isa::Lanai4 {
        return Some(format!("b{when}.r\t%pc, {}", Hex(branch_offset(word))));
    }
    if bit(word, 24) {
        // LLVM knows the relative branch from register 0 only.
        (word & 0x00ff_0000 == 0).then(|| format!("b{when}.r\t{:#x}", word & 0xfffc))
    } else {
        (word & 0x0083_fffc == 0).then(|| format!("s{when}\t{}", Name(rs1(word), isa)))
    }
}

fn special_memory(word: u32, isa: Isa) -> Option<String> {
    if word == PUNT && isa == Isa::Lanai4 {
        return Some("punt".into());
    }
    if is_register_branch(word) && isa == Isa::Lanai4 {
        let (when, op) = (condition(branch_condition(word)), operation(field(word, 8, 3)));
        let (a, b) = (Name(rs1(word), isa), Name(special(word), isa));
        return Some(format!("b{when}\t({a} {op} {b})"));
    }
    let constant = u32::from(rs1(word)) << 16 | word & 0xffff;
    let (name, store, step) = match (field(word, 15, 3), field(word, 12, 3)) {
        (0b000 | 0b001, _) => ("ld", false, 0),
        (0b010 | 0b011, _) => ("st", true, 0),
        (0b100 | 0b101, _) => ("mov", false, 0),
        (0b110, 0b000) => ("ld.h", false, 2),
        (0b110, 0b001) => ("uld.h", false, 2),
        (0b110, 0b010) => ("st.h", true, 2),
        (0b110, 0b100) => ("ld.b", false, 1),
        (0b110, 0b101) => ("uld.b", false, 1),
        (0b110, 0b110) => ("st.b", true, 1),
        _ => return None,
    };
    if isa == Isa::Lanai4 && rd(word) == PC && name.contains("ld") {
        return None;
    }
    let address = match (name, step) {
        ("mov", _) => format!("{constant:#x}"),
        (_, 0) => format!("[{constant:#x}]"),
        _ => offset_address(rs1(word), field(word, 10, 2), signed(word, 10), step, isa),
    };
    Some(access(name, store, word, isa, &address))
}
