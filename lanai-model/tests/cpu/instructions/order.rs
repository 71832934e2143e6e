//! In which order things take effect: delay slots, what the pc reads as, code that changes itself, words that are none.

use lanai_model::cpu::{Cpu, FlatMemory, Isa, State};
use lanai_model::object::assemble;

use super::{BASE, DATA, case};

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
fn the_lanai_4_branches_relative_to_the_pc_and_to_two_registers() {
    let slot = "add %r9, 0x1, %r9";
    for (code, before, target) in [
        // The branch over an assembler block in firmware of the time: 28 from the next word.
        (".word 0xe000001e", 0, BASE + 4 + 28),
        ("bt.r %pc, 0x1c", 0, BASE + 4 + 28),
        ("bt.r %pc, -0x4", 0, BASE),
        ("bt.r %pc, -0x1004", 0, 0),
        ("bne.r %pc, 0x40", 0, BASE + 4 + 0x40),
        ("beq.r %pc, 0x40", 0, BASE + 8),
        ("bt (%r6 add %r7)", 0x2000, 0x2010),
        (".word 0xf01bc038", 0x2000, 0x2010),
        ("bne (%r6 sub %r7)", 0x2000, 0x1ff0),
        ("beq (%r6 add %r7)", 0x2000, BASE + 8),
        // Relative, with the bit that says so.
        (".word 0xf00bc03a", 0, BASE + 4 + 0x10),
    ] {
        case(code, format!("{code}\n{slot}").leak())
            .on(Isa::Lanai4)
            .with(&[(6, before), (7, 0x10)])
            .gives(&[(2, target), (9, 1)])
            .cycles(2)
            .check();
    }
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
fn undefined_words_stop_the_processor_and_nothing_else() {
    let both = [0xc398_1f10, 0xcb98_4f08, 0xa39a_4f12, 0xf39b_8000, 0xf003_ff46];
    let v11 = [0xd000_0000, 0xd000_0004, 0xf003_ff47];
    let lanai4 = [
        0xd000_0007,
        0xd000_0700,
        0xf003_c004,
        0xf003_c700,
        0xf003_c800,
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
