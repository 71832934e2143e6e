//! Every instruction form: results, flags and cycles, from the formats' descriptions.

use lanai_model::cpu::{
    Context, Cpu, FLAG_C as C, FLAG_N as N, FLAG_V as V, FLAG_Z as Z, FlatMemory, HOST_SIG, Isa,
    Memory as _, STATUS_USER, State, Width,
};
use lanai_model::object::assemble;

const BASE: u32 = 0x1000;
/// Bytes 0x80, 0x91, 0xa2, ... at this address.
const DATA: u32 = 0x2000;

/// One program, what is in the registers and flags before it, and what after it.
struct Case {
    name: &'static str,
    isa: Isa,
    before: Vec<(u8, u32)>,
    flags_before: u32,
    code: &'static str,
    steps: Option<usize>,
    after: Vec<(u8, u32)>,
    flags: u32,
    cycles: u32,
    memory: Vec<(u32, u32)>,
}

fn case(name: &'static str, code: &'static str) -> Case {
    Case {
        name,
        isa: Isa::V11,
        before: Vec::new(),
        flags_before: 0,
        code,
        steps: None,
        after: Vec::new(),
        flags: 0,
        cycles: 1,
        memory: Vec::new(),
    }
}

impl Case {
    fn on(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }
    fn with(mut self, registers: &[(u8, u32)]) -> Self {
        self.before = registers.to_vec();
        self
    }
    fn flags_before(mut self, flags: u32) -> Self {
        (self.flags_before, self.flags) = (flags, flags);
        self
    }
    fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }
    fn gives(mut self, registers: &[(u8, u32)]) -> Self {
        self.after = registers.to_vec();
        self
    }
    fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
    fn cycles(mut self, cycles: u32) -> Self {
        self.cycles = cycles;
        self
    }
    fn memory(mut self, words: &[(u32, u32)]) -> Self {
        self.memory = words.to_vec();
        self
    }

    fn check(&self) {
        let Case { name, isa, .. } = self;
        let program = assemble(self.code, BASE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut memory = FlatMemory::new(0x4000);
        memory.write_words(BASE, &program.words);
        for offset in 0..32u8 {
            memory
                .write(DATA + u32::from(offset), &[0x80u8.wrapping_add(offset.wrapping_mul(0x11))]);
        }
        let mut cpu = Cpu::new(*isa);
        set_flags(&mut cpu, self.flags_before);
        for (register, value) in &self.before {
            cpu.set_register(*register, *value);
        }
        cpu.set_pc(BASE);
        let steps = self.steps.unwrap_or(program.words.len());
        let cycles: u32 = (0..steps).map(|_| cpu.step(&mut memory)).sum();
        for (register, value) in &self.after {
            let found = cpu.register(*register);
            assert_eq!(
                found, *value,
                "{name} on {isa:?}: r{register} is {found:#x}, not {value:#x}"
            );
        }
        for (address, value) in &self.memory {
            let found = memory.load(*address, Width::Word);
            assert_eq!(found, *value, "{name} on {isa:?}: [{address:#x}] is {found:#x}");
        }
        assert_eq!(cpu.status() & 15, self.flags, "{name} on {isa:?}: flags");
        assert_eq!(cycles, self.cycles, "{name} on {isa:?}: cycles");
        assert_eq!((cpu.register(0), cpu.register(1)), (0, u32::MAX), "{name}: the constants");
        assert_eq!(memory.outside, 0, "{name}: an access outside the memory");
    }

    fn check_on_both(self) {
        self.check();
        self.on(Isa::Lanai4).check();
    }
}

/// Sets the flags as a program would, by their effects: there is no register for them on v11.
fn set_flags(cpu: &mut Cpu, flags: u32) {
    if cpu.isa() == Isa::Lanai4 {
        cpu.set_register(3, flags);
        return;
    }
    // Two operands whose sum has the flags wanted; found by trying all corners.
    let corners = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX];
    for (a, b) in corners.iter().flat_map(|a| corners.iter().map(move |b| (*a, *b))) {
        let mut memory = FlatMemory::new(8);
        let word = assemble("add.f %r6, %r7, %r0", 0).expect("an instruction").words;
        memory.write_words(0, &word);
        cpu.set_register(6, a);
        cpu.set_register(7, b);
        cpu.set_pc(0);
        cpu.step(&mut memory);
        if cpu.status() == flags {
            cpu.set_register(6, 0);
            cpu.set_register(7, 0);
            return;
        }
    }
    panic!("no sum has the flags {flags:#x}");
}

