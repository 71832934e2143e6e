//! The text of words, against LLVM's.

use std::collections::HashSet;

use lanai_model::cpu::{Isa, disassemble};
use lanai_model::object::assemble;

use crate::tools::{Random, llvm_mc, run};

/// What LLVM's disassembler says of each word.
fn llvm_texts(tool: &str, words: &[u32]) -> Vec<String> {
    let mut input = String::new();
    for word in words {
        let [a, b, c, d] = word.to_be_bytes();
        input += &format!("[{a:#04x} {b:#04x} {c:#04x} {d:#04x}]\n");
    }
    let output = run(tool, &["--disassemble", "-triple=lanai"], &input);
    assert!(output.status.code().is_some(), "{tool} was killed by a signal: {:?}", output.status);
    let refused: HashSet<usize> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("invalid instruction encoding"))
        .map(|line| line.split(':').nth(1).expect("a line number").parse().expect("a number"))
        .collect();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != ".text");
    (1..=words.len())
        .map(|number| {
            if refused.contains(&number) {
                "<unknown>".into()
            } else {
                lines.next().expect("a line for each accepted word").to_owned()
            }
        })
        .collect()
}

/// LLVM (14 and 19) dies on these: a register-register access whose shift it does not know.
fn kills_llvm(word: u32) -> bool {
    word >> 29 == 0b101 && word >> 8 & 7 == 7 && word >> 3 & 7 != 0
}

fn compare(tool: &str, words: &[u32]) {
    for (word, expected) in words.iter().zip(llvm_texts(tool, words)) {
        assert_eq!(disassemble(*word, Isa::V11), expected, "{word:#010x}");
    }
}

#[test]
fn random_words_read_as_llvm_prints_them() {
    let Some(tool) = llvm_mc() else { return };
    let mut random = Random(1998);
    let words: Vec<u32> =
        (0..40_000).map(|_| random.word()).filter(|word| !kills_llvm(*word)).collect();
    compare(tool, &words);
}

/// Random words almost never hit the aliases, which want zeros in most fields, nor the short constants.
fn words_with_few_bits() -> Vec<u32> {
    let mut random = Random(33);
    let mut words: Vec<u32> =
        (0..16).flat_map(|opcode| (0..10).map(move |n| opcode << 28 | n)).collect();
    for _ in 0..30_000 {
        let mut word = random.word() & random.word() & random.word();
        if random.below(3) == 0 {
            // A small signed constant, of both lengths.
            let constant = *random.pick(&[4, -4, 2, -2, 1, -1, 0i32]);
            word = word & !0x3ff | constant.cast_unsigned() & *random.pick(&[0x3ff, 0xffff]);
        }
        if random.below(4) == 0 {
            word = word & !(31 << 23) | 2 << 23;
        }
        words.push(word & 0x0fff_ffff | random.below(16) << 28);
    }
    words.retain(|word| !kills_llvm(*word));
    words
}

#[test]
fn words_with_few_bits_set_read_as_llvm_prints_them() {
    let Some(tool) = llvm_mc() else { return };
    compare(tool, &words_with_few_bits());
}

#[test]
fn the_assembler_reads_what_the_disassembler_prints() {
    for (isa, word) in
        words_with_few_bits().iter().flat_map(|w| [(Isa::V11, *w), (Isa::Lanai4, *w)])
    {
        let text = disassemble(word, isa);
        // Not instructions; a sum that is an `or` (LLVM's misprint); a constant for r0, whose short form is a `log`.
        let refused = text == "<unknown>" || text.starts_with("log_");
        let sum = text.starts_with('b') && text.contains("add");
        if refused || sum || text.starts_with("mov") && text.ends_with("%r0") {
            continue;
        }
        let words = assemble(&text, 0).unwrap_or_else(|error| panic!("{text}: {error}")).words;
        let [again] = words[..] else { panic!("{text} is {} words", words.len()) };
        assert_eq!(disassemble(again, isa), text, "{word:#010x} became {again:#010x}");
    }
}

#[test]
fn the_assembler_knows_special_registers_and_labels_in_brackets() {
    let code = "start: ld [there], %r4\nst %r4, [DMA_CTR]\nuld.b [RB], %r5\nld [0xffffff34], %r6\nthere: .word 0x7";
    let words = assemble(code, 0x100).expect("assembly").words;
    let plain =
        "ld [0x110], %r4\nst %r4, -188[%r0]\nuld.b -160[%r0], %r5\nld -204[%r0], %r6\n.word 0x7";
    assert_eq!(words, assemble(plain, 0x100).expect("assembly").words);
    for wrong in ["ld [0x300000], %r4", "ld [nowhere], %r4", "uld.b [start], %r4", "st %r4, [RMC]"]
    {
        let error = assemble(wrong, 0).expect_err(wrong);
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}

#[test]
fn the_lanai_4_has_its_own_forms_and_register_names() {
    let texts = [
        (0xf003_ff47, "punt"),
        (0xd700_0a70, "sub\t%r0, (%r1 add %r14), %r14"),
        (0xd702_0c71, "and.f\t%r0, (%r1 addc %r14), %r14"),
        (0xd700_0f70, "<unknown>"),
        (0x0f81_4000, "mov\t0x40000000, %isr"),
        (0xcf00_0000, "mov\t%r0, %imr"),
        (0x8114_0000, "<unknown>"),
        (0xf104_0000, "<unknown>"),
        (0xe004_0002, "bt.r\t%pc, 0x40000"),
        (0xe7ff_fff7, "beq.r\t%pc, -0xc"),
        (0xf01b_c038, "bt\t(%r6 add %r7)"),
        (0xf203_c239, "bule\t(%r0 sub %r7)"),
        (0xf003_c004, "<unknown>"),
        (0xc398_1f00, "<unknown>"),
        (0x0000_0002, "mov\t0x2, %r0"),
        (0x0180_0004, "mov\t0x4, %ps"),
    ];
    for (word, text) in texts {
        assert_eq!(disassemble(word, Isa::Lanai4), text, "{word:#010x}");
    }
}
