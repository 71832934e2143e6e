//! A small assembler, for the routines that the model supplies and for tests.
//!
//! It reads the text that [`crate::cpu::disassemble`] prints, plus labels (`name:`) as operands and, in brackets, as addresses;
//! the special registers by name in brackets (`st %r4, [DMA_CTR]`); `.word`; and comments (from `!` to the end of the line).
//! Nothing else: no sections, no expressions, no macros. Why there is one:
//! what a compiler's library holds for other processors (multiply, divide) nobody supplies for this one, and whoever runs
//! the model has no compiler for it.

use std::collections::HashMap;

use thiserror::Error;

use super::operand::{Memory, Operand, parse, split};
use crate::cpu::{CONDITIONS, OPERATIONS, PUNT};

/// A line that is not assembly text as this assembler knows it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the assembly text: {message}")]
pub struct AssembleError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Words and where the names in them are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    /// From the base address on.
    pub words: Vec<u32>,
    /// Labels and their addresses.
    pub symbols: HashMap<String, u32>,
}

/// Assembles `text` to run at `base`.
///
/// # Errors
/// The first line that is not understood, with what was expected.
pub fn assemble(text: &str, base: u32) -> Result<Assembly, AssembleError> {
    let lines: Vec<(usize, Line<'_>)> =
        text.lines().enumerate().map(|(index, text)| (index + 1, Line::split(text))).collect();
    let mut symbols = HashMap::new();
    let mut address = base;
    for (number, line) in &lines {
        if let Some(label) = line.label
            && symbols.insert(label.to_owned(), address).is_some()
        {
            let message = format!("the label {label} is there twice");
            return Err(AssembleError { line: *number, message });
        }
        address = address.wrapping_add(if line.instruction.is_empty() { 0 } else { 4 });
    }
    let mut words = Vec::new();
    for (number, line) in &lines {
        if !line.instruction.is_empty() {
            let word = instruction(line.instruction, &symbols)
                .map_err(|message| AssembleError { line: *number, message })?;
            words.push(word);
        }
    }
    Ok(Assembly { words, symbols })
}

struct Line<'a> {
    label: Option<&'a str>,
    instruction: &'a str,
}

impl<'a> Line<'a> {
    fn split(text: &'a str) -> Self {
        let text = text.split('!').next().unwrap_or("");
        match text.split_once(':') {
            Some((label, rest)) => Line { label: Some(label.trim()), instruction: rest.trim() },
            None => Line { label: None, instruction: text.trim() },
        }
    }
}

/// A mnemonic with its suffixes: `.f`, a condition, a width.
struct Mnemonic<'a> {
    name: &'a str,
    flags: bool,
    condition: u32,
    suffix: &'a str,
}

impl<'a> Mnemonic<'a> {
    fn split(text: &'a str) -> Self {
        let mut parts = text.split('.');
        let mut mnemonic =
            Mnemonic { name: parts.next().unwrap_or(""), flags: false, condition: 0, suffix: "" };
        for part in parts {
            match (part, position(&CONDITIONS, part)) {
                // The first `.f` sets flags; the condition of that name is never true.
                ("f", _) if !mnemonic.flags => mnemonic.flags = true,
                (_, Some(condition)) => mnemonic.condition = condition,
                (suffix, None) => mnemonic.suffix = suffix,
            }
        }
        mnemonic
    }
}

fn position(names: &[&str], name: &str) -> Option<u32> {
    names.iter().position(|known| *known == name).and_then(|index| u32::try_from(index).ok())
}

type Symbols = HashMap<String, u32>;