const MIN: u32 = 0x8000_0000;
const MAX: u32 = 0x7fff_ffff;
const ONES: u32 = u32::MAX;

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

#[test]
fn jumps_have_one_delay_slot() {
    let after = [(2, BASE + 16), (9, 1)];
    for code in [
        "bt there\nadd %r9, 0x1, %r9\nnop\nnop\nthere: nop",
        "bt %r6\nadd %r9, 0x1, %r9",
        "add %r6, 0x0, %pc\nadd %r9, 0x1, %r9",
        "or.ne %r6, %r0, %pc\nadd %r9, 0x1, %r9",
        "add %r6, 0x3, %pc\nadd %r9, 0x1, %r9",
    ] {
        case(code, code).steps(2).with(&[(6, BASE + 16)]).gives(&after).cycles(2).check_on_both();
    }
    case("a register jump whose condition fails", "beq %r6\nadd %r9, 0x1, %r9")
        .with(&[(6, BASE + 16)])
        .gives(&[(2, BASE + 8), (9, 1)])
        .cycles(2)
        .check_on_both();
    case("a branch relative to r0", ".word 0xe1001012\nadd %r9, 0x1, %r9")
        .gives(&[(2, 0x1010), (9, 1)])
        .cycles(2)
        .check();
    // 1110 000 1 0 00010 00 imm: bt.r from the pc, which reads as the branch's own address.
    case("a branch relative to the pc", ".word 0xe1080012\nadd %r9, 0x1, %r9")
        .gives(&[(2, BASE + 16), (9, 1)])
        .cycles(2)
        .check();
    case("backwards", "nop\n.word 0xe108fffe\nadd %r9, 0x1, %r9")
        .gives(&[(2, BASE), (9, 1)])
        .cycles(3)
        .check();
    case(
        "a jump in a jump's slot",
        "bt one\nbt two\nnop\none: add %r9, 0x1, %r9\nnop\ntwo: add %r10, 0x1, %r10",
    )
    .steps(4)
    .gives(&[(9, 1), (10, 1), (2, BASE + 24)])
    .cycles(4)
    .check_on_both();
}

#[test]
fn a_load_into_the_v11_pc_has_two_delay_slots() {
    case("return", "ld [%r6], %pc\nadd %r9, 0x1, %r9\nadd %r9, 0x1, %r9\nadd %r9, 0x1, %r9")
        .steps(3)
        .with(&[(6, DATA)])
        .gives(&[(9, 2), (2, 0x8091_a2b0)])
        .cycles(3)
        .check();
}

#[test]
fn the_pc_reads_as_each_set_has_it() {
    case("v11", "nop\nadd %pc, 0x10, %r7").gives(&[(7, BASE + 4 + 16)]).cycles(2).check();
    case("lanai4", "nop\nadd %pc, 0x8, %r7")
        .on(Isa::Lanai4)
        .gives(&[(7, BASE + 8 + 8)])
        .cycles(2)
        .check();
}

#[test]
fn using_a_loaded_register_costs_v11_a_cycle() {
    let code = "ld [%r6], %r7\nadd %r7, 0x1, %r8";
    case("interlock", code).with(&[(6, DATA)]).gives(&[(8, 0x8091_a2b4)]).cycles(3).check();
    for (name, code, cycles) in [
        ("one between", "ld [%r6], %r7\nnop\nadd %r7, 0x1, %r8", 3),
        ("another register", "ld [%r6], %r7\nadd %r9, 0x1, %r8", 2),
        ("stored", "ld [%r6], %r7\nst %r7, 16[%r6]", 3),
        ("as an address", "ld [0x2040], %r7\nld [%r7], %r8", 3),
        ("as an index", "ld [0x2040], %r7\nld [%r6 add %r7], %r8", 3),
        ("select", "ld [%r6], %r7\nsel.t %r8, %r7, %r9", 3),
        ("a long constant is no load", "mov 0x12345, %r7\nadd %r7, 0x1, %r8", 2),
        ("r0 is a constant", "ld [%r6], %r0\nadd %r0, 0x1, %r8", 2),
        ("written only", "ld [%r6], %r7\nmov 0x1, %r7", 2),
    ] {
        case(name, code).with(&[(6, DATA)]).cycles(cycles).check();
    }
}

