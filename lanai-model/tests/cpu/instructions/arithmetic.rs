//! Arithmetic, logic, shifts and conditions: results, flags and cycles.

use lanai_model::cpu::{Cpu, FlatMemory, Isa};
use lanai_model::object::assemble;

use super::{C, MAX, MIN, N, ONES, V, Z, case};

#[test]
fn immediate_arithmetic_and_logic() {
    let r6 = |value| vec![(6, value)];
    for (code, a, flags_before, result, flags) in [
        ("add.f %r6, 0x1, %r7", ONES, 0, 0, Z | C),
        ("add.f %r6, 0x1, %r7", MAX, 0, MIN, N | V),
        ("add.f %r6, 0x80000000, %r7", MIN, 0, 0, Z | V | C),
        ("add %r6, 0xffff, %r7", 1, C, 0x10000, C),
        ("addc.f %r6, 0x1, %r7", 1, C, 3, 0),
        ("addc.f %r6, 0x1, %r7", 1, 0, 2, 0),
        ("addc.f %r6, 0x0, %r7", ONES, C, 0, Z | C),
        ("addc %r6, 0x10000, %r7", 1, C, 0x10002, C),
        ("sub.f %r6, 0x5, %r7", 5, 0, 0, Z | C),
        ("sub.f %r6, 0x6, %r7", 5, 0, ONES, N),
        ("sub.f %r6, 0x1, %r7", MIN, 0, MAX, V | C),
        ("sub.f %r6, 0xffff0000, %r7", 0, 0, 0x10000, 0),
        ("subb.f %r6, 0x5, %r7", 5, C, 0, Z | C),
        ("subb.f %r6, 0x5, %r7", 5, 0, ONES, N),
        ("subb %r6, 0x1, %r7", 5, 0, 3, 0),
        ("and.f %r6, 0xffff0ff0, %r7", 0x1234_5678, V | C, 0x1234_0670, 0),
        ("and.f %r6, 0x0ff0ffff, %r7", 0xf00f_0000, C, 0, Z),
        ("or.f %r6, 0x8765, %r7", 0x1000, C, 0x9765, 0),
        ("or.f %r6, 0x87650000, %r7", 0x1000, N | V, 0x8765_1000, N),
        ("xor.f %r6, 0xffff, %r7", 0xffff, N | C, 0, Z),
        ("xor %r6, 0xffff0000, %r7", 0x0f0f_0f0f, N, 0xf0f0_0f0f, N),
        ("mov 0x12340000, %r7", 0, 0, 0x1234_0000, 0),
        ("mov 0xffff8001, %r7", 0, 0, 0xffff_8001, 0),
        ("mov 0x8001ffff, %r7", 0, 0, 0x8001_ffff, 0),
    ] {
        case(code, code)
            .with(&r6(a))
            .flags_before(flags_before)
            .gives(&[(7, result)])
            .flags(flags)
            .check_on_both();
    }
}

#[test]
fn immediate_shifts() {
    for (code, a, result, flags) in [
        ("sh.f %r6, 0x4, %r7", 0x1800_0001, 0x8000_0010, N | C),
        ("sh.f %r6, 0x4, %r7", 0x0800_0001, 0x8000_0010, N),
        ("sh.f %r6, 0x1f, %r7", 2, 0, Z | C),
        ("sh.f %r6, 0x1f, %r7", 3, MIN, N | C),
        ("sh.f %r6, -0x4, %r7", 0x8000_001f, 0x0800_0001, 0),
        ("sh.f %r6, -0x1f, %r7", MIN, 1, 0),
        ("sh.f %r6, 0x0, %r7", MIN, MIN, N),
        ("sha.f %r6, -0x4, %r7", 0x8000_001f, 0xf800_0001, N),
        ("sha.f %r6, -0x1f, %r7", MAX, 0, Z),
        ("sha.f %r6, 0x1, %r7", 0xc000_0000, MIN, N | C),
        ("sha %r6, -0x1, %r7", 0xffff_fffe, ONES, 0),
    ] {
        case(code, code).with(&[(6, a)]).gives(&[(7, result)]).flags(flags).check_on_both();
    }
}

#[test]
fn a_shift_beyond_31_leaves_nothing_and_does_not_panic() {
    for (code, a, b, result) in [
        ("sh %r6, %r9, %r7", ONES, 32, 0),
        ("sh %r6, %r9, %r7", ONES, MIN, 0),
        ("sha %r6, %r9, %r7", MIN, 0u32.wrapping_sub(32), ONES),
        ("sh.f %r6, 0x20, %r7", ONES, 0, 0),
        ("sha %r6, -0x8000, %r7", MIN, 0, ONES),
    ] {
        let flags = if code.contains(".f") { Z | C } else { 0 };
        case(code, code).with(&[(6, a), (9, b)]).gives(&[(7, result)]).flags(flags).check_on_both();
    }
}