fn instruction(text: &str, symbols: &Symbols) -> Result<u32, String> {
    let (mnemonic, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let operands = split(rest)
        .into_iter()
        .map(|operand| parse(operand, symbols))
        .collect::<Result<Vec<_>, _>>()?;
    let parts = Mnemonic::split(mnemonic);
    encode(mnemonic, &parts, &operands).ok_or_else(|| {
        format!("`{text}` is not an instruction with operands of its kinds and sizes")
    })
}

fn encode(whole: &str, parts: &Mnemonic<'_>, operands: &[Operand]) -> Option<u32> {
    use Operand::{Memory as Address, Number, Register};
    match (parts.name, operands) {
        ("nop", []) => Some(1),
        ("punt", []) => Some(PUNT),
        ("", [Number(word)]) if parts.suffix == "word" => u32::try_from(*word).ok(),
        ("mov", [Number(value), Register(rd)]) => constant(*value, *rd),
        ("mov", [Register(from), Register(rd)]) => Some(register_form(0, *rd, *from, 0)),
        ("sel", [Register(a), Register(b), Register(rd)]) => {
            // `sel.f` is a condition: a selection sets no flags.
            let condition = if parts.flags { 1 } else { parts.condition };
            Some(register_form(7, *rd, *a, *b) | register_condition(condition))
        }
        ("ld" | "uld", [Address(address), Register(rd)]) => access(parts, false, *rd, *address),
        ("st", [Register(rd), Address(address)]) => access(parts, true, *rd, *address),
        ("popc" | "leadz" | "trailz", [Register(from), Register(rd)]) => {
            let operation = position(&["", "popc", "leadz", "trailz"], parts.name)?;
            Some(0xd << 28 | rd << 23 | from << 18 | operation)
        }
        (name, [Register(2), Number(offset)]) if name.starts_with('b') && parts.suffix == "r" => {
            relative_branch(&name[1..], *offset)
        }
        (name, [to]) if name.starts_with('b') => branch(&name[1..], parts, *to),
        (_, [Register(rd)]) => {
            let condition = position(&CONDITIONS, whole.strip_prefix('s')?)?;
            Some(0xe << 28 | branch_condition(condition) | rd << 18 | 0b10)
        }
        (name, [Register(a), b, Register(rd)]) => arithmetic(name, parts, *a, *b, *rd),
        _ => None,
    }
}

fn register_form(operation: u32, rd: u32, a: u32, b: u32) -> u32 {
    0xc << 28 | rd << 23 | a << 18 | b << 11 | operation << 8
}

fn register_condition(condition: u32) -> u32 {
    (condition & 1) << 16 | condition >> 1
}

fn branch_condition(condition: u32) -> u32 {
    condition >> 1 << 25 | condition & 1
}

/// The shortest form that holds the constant: a half word, or 21 bits.
fn constant(value: i64, rd: u32) -> Option<u32> {
    let value =
        u32::try_from(value).or_else(|_| i32::try_from(value).map(i32::cast_unsigned)).ok()?;
    let (high, low) = (value >> 16, value & 0xffff);
    let ones = 4 << 28 | 1 << 18;
    Some(match (high, low) {
        (0, _) => rd << 23 | low,
        (_, 0) => rd << 23 | 1 << 16 | high,
        (0xffff, _) => ones | rd << 23 | low,
        (_, 0xffff) => ones | rd << 23 | 1 << 16 | high,
        (0..=31, _) => 0xf << 28 | rd << 23 | high << 18 | 0b10 << 16 | low,
        _ => return None,
    })
}

fn arithmetic(name: &str, parts: &Mnemonic<'_>, a: u32, b: Operand, rd: u32) -> Option<u32> {
    let flags = u32::from(parts.flags) << 17;
    let arithmetic_shift = name == "sha";
    let operation = if arithmetic_shift { 7 } else { position(&OPERATIONS, name)? };
    match b {
        Operand::Register(b) => {
            let special = match (operation, arithmetic_shift) {
                (7, false) => 0b10000 << 3,
                (7, true) => 0b11000 << 3,
                _ => 0,
            };
            let condition = register_condition(parts.condition);
            Some(register_form(operation, rd, a, b) | special | flags | condition)
        }
        Operand::Number(value) => {
            let (high, constant) = match operation {
                7 => (arithmetic_shift, i16::try_from(value).ok()?.cast_unsigned().into()),
                _ => half(operation == 4, value)?,
            };
            let fields = rd << 23 | a << 18 | flags | u32::from(high) << 16 | constant;
            Some(operation << 28 | fields)
        }
        Operand::Dual { a: first, operation: inner, b: second } if operation < 7 => {
            let fields = rd << 23 | a << 18 | flags | first << 11 | operation << 8;
            Some(0xd << 28 | fields | second << 3 | inner)
        }
        _ => None,
    }
}

/// Whether a constant is the high half, and its 16 bits; the other half is ones for `and`, else zeros.
fn half(and: bool, value: i64) -> Option<(bool, u32)> {
    let value =
        u32::try_from(value).or_else(|_| i32::try_from(value).map(i32::cast_unsigned)).ok()?;
    let fill = if and { 0xffff } else { 0 };
    let (high, low) = (value >> 16, value & 0xffff);
    if high == fill {
        Some((false, low))
    } else if low == fill {
        Some((true, high))
    } else {
        None
    }
}

fn branch(condition: &str, parts: &Mnemonic<'_>, to: Operand) -> Option<u32> {
    let condition = position(&CONDITIONS, condition)?;
    match (to, parts.suffix) {
        (Operand::Number(target), "") => {
            let target = u32::try_from(target).ok().filter(|target| target & !0x01ff_fffc == 0)?;
            Some(0xe << 28 | branch_condition(condition) | target)
        }
        (Operand::Number(offset), "r") => {
            let offset = u32::from(u16::try_from(offset).ok().filter(|offset| offset % 4 == 0)?);
            Some(0xe << 28 | branch_condition(condition) | 1 << 24 | offset | 0b10)
        }
        (Operand::Dual { a, operation, b }, "") => {
            let fields = a << 18 | operation << 8 | b << 3;
            Some(0xf003_c000 | branch_condition(condition) | fields)
        }
        // `or` into the pc, with the operands where LLVM has them.
        (Operand::Register(register), "") if condition == 0 => {
            Some(register_form(5, 2, 0, register))
        }
        (Operand::Register(register), "") => {
            Some(register_form(5, 2, register, 0) | register_condition(condition))
        }
        _ => None,
    }
}

/// The LANai 4's branch relative to the pc.
fn relative_branch(condition: &str, offset: i64) -> Option<u32> {
    let condition = position(&CONDITIONS, condition)?;
    let within = (-(1 << 24)..1 << 24).contains(&offset) && offset % 4 == 0;
    let offset = i32::try_from(offset).ok().filter(|_| within)?.cast_unsigned();
    Some(0xe << 28 | branch_condition(condition) | offset & 0x01ff_fffc | 0b10)
}

/// Loads and stores, in the form that the address wants.
fn access(parts: &Mnemonic<'_>, store: bool, rd: u32, address: Memory) -> Option<u32> {
    let zero_extended = u32::from(parts.name == "uld");
    let word = parts.suffix.is_empty();
    let byte = u32::from(parts.suffix == "b");
    let store = u32::from(store);
    match address {
        Memory::Absolute(address) if word && zero_extended == 0 => {
            Some(0xf << 28 | rd << 23 | address >> 16 << 18 | store << 16 | address & 0xffff)
        }
        Memory::Offset { base, pq, offset } if word && zero_extended == 0 => {
            let offset = u32::from(i16::try_from(offset).ok()?.cast_unsigned());
            Some(8 << 28 | store << 28 | rd << 23 | base << 18 | pq << 16 | offset)
        }
        Memory::Offset { base, pq, offset } => {
            let offset =
                i16::try_from(offset).ok().filter(|offset| (-512..512).contains(offset))?;
            let offset = u32::from(offset.cast_unsigned()) & 0x3ff;
            let kind = byte << 14 | store << 13 | zero_extended << 12;
            Some(0xf << 28 | rd << 23 | base << 18 | 0b110 << 15 | kind | pq << 10 | offset)
        }
        // Combined with `step`, an increment is as wide as what is moved.
        Memory::Step { base, pq, down } => {
            let width = if word { 4 } else { 2 - i64::from(byte) };
            let offset = if down { -width } else { width };
            access(parts, store != 0, rd, Memory::Offset { base, pq, offset })
        }
        Memory::Combined { base, pq, operation, arithmetic, register } => {
            let special = match (operation, arithmetic) {
                (7, false) => 0b10000 << 3,
                (7, true) => 0b11000 << 3,
                _ => 0,
            };
            let width = if word { 0b010 } else { byte << 2 };
            let fields = rd << 23 | base << 18 | pq << 16 | register << 11 | operation << 8;
            Some(0xa << 28 | store << 28 | fields | special | width | zero_extended)
        }
        Memory::Absolute(_) => None,
    }
}