#[test]
fn the_lanai_4_load_slot_sees_the_old_value() {
    let four = Isa::Lanai4;
    case("exposed", "ld [%r6], %r7\nadd %r7, 0x1, %r8\nadd %r7, 0x1, %r9")
        .on(four)
        .with(&[(6, DATA), (7, 41)])
        .gives(&[(8, 42), (9, 0x8091_a2b4)])
        .cycles(3)
        .check();
    case("two loads in a row", "ld [%r6], %r7\nld 4[%r6], %r7\nadd %r7, 0x0, %r8\nnop")
        .on(four)
        .with(&[(6, DATA)])
        .gives(&[(8, 0x8091_a2b3), (7, 0xc4d5_e6f7)])
        .cycles(4)
        .check();
    case("the slot's own result stays", "ld [%r6], %r7\nmov 0x5, %r7\nnop")
        .on(four)
        .with(&[(6, DATA)])
        .gives(&[(7, 5)])
        .cycles(3)
        .check();
    case("in a branch's slot", "bt there\nld [%r6], %r7\nnop\nthere: add %r7, 0x0, %r8\nnop")
        .on(four)
        .steps(4)
        .with(&[(6, DATA), (7, 3)])
        .gives(&[(8, 3), (7, 0x8091_a2b3)])
        .cycles(4)
        .check();
    case("into the mask", "ld [%r6], %imr\nnop")
        .on(four)
        .with(&[(6, DATA)])
        .gives(&[(30, 0x8091_a2b3)])
        .cycles(2)
        .check();
}

#[test]
fn the_lanai_4_has_two_alus() {
    for (code, flags_before, result, flags) in [
        // r14 is 0 before: the word that firmware of the time uses for "not".
        ("sub %r0, (%r1 add %r14), %r14", 0, 1, 0),
        ("add.f %r6, (%r9 sub %r10), %r14", 0, 1, V | C),
        ("xor %r6, (%r9 and %r10), %r14", 0, MIN, 0),
        ("add.f %r6, (%r0 add %r1), %r14", 0, MAX, V | C),
        ("or %r0, (%r6 addc %r9), %r14", C, 0x8000_0003, C),
        ("or.f %r0, (%r6 addc %r9), %r14", C, 0x8000_0003, N | C),
    ] {
        case(code, code)
            .on(Isa::Lanai4)
            .with(&[(6, MIN), (9, 2), (10, 0x8000_0001)])
            .flags_before(flags_before)
            .gives(&[(14, result)])
            .flags(flags)
            .check();
    }
}

/// Sequences as firmware of the time has them, in words: what they rely on is what the set must do.
#[test]
fn idioms_of_firmware_of_the_time_work() {
    // Stack pointer, then frame pointer from it, in the next instruction.
    case("start", ".word 0xf20efe00\n.word 0xc2900000")
        .on(Isa::Lanai4)
        .gives(&[(4, 0x3_fe00), (5, 0x3_fe00)])
        .cycles(2)
        .check();
    // The end of a function: the stack pointer is set from the frame pointer in the slot of the load that replaces it.
    case("return", ".word 0x8796fffc\n.word 0x8296fff8\n.word 0x02140000\n.word 0x013c0000\nnop")
        .on(Isa::Lanai4)
        .with(&[(5, DATA + 8)])
        .gives(&[(15, 0xc4d5_e6f7), (5, 0x8091_a2b3), (4, DATA + 8), (2, 0xc4d5_e6f4)])
        .cycles(5)
        .check();
    // Whether r11 is below r14, as a number: r14 = 0 - (-1 + 0 + C).
    for (r11, below) in [(1, 1), (2, 0), (3, 0)] {
        case("below", ".word 0xc02e7200\n.word 0xd7000a01")
            .on(Isa::Lanai4)
            .with(&[(11, r11), (14, 2)])
            .gives(&[(14, below)])
            .flags(if below == 1 { N } else { C | (u32::from(r11 == 2) * Z) })
            .cycles(2)
            .check();
    }
    // Whether the last result was zero: the lowest bit of the status, without the others, among them the context.
    for context in [0, STATUS_USER] {
        case("zero", ".word 0x470c0001")
            .on(Isa::Lanai4)
            .flags_before(Z | N | C)
            .with(&[(3, Z | N | C | context)])
            .gives(&[(14, 1)])
            .check();
    }
}

