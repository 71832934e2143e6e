//! What the model does rather than how much: each rule with how it is known.
//!
//! The order is that of a programmer's manual: processor, registers, engines, link, the host's view.

use super::{Constant, Mark};

/// The rules, as entries of the list of constants.
pub(super) fn behaviour() -> impl Iterator<Item = Constant> {
    let rules = [PROCESSOR, REGISTERS, ENGINES, LINK, HOST].into_iter().flatten();
    rules.map(|&(name, value, mark, source)| Constant {
        name,
        value: value.to_owned(),
        mark,
        source,
    })
}

type Rule = (&'static str, &'static str, Mark, &'static str);

const PROCESSOR: &[Rule] = &[
    (
        "load slot, lanai4",
        "the next instruction reads the old value",
        Mark::Src,
        "Myricom's compiler; firmware of the time hangs without it",
    ),
    (
        "result in a load's slot",
        "the slot's own result stays if it is for the same register",
        Mark::Der,
        "the later one in program order",
    ),
    ("pc as an operand", "lanai4: address + 4; v11: address", Mark::Src, "the calls of both sets"),
    (
        "pc in a delay slot",
        "the slot's own address, as anywhere",
        Mark::Der,
        "unknown; the pipeline may show the branch's target",
    ),
    (
        "RRR",
        "rd = rs1 op2 (rs2 op1 rs3), flags of op2",
        Mark::Src,
        "a binary of the time; the flags are derived, and operation 7 is no instruction here",
    ),
    (
        "relative branch, lanai4",
        "25 bits from the branch's address + 4",
        Mark::Src,
        "Myricom's binutils for the form; its start of the user context for the + 4",
    ),
    (
        "register branch (SBR), lanai4",
        "to rs1 op rs3",
        Mark::Src,
        "Myricom's binutils for the form; derived: bit 1 changes nothing, with bit 2 it is no instruction",
    ),
    (
        "lanai4",
        "the dual form of 4.0 and the sub-word accesses of 4.1 together",
        Mark::Der,
        "so that firmware of either runs",
    ),
    ("shift by more than 31", "all bits are shifted out", Mark::Der, "undefined in the formats"),
    ("shift by 0, C", "cleared", Mark::Der, "no bit is lost"),
    (
        "punt",
        "switches at once, without a slot; resumed at the next instruction",
        Mark::Der,
        "one form of it is known; firmware of the time sets APC 4 early, on a no-operation",
    ),
    (
        "interrupt",
        "user context, ISR & IMR not 0; before an instruction, never in a delay slot",
        Mark::Src,
        "the condition; DER the moment, since one pc is all that is saved",
    ),
    (
        "a load whose slot is interrupted",
        "lands after the slot, when the user context goes on",
        Mark::Der,
        "functions end with such a slot, and the chip saves its pipeline",
    ),
    ("IPF0 to DPF1", "keep what is written", Mark::Der, "state of a pipeline that is not modelled"),
    (
        "a word that is no instruction",
        "the processor stops there until reset",
        Mark::Der,
        "so that it is noticed; unknown what the chip does",
    ),
];

const REGISTERS: &[Rule] = &[
    (
        "register offsets, ISR bits",
        "LANai 4",
        Mark::Src,
        "Cplant lanai4_def.h; resolved against a binary of the time",
    ),
    (
        "ISR visibility",
        "one instruction after a register write",
        Mark::Src,
        "firmware puts one nop there (ISR_BARRIER)",
    ),
    (
        "ISR write",
        "ones clear; the processor sets HOST_SIG, the host LANn_SIG and DBG",
        Mark::Src,
        "as firmware and drivers do; DER for DBG and for other bits that the host writes",
    ),
    (
        "SEND_INT, *_RDY",
        "follow their engine and cannot be cleared",
        Mark::Der,
        "as firmware uses them",
    ),
    (
        "MMIO ISR for the processor",
        "as the host sees it",
        Mark::Der,
        "v11 has no r31; LANai 7 has it in memory",
    ),
    ("WDOG_INT", "never rises", Mark::Der, "unknown"),
    (
        "parts of registers",
        "bytes and halves at their big-endian place",
        Mark::Der,
        "those not written keep what was last written, in the ISR zeros",
    ),
    (
        "RB RH RW SB SH SW ST",
        "one item at any byte of the register",
        Mark::Src,
        "Cplant reads RB as a byte at 0x60 and writes SB as a word; DER for other widths",
    ),
    ("CLOCK (0xfc)", "keeps what is written", Mark::Der, "uncertain: Linux has it at 0x108"),
    (
        "registers that the LANai 4 has not",
        "keep what is written",
        Mark::Der,
        "nothing faults: firmware for later chips writes some",
    ),
    ("outside SRAM and registers", "reads 0, writes ignored, counted", Mark::Der, "unknown"),
    (
        "state after reset",
        "DMA_INT, SEND_INT and SEND_RDY set, RTC 0, IT all ones, EIMR 0",
        Mark::Der,
        "engines are idle",
    ),
    ("registers in reset", "work, and so do the engines", Mark::Der, "unknown"),
    ("TIME_INT", "when IT goes from 0 to all ones", Mark::Src, "firmware counts wraps, 35 minutes"),
];

const ENGINES: &[Rule] = &[
    (
        "EAR, LAR in flight",
        "count along; what is written is for the next transfer",
        Mark::Der,
        "no firmware writes them then",
    ),
    ("DMA_CTR in flight", "starts anew; the rest is lost", Mark::Der, "no firmware writes it then"),
    (
        "CKS",
        "16-bit one's complement sum, folded",
        Mark::Der,
        "unconfirmed: the chip's algorithm could not be read",
    ),
    ("DMA_STS, HW_DBUG, VERSION, WRITE_ENABLE", "no effect", Mark::Der, "burst modes and others"),
    (
        "BUFF_INT",
        "when the word at RML is written; with RECV_INT if the packet ends in it",
        Mark::Src,
        "firmware takes it as a packet too long; DER for the packet that just fits",
    ),
    (
        "TAIL_INT",
        "a polled read took the end of a packet; until the next one or RML",
        Mark::Src,
        "Cplant looks after RB; DER when it falls",
    ),
    ("SA", "used by one send, then zero", Mark::Der, "firmware of 1996 sets it only when not zero"),
    ("ST", "ends the packet, sends no byte of its own", Mark::Der, "unknown"),
    (
        "SRAM priority",
        "host DMA, receive, send, processor",
        Mark::Rec,
        "not found again; used with arbitration only",
    ),
];

const LINK: &[Rule] = &[
    ("CRC-8", "x^8 + x^2 + x + 1, start 0", Mark::Rec, "Myrinet's link standard, not found again"),
    ("tail byte without CRC_ENABLE", "zero", Mark::Der, "unknown"),
    (
        "route byte",
        "0x80 + six bits of signed port difference",
        Mark::Rec,
        "0x80 returns a packet [SRC]; the rest recalled",
    ),
    (
        "TIMEOUT",
        "0: 1/16 s, 1: 1/4 s, 2: 1 s, 3: 4 s",
        Mark::Src,
        "Cplant's comments; 2 is derived",
    ),
    (
        "NRES_ENABLE",
        "the time-out ends the send and raises NRES_INT; without it, never",
        Mark::Der,
        "only the name is known",
    ),
];

const HOST: &[Rule] = &[
    (
        "memory map, 1 MB",
        "EEPROM 0x80000, registers 0xC0000, control 0xE0000, SRAM 0x100000",
        Mark::Src,
        "MyrinetPCI.h; DER for smaller boards but for SRAM at 0",
    ),
    ("byte order over PCI", "each byte keeps its place", Mark::Der, "what drivers' ntohl implies"),
    ("control register as read", "which of each pair holds", Mark::Der, "unknown"),
    ("a one in both bits of a pair", "the second: reset on, disable", Mark::Der, "unknown"),
    ("SAN link after reset", "up at once", Mark::Der, "firmware waits more than 10 ms anyway"),
];
