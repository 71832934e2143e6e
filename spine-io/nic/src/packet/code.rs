//! Codes of the classic BPF instructions that filters of ours are made of (linux/filter.h), by what they do.
//!
//! Offsets count from the packet's start; a load beyond its end refuses the packet.

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_LD, BPF_LDX,
    BPF_MSH, BPF_RET, BPF_W,
};

const fn code(parts: u32) -> u16 {
    assert!(parts <= 0xff, "all codes are short");
    let [low, high, ..] = parts.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Loads four bytes.
pub const LOAD_4: u16 = code(BPF_LD | BPF_W | BPF_ABS);
/// Loads two bytes.
pub const LOAD_2: u16 = code(BPF_LD | BPF_H | BPF_ABS);
/// Loads a byte.
pub const LOAD_1: u16 = code(BPF_LD | BPF_B | BPF_ABS);
/// Loads two bytes, counted from the index on.
pub const LOAD_2_INDEXED: u16 = code(BPF_LD | BPF_H | BPF_IND);
/// Puts the length of the IPv4 header that starts there into the index.
pub const INDEX_IP_HEADER_LENGTH: u16 = code(BPF_LDX | BPF_B | BPF_MSH);
/// Jumps if what was loaded equals the operand.
pub const JUMP_EQUAL: u16 = code(BPF_JMP | BPF_JEQ);
/// Jumps if it is greater.
pub const JUMP_GREATER: u16 = code(BPF_JMP | BPF_JGT);
/// Jumps if it is not less.
pub const JUMP_AT_LEAST: u16 = code(BPF_JMP | BPF_JGE);
/// Jumps if it has a bit of the operand's.
pub const JUMP_SET: u16 = code(BPF_JMP | BPF_JSET);
/// Ends: takes so many bytes of the packet.
pub const RETURN: u16 = code(BPF_RET);