#[test]
fn contexts_exchange_status_pc_and_register_order() {
    let mut memory = FlatMemory::new(0x4000);
    let system = assemble("mov 0x7, %r4\nmov 0x3000, %apc\nmov 0x5, %aps\npunt\nmov 0x9, %r5", 0);
    memory.write_words(0, &system.expect("assembly").words);
    let user = assemble("add %r27, 0x1, %r4\npunt\nmov 0x1, %r6", 0x3000);
    memory.write_words(0x3000, &user.expect("assembly").words);
    let mut cpu = Cpu::new(Isa::Lanai4);
    assert_eq!(cpu.context(), Context::System, "reset starts the system context");
    for _ in 0..4 {
        assert_eq!(cpu.step(&mut memory), 1);
    }
    assert_eq!((cpu.context(), cpu.pc()), (Context::User, 0x3000));
    assert_eq!(cpu.register(3), STATUS_USER | Z | V, "the user's status is what was in aps");
    assert_eq!(cpu.register(28) & STATUS_USER, 0, "the other context is the system");
    assert_eq!(cpu.register(29), 16, "the system goes on after its punt");
    assert_eq!(cpu.register(27), 7, "r4 of one context is r27 of the other");
    cpu.step(&mut memory);
    cpu.step(&mut memory);
    assert_eq!((cpu.context(), cpu.pc()), (Context::System, 16));
    assert_eq!(cpu.register(27), 8, "what the user wrote to its r4");
    assert_eq!((cpu.register(28), cpu.register(29)), (STATUS_USER | Z | V, 0x3008));
    cpu.step(&mut memory);
    assert_eq!(cpu.register(5), 9);
}

/// The user context spins at 0x3000 with IMR 0x20; the system context waits at 0x100.
fn user_spinning(code: &str) -> (Cpu, FlatMemory) {
    let mut memory = FlatMemory::new(0x4000);
    memory.write_words(
        0,
        &assemble("mov 0x3000, %apc\nmov 0x20, %imr\nmov 0x100, %r4\npunt", 0)
            .expect("assembly")
            .words,
    );
    memory.write_words(0x3000, &assemble(code, 0x3000).expect("assembly").words);
    let mut cpu = Cpu::new(Isa::Lanai4);
    for _ in 0..4 {
        cpu.step(&mut memory);
    }
    (cpu, memory)
}

#[test]
fn an_unmasked_bit_switches_the_user_context_to_the_system() {
    let (mut cpu, mut memory) = user_spinning("loop: add %r5, 0x1, %r5\nbt loop\nnop");
    cpu.run(&mut memory, 9);
    cpu.raise(0x10);
    cpu.run(&mut memory, 3);
    assert_eq!(cpu.context(), Context::User, "a masked bit changes nothing");
    cpu.raise(0x20);
    let cycles = cpu.step(&mut memory);
    assert_eq!(cpu.context(), Context::System);
    assert_eq!(cycles, 2, "the switch and the system's first instruction");
    assert_eq!((cpu.isr(), cpu.imr()), (0x30, 0x20));
    assert_eq!((cpu.register(29), cpu.pc()), (0x3000, 20));
    assert_eq!(cpu.register(26), 4, "the user's r5");
}

#[test]
fn an_interrupt_waits_for_the_delay_slot() {
    let (mut cpu, mut memory) = user_spinning("loop: bt loop\nadd %r5, 0x1, %r5");
    cpu.step(&mut memory);
    cpu.raise(0x20);
    cpu.step(&mut memory);
    assert_eq!((cpu.context(), cpu.register(5)), (Context::User, 1), "the slot is executed");
    cpu.step(&mut memory);
    assert_eq!((cpu.context(), cpu.register(29)), (Context::System, 0x3000));
}

#[test]
fn a_system_that_punts_with_the_bit_still_set_comes_straight_back() {
    let (mut cpu, mut memory) = user_spinning("add %r5, 0x1, %r5\nnop");
    memory.write_words(16, &assemble("punt\nadd %r6, 0x1, %r6", 0).expect("assembly").words);
    cpu.raise(0x20);
    cpu.step(&mut memory);
    assert_eq!((cpu.context(), cpu.pc()), (Context::User, 0x3000), "the system's punt");
    cpu.step(&mut memory);
    assert_eq!((cpu.context(), cpu.register(6), cpu.register(26)), (Context::System, 1, 0));
}

