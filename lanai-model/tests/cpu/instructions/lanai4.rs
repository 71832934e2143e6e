//! What the LANai 4 has and v11 has not: its load slot, two ALUs, two contexts, interrupts.

use lanai_model::cpu::{Context, Cpu, FlatMemory, HOST_SIG, Isa, STATUS_USER};
use lanai_model::object::assemble;

use super::{C, DATA, MAX, MIN, N, ONES, V, Z, case};

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

/// How firmware of the time starts its user context: a stack for it in r27, its function in r17, and APC four bytes before
/// where it is to begin, on a no-operation, since the chip's pipeline was one word ahead.
#[test]
fn a_user_context_started_as_firmware_of_the_time_does_runs_and_comes_back() {
    let code = "
        mov     0x3f00, %r27
        mov     function, %r17
        add     %pc, 0x8, %apc
        punt
        bt.r    %pc, 0x1c
        nop
        add     %sp, 0x0, %fp
        add     %pc, 0x8, %rca
        add     %r14, 0x0, %pc
        st      %rca, [--%sp]
again:  bt      again
        punt
        mov     0x1, %r6
        punt
        mov     0x2, %r6
end:    bt      end
        nop
function: add   %r7, 0x5, %r7
        ld      [%sp], %rca
        nop
        add     %rca, 0x0, %pc
        add     %sp, 0x4, %sp";
    let mut memory = FlatMemory::new(0x4000);
    memory.write_words(0, &assemble(code, 0).expect("assembly").words);
    let mut cpu = Cpu::new(Isa::Lanai4);
    cpu.run(&mut memory, 60);
    assert_eq!((cpu.context(), cpu.register(6)), (Context::System, 2), "{cpu:?}");
    // The user's r7, sp and fp.
    let user = [7, 4, 5].map(|register| cpu.register(31 - register));
    assert_eq!(user, [5, 0x3f00, 0x3f00]);
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

/// The end of every function of the time: the slot of the load that replaces the frame pointer reads the old one.
#[test]
fn an_interrupt_between_a_load_and_its_slot_changes_nothing_for_the_user_context() {
    let code =
        "mov 0x9, %r5\nld [0x3100], %r5\nadd %r5, 0x0, %r6\nadd %r5, 0x0, %r7\nend: bt end\nnop";
    for interrupted in 0..5 {
        let (mut cpu, mut memory) = user_spinning(code);
        memory.write_words(0x3100, &[77]);
        // The system clears the bit, does something with a register of its own, and goes back.
        let system = "mov 0x20, %isr\nld [0x3104], %r6\nnop\npunt";
        memory.write_words(16, &assemble(system, 0).expect("assembly").words);
        memory.write_words(0x3104, &[5]);
        for _ in 0..interrupted {
            cpu.step(&mut memory);
        }
        cpu.raise(0x20);
        cpu.run(&mut memory, 16);
        assert_eq!(cpu.context(), Context::User);
        let found = [5, 6, 7].map(|register| cpu.register(register));
        assert_eq!(found, [77, 9, 77], "interrupted after {interrupted} instructions");
    }
}

#[test]
fn a_user_context_that_is_begun_anew_has_no_load_on_its_way() {
    let (mut cpu, mut memory) = user_spinning("mov 0x9, %r5\nld [0x3100], %r5\nend: bt end\nnop");
    let system = "mov 0x20, %isr\nmov 0x3040, %apc\npunt";
    memory.write_words(16, &assemble(system, 0).expect("assembly").words);
    memory.write_words(0x3040, &assemble("end: bt end\nnop", 0x3040).expect("assembly").words);
    memory.write_words(0x3100, &[77]);
    cpu.step(&mut memory);
    cpu.step(&mut memory);
    cpu.raise(0x20);
    cpu.run(&mut memory, 12);
    assert_eq!((cpu.context(), cpu.register(5)), (Context::User, 9));
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
