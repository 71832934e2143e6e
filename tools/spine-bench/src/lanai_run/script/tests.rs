//! Lines that are understood, and mistakes with their sentences.

use super::super::statement::Relation;
use super::{Statement, parse};
use lanai_model::cpu::Width;

fn one(line: &str) -> Result<Statement, String> {
    parse("test", line, 256 << 10).map(|mut lines| lines.remove(0).statement)
}

#[test]
fn comments_and_blank_lines_are_nothing_and_numbers_of_lines_stay() {
    let lines = parse("t", "# a\n\n  run 1 // b\r\n;c\nRUN, 2\n", 1 << 18).unwrap();
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn mistakes_name_the_file_the_line_and_what_is_wrong() {
    let cases = [
        ("wat 1", "`wat` is no command"),
        ("w32 0x100", "at least one value"),
        ("w8 0 256", "does not fit into 8 bits"),
        ("w32 2 1", "not a multiple of 4"),
        ("r32 0x3fffc 2", "beyond 0x40000"),
        ("w32 0x40000 1", "outside the board's memory"),
        ("r32 DMA_CTL", "no place"),
        ("expect ISR", "needs a place and a value"),
        ("expect ISR has", "needs a place and a value"),
        ("run", "a time is missing"),
        ("run soon", "not a time"),
        ("ctrl reset", "ctrl takes"),
        ("trace maybe", "trace takes"),
        ("hostmem", "hostmem takes"),
        ("hostmem write 0 0", "two digits"),
        ("link", "link takes"),
        ("wait ISR has HOST_SIG", "not a time"),
        ("counters now", "nothing more"),
        ("run until ISR has DMA_INT", "the longest time"),
        ("run 5 until ISR has DMA_INT within 5", "the longest time"),
        ("run 5 until", "needs a place and a value"),
        ("expect 0x100 1 within", "a time is missing"),
        ("wait", "the longest time"),
        ("step 1 2", "too much"),
        ("disasm", "needs an address"),
        ("disasm 2", "not a multiple of 4"),
        ("disasm 0x3fff0 5", "beyond 0x40000"),
        ("disasm ISR", "no memory of the board"),
        ("cpu r4", "nothing more"),
    ];
    for (line, expected) in cases {
        let error = parse("s.txt", &format!("run 1\n{line}"), 256 << 10).unwrap_err();
        assert!(error.starts_with("s.txt:2: ") && error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn expectations_take_relations_masks_and_widths() {
    let check = |line| match one(line) {
        Ok(Statement::Expect(check)) => check,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(check("expect ISR has HOST_SIG|DMA_INT").relation, Relation::Has);
    assert_eq!(check("expect 0x100 == 5/0xff").mask, 0xFF);
    assert_eq!(check("expect 0x100 5 mask 15").mask, 15);
    assert_eq!(check("expect8 3 -1").value, 0xFF);
    assert_eq!(check("expect r16 2 7").width, Width::Half);
    assert!(
        Relation::Lacks.holds(4, 3)
            && !Relation::Has.holds(2, 3)
            && Relation::LessOrEqual.holds(3, 3)
    );
}

#[test]
fn control_bits_may_be_written_in_several_ways() {
    for line in ["ctrl reset off int on", "CTRL reset_off, INT-ENABLE", "control 0xA000_0000"] {
        assert_eq!(one(line), Ok(Statement::Control(0xA000_0000)), "{line}");
    }
    assert!(one("ctrl off").is_err() && one("ctrl int").is_err());
}

#[test]
fn echo_keeps_its_text_as_it_is() {
    assert_eq!(one("  Echo  Hello,  World # no"), Ok(Statement::Echo("Hello,  World".to_owned())));
}

#[test]
fn bytes_may_be_expected_with_the_words_in_either_order() {
    for (a, b) in [
        ("expect hostmem 0x100 01 02", "hostmem expect 0x100 0102"),
        ("expect sram 4 ff", "sram expect 4 ff"),
    ] {
        assert_eq!(one(a), one(b), "{a}");
        assert!(one(a).is_ok());
    }
}

#[test]
fn a_wait_may_be_written_in_several_ways() {
    let lines = [
        "wait 20 us ISR has DMA_INT",
        "wait 20 ISR has DMA_INT",
        "run 20 until ISR has DMA_INT",
        "run 20 us until ISR has DMA_INT",
        "run until ISR has DMA_INT within 0.02ms",
        "expect ISR has DMA_INT within 20",
    ];
    let first = one(lines[0]).unwrap();
    assert!(matches!(first, Statement::Wait { .. }));
    for line in lines {
        assert_eq!(one(line), Ok(first.clone()), "{line}");
    }
    assert!(matches!(one("run 20 us"), Ok(Statement::Run(_))));
    assert_eq!(one("step 3 show"), Ok(Statement::Step { count: 3, show: true }));
    assert_eq!(one("step"), Ok(Statement::Step { count: 1, show: false }));
}