#[test]
fn writing_the_isr_clears_ones_but_sets_host_sig() {
    let mut memory = FlatMemory::new(64);
    let code = "mov 0x40000000, %isr\nmov 0x10, %isr\nadd %isr, 0x0, %r7";
    memory.write_words(0, &assemble(code, 0).expect("assembly").words);
    let mut cpu = Cpu::new(Isa::Lanai4);
    cpu.raise(0x18);
    cpu.step(&mut memory);
    assert_eq!(cpu.isr(), HOST_SIG | 0x18);
    cpu.step(&mut memory);
    assert_eq!(cpu.isr(), HOST_SIG | 0x08);
    cpu.step(&mut memory);
    assert_eq!(cpu.register(7), HOST_SIG | 0x08, "r31 reads as the ISR");
    cpu.clear(HOST_SIG);
    assert_eq!(cpu.register(31), 0x08);
}

#[test]
fn the_status_register_holds_flags_and_a_context_bit_that_cannot_be_written() {
    case(
        "flags in ps",
        "sub.f %r6, 0x1, %r0\nadd %ps, 0x0, %r7\nmov 0xffff, %ps\nadd %ps, 0x0, %r8",
    )
    .on(Isa::Lanai4)
    .gives(&[(7, N), (8, Z | N | V | C), (28, STATUS_USER)])
    .flags(Z | N | V | C)
    .cycles(4)
    .check();
    case("r3 is a register like others", "sub.f %r6, 0x1, %r3\nmov 0x1, %r28\nmov 0x1, %r31")
        .gives(&[(3, ONES), (28, 1), (31, 1)])
        .flags(N)
        .cycles(3)
        .check();
}

#[test]
fn undefined_words_stop_the_processor_and_nothing_else() {
    let both = [0xc398_1f10, 0xcb98_4f08, 0xa39a_4f12, 0xf39b_8000, 0xf003_ff46];
    let v11 = [0xd000_0000, 0xd000_0004, 0xf003_ff47];
    let lanai4 = [
        0xd000_0007,
        0xd000_0700,
        0xe004_0002,
        0xe100_0002,
        0xc398_1f00,
        0x8114_0000,
        0xa116_4802,
        0xf100_0000,
        0xf117_1000,
    ];
    let all = both.iter().flat_map(|word| [(Isa::V11, *word), (Isa::Lanai4, *word)]);
    let own =
        v11.map(|word| (Isa::V11, word)).into_iter().chain(lanai4.map(|word| (Isa::Lanai4, word)));
    for (isa, word) in all.chain(own) {
        let mut memory = FlatMemory::new(0x1000);
        memory.write_words(0x10, &[word]);
        let mut cpu = Cpu::new(isa);
        cpu.run(&mut memory, 4);
        assert_eq!(cpu.step(&mut memory), 1, "{word:#x} on {isa:?}");
        let state = State::Illegal { address: 0x10, word };
        assert_eq!((cpu.state(), cpu.pc()), (state, 0x10), "{word:#x} on {isa:?}");
        // It stays there, at a cycle a step, even if the word is mended.
        memory.write_words(0x10, &[1]);
        assert_eq!(cpu.run(&mut memory, 100), 100);
        assert_eq!(cpu.state(), state);
        cpu.reset();
        cpu.run(&mut memory, 10);
        assert_eq!((cpu.state(), cpu.pc()), (State::Running, 40), "reset starts again");
    }
}

#[test]
fn code_that_overwrites_itself_runs_as_written() {
    let code = "loop: add %r9, 0x1, %r9\nst %r6, [0x1000]\nbt loop\nnop";
    let word = assemble("add %r9, 0x10, %r9", 0).expect("assembly").words[0];
    case("self-modifying", code)
        .steps(5)
        .with(&[(6, word)])
        .gives(&[(9, 0x11)])
        .cycles(5)
        .check_on_both();
}

#[test]
fn no_word_panics() {
    let mut random = crate::tools::Random(4);
    for isa in [Isa::V11, Isa::Lanai4] {
        let mut memory = FlatMemory::new(0x1000);
        for _ in 0..50_000 {
            let mut cpu = Cpu::new(isa);
            let words: Vec<u32> = (0..4).map(|_| random.word()).collect();
            memory.write_words(0, &words);
            for register in 0..32 {
                cpu.set_register(register, random.word());
            }
            cpu.set_pc(0);
            cpu.run(&mut memory, 4);
        }
    }
}