#[test]
fn register_arithmetic_and_logic() {
    for (code, a, b, flags_before, result, flags) in [
        ("add.f %r6, %r9, %r7", MAX, 1, 0, MIN, N | V),
        ("addc.f %r6, %r9, %r7", ONES, 0, C, 0, Z | C),
        ("sub.f %r6, %r9, %r7", 3, 4, C, ONES, N),
        ("subb.f %r6, %r9, %r7", MIN, 0, 0, MAX, V | C),
        // The register form of a logic operation keeps the carry, the immediate form does not.
        ("and.f %r6, %r9, %r7", 0xff00, 0x0ff0, V | C, 0x0f00, C),
        ("or.f %r6, %r9, %r7", MIN, 1, 0, 0x8000_0001, N),
        ("xor.f %r6, %r9, %r7", 5, 5, C, 0, Z | C),
        ("sh.f %r6, %r9, %r7", 0x8000_0001, 1, 0, 2, C),
        ("sh.f %r6, %r9, %r7", 0x8000_0001, ONES, C, 0x4000_0000, 0),
        ("sha.f %r6, %r9, %r7", 0x8000_0001, ONES, C, 0xc000_0000, N),
        ("add.f %r6, %r6, %r6", 7, 0, 0, 0, 0),
    ] {
        let to = if code.ends_with("r6") { (6, 14) } else { (7, result) };
        case(code, code)
            .with(&[(6, a), (9, b)])
            .flags_before(flags_before)
            .gives(&[to])
            .flags(flags)
            .check_on_both();
    }
}

#[test]
fn a_register_form_whose_condition_fails_does_nothing() {
    case("false", "add.f.eq %r6, %r9, %r7")
        .with(&[(6, ONES), (9, 1), (7, 5)])
        .gives(&[(7, 5)])
        .check_on_both();
    case("true", "add.f.eq %r6, %r9, %r7")
        .with(&[(6, 1), (9, 1), (7, 5)])
        .flags_before(Z)
        .gives(&[(7, 2)])
        .flags(0)
        .check_on_both();
    case("shift", "sh.lt %r6, %r9, %r7")
        .with(&[(6, 1), (9, 1), (7, 5)])
        .flags_before(N)
        .gives(&[(7, 2)])
        .check_on_both();
    case("shift not", "sh.ge %r6, %r9, %r7")
        .with(&[(6, 1), (9, 1), (7, 5)])
        .flags_before(N)
        .gives(&[(7, 5)])
        .check_on_both();
}

/// The conditions in words of their own: comparisons of two numbers after `sub.f`.
#[test]
fn conditions_say_how_two_numbers_compare() {
    let numbers = [0, 1, 2, MAX, MIN, MIN + 1, ONES - 1, ONES];
    for (a, b) in numbers.iter().flat_map(|a| numbers.iter().map(move |b| (*a, *b))) {
        let (sa, sb) = (a.cast_signed(), b.cast_signed());
        let difference = a.wrapping_sub(b).cast_signed();
        let overflow = sa.checked_sub(sb).is_none();
        for (condition, holds) in [
            ("t", true),
            ("f", false),
            ("ugt", a > b),
            ("ule", a <= b),
            ("ult", a < b),
            ("uge", a >= b),
            ("ne", a != b),
            ("eq", a == b),
            ("vc", !overflow),
            ("vs", overflow),
            ("pl", difference >= 0),
            ("mi", difference < 0),
            ("ge", sa >= sb),
            ("lt", sa < sb),
            ("gt", sa > sb),
            ("le", sa <= sb),
        ] {
            for isa in [Isa::V11, Isa::Lanai4] {
                // The slot is executed either way; r8 says whether the branch was taken.
                let code = format!(
                    "sub.f %r6, %r7, %r0\nb{condition} there\nadd %r9, 0x1, %r9\nmov 0x5, %r8\nthere: nop"
                );
                let mut memory = FlatMemory::new(64);
                memory.write_words(0, &assemble(&code, 0).expect("assembly").words);
                let mut cpu = Cpu::new(isa);
                cpu.set_register(6, a);
                cpu.set_register(7, b);
                for _ in 0..4 {
                    cpu.step(&mut memory);
                }
                let taken = cpu.register(8) == 0;
                assert_eq!(taken, holds, "{condition} of {a:#x} and {b:#x} on {isa:?}");
                assert_eq!(cpu.register(9), 1, "the delay slot of b{condition}");
            }
        }
    }
}

#[test]
fn v11_has_select_set_and_counts() {
    for (code, flags, result) in [
        ("sel.eq %r6, %r9, %r7", Z, 6),
        ("sel.eq %r6, %r9, %r7", 0, 9),
        ("sult %r7", 0, 1),
        ("suge %r7", 0, 0),
        ("suge %r7", C, 1),
        ("st %r7", 0, 1),
        ("sf %r7", 0, 0),
    ] {
        case(code, code)
            .with(&[(6, 6), (9, 9), (7, 5)])
            .flags_before(flags)
            .gives(&[(7, result)])
            .check();
    }
    for (code, value, result) in [
        ("popc %r6, %r7", 0xf00f_0001, 9),
        ("leadz %r6, %r7", 0x0000_8000, 16),
        ("leadz %r6, %r7", 0, 32),
        ("trailz %r6, %r7", 0x0000_8000, 15),
        ("trailz %r6, %r7", 0, 32),
    ] {
        case(code, code).with(&[(6, value)]).gives(&[(7, result)]).check();
    }
    case("popc that sets flags", ".word 0xd39a0001")
        .with(&[(6, 0)])
        .gives(&[(7, 0)])
        .flags(Z)
        .check();
}
