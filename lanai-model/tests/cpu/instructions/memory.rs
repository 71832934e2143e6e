//! Loads, stores, and constants and addresses longer than an immediate.

use lanai_model::cpu::Isa;

use super::{DATA, case};

#[test]
fn words_in_memory_in_all_modes() {
    let at = |address| vec![(6, address)];
    for (code, base_before, value, base_after) in [
        ("ld [%r6], %r7", DATA, 0x8091_a2b3, DATA),
        ("ld 4[%r6], %r7", DATA, 0xc4d5_e6f7, DATA),
        ("ld -4[%r6], %r7", DATA + 4, 0x8091_a2b3, DATA + 4),
        ("ld [%r6++], %r7", DATA, 0x8091_a2b3, DATA + 4),
        ("ld [--%r6], %r7", DATA + 8, 0xc4d5_e6f7, DATA + 4),
        ("ld 8[%r6*], %r7", DATA, 0x8091_a2b3, DATA + 8),
        ("ld -4[*%r6], %r7", DATA + 8, 0xc4d5_e6f7, DATA + 4),
        ("ld 2[%r6], %r7", DATA, 0x8091_a2b3, DATA),
        ("ld [%r6 add %r9], %r7", DATA - 4, 0xc4d5_e6f7, DATA - 4),
        ("ld [*%r6 sub %r10], %r7", DATA + 12, 0xc4d5_e6f7, DATA + 4),
        ("ld [%r6* add %r9], %r7", DATA, 0x8091_a2b3, DATA + 8),
        ("ld [%r6 or %r11], %r7", DATA, 0xc4d5_e6f7, DATA),
        ("ld [%r6 and %r12], %r7", DATA + 7, 0xc4d5_e6f7, DATA + 7),
        ("ld [%r6 xor %r11], %r7", DATA + 4, 0x8091_a2b3, DATA + 4),
        ("ld [%r6 sh %r13], %r7", DATA / 2, 0x8091_a2b3, DATA / 2),
        ("ld [%r6 sha %r14], %r7", DATA * 4, 0x8091_a2b3, DATA * 4),
        ("ld [0x2004], %r7", 0, 0xc4d5_e6f7, 0),
    ] {
        for (isa, code, cycles) in
            [(Isa::V11, code.to_owned(), 1), (Isa::Lanai4, format!("{code}\nnop"), 2)]
        {
            let mut registers = at(base_before);
            registers.extend([
                (9, 8),
                (10, 8),
                (11, 4),
                (12, !3),
                (13, 1),
                (14, 0u32.wrapping_sub(2)),
            ]);
            case("load", code.leak())
                .on(isa)
                .with(&registers)
                .gives(&[(7, value), (6, base_after)])
                .cycles(cycles)
                .check();
        }
    }
    for (code, base, address) in [
        ("st %r7, [%r6]", DATA, DATA),
        ("st %r7, 8[%r6]", DATA, DATA + 8),
        ("st %r7, [%r6++]", DATA, DATA),
        ("st %r7, [--%r6]", DATA + 4, DATA),
        ("st %r7, [%r6 add %r9]", DATA, DATA + 8),
        ("st %r7, [*%r6 sub %r9]", DATA + 8, DATA),
        ("st %r7, [%r6 sh %r13]", DATA / 2, DATA),
        ("st %r7, [0x2008]", 0, DATA + 8),
        ("st %r7, 3[%r6]", DATA, DATA),
    ] {
        case(code, code)
            .with(&[(6, base), (7, 0x0102_0304), (9, 8), (13, 1)])
            .memory(&[(address, 0x0102_0304)])
            .check_on_both();
    }
    case("a base that is stored moves after", "st %r6, [%r6++]")
        .with(&[(6, DATA)])
        .gives(&[(6, DATA + 4)])
        .memory(&[(DATA, DATA)])
        .check_on_both();
    case("a base that is loaded gets the loaded value", "ld [%r6++], %r6\nnop")
        .with(&[(6, DATA)])
        .gives(&[(6, 0x8091_a2b3)])
        .cycles(2)
        .check_on_both();
}

#[test]
fn parts_of_words_in_memory() {
    for (code, value, base_after) in [
        ("ld.b 1[%r6], %r7", 0xffff_ff91, DATA),
        ("uld.b 1[%r6], %r7", 0x91, DATA),
        ("ld.h 2[%r6], %r7", 0xffff_a2b3, DATA),
        ("uld.h 2[%r6], %r7", 0xa2b3, DATA),
        ("uld.h 3[%r6], %r7", 0xa2b3, DATA),
        ("ld.b [%r6++], %r7", 0xffff_ff80, DATA + 1),
        ("uld.h [%r6++], %r7", 0x8091, DATA + 2),
        ("uld.b [++%r6], %r7", 0x91, DATA + 1),
        ("uld.b 8[%r6*], %r7", 0x80, DATA + 8),
        ("ld.h [%r6 add %r9], %r7", 0xffff_a2b3, DATA),
        ("uld.b [%r6 add %r9], %r7", 0xa2, DATA),
        ("uld.h [*%r6 add %r9], %r7", 0xa2b3, DATA + 2),
        ("uld.b [%r6* add %r9], %r7", 0x80, DATA + 2),
    ] {
        case(code, code).with(&[(6, DATA), (9, 2)]).gives(&[(7, value), (6, base_after)]).check();
        case(code, format!("{code}\nnop").leak())
            .on(Isa::Lanai4)
            .with(&[(6, DATA), (9, 2)])
            .gives(&[(7, value), (6, base_after)])
            .cycles(2)
            .check();
    }
    for (code, word) in [
        ("st.b %r7, 1[%r6]", 0x8004_a2b3),
        ("st.h %r7, 2[%r6]", 0x8091_0304),
        ("st.h %r7, [%r6 add %r9]", 0x8091_0304),
        ("st.b %r7, [%r6 add %r9]", 0x8091_04b3),
        ("st.b %r7, [%r6++]", 0x0491_a2b3),
    ] {
        case(code, code)
            .with(&[(6, DATA), (7, 0x0102_0304), (9, 2)])
            .memory(&[(DATA, word)])
            .check_on_both();
    }
}

#[test]
fn long_constants_and_addresses() {
    case("SLI", "mov 0x1f8765, %r7").gives(&[(7, 0x1f_8765)]).check_on_both();
    case(
        "SLI may be used at once",
        "mov 0x1f8765, %r7
add %r7, 0x0, %r8",
    )
    .gives(&[(8, 0x1f_8765)])
    .cycles(2)
    .check_on_both();
    case(
        "SLI into the pc",
        "mov 0x100000, %pc
add %r9, 0x1, %r9",
    )
    .gives(&[(2, 0x10_0000), (9, 1)])
    .cycles(2)
    .check_on_both();
    case(
        "SLI into the ISR clears",
        ".word 0xff820010
nop",
    )
    .on(Isa::Lanai4)
    .with(&[(31, 0x18)])
    .gives(&[(31, 0x08)])
    .cycles(2)
    .check();
    case("SLS low bits", "ld [0x2007], %r7").gives(&[(7, 0xc4d5_e6f7)]).check();
}
