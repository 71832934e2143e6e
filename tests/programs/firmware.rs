//! The programs in `firmware/`, each under its script, and what a script shows of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Output;

fn folder() -> PathBuf {
    crate::of_spine_bench("firmware")
}

fn lanai_run(args: &[&str]) -> Output {
    crate::lanai_run().args(args).current_dir(folder()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a script that is not in a file.
fn script(image: &str, lines: &str) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.script");
    std::fs::write(&path, lines).unwrap();
    let output = lanai_run(&[image, "--sram", "256K", "--script", path.to_str().unwrap()]);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_program_does_on_every_board_what_its_script_expects() {
    let mut programs: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "s"))
        .collect();
    programs.sort();
    assert_eq!(programs.len(), 5, "{programs:?}");
    for program in &programs {
        let script = program.with_extension("script");
        let (program, script) = (program.to_str().unwrap(), script.to_str().unwrap());
        for sram in ["256K", "512K", "1M"] {
            let image = format!("{program}@0");
            let output =
                lanai_run(&[&image, "--sram", sram, "--isa", "lanai4", "--script", script]);
            assert_eq!(text(&output.stderr), "", "{program}");
            assert_eq!(output.status.code(), Some(0), "{program} on {sram}");
            assert!(text(&output.stdout).contains("state=running"), "{program}");
        }
    }
}

#[test]
fn the_readme_shows_the_interrupt_as_it_is_printed() {
    let readme = std::fs::read_to_string(crate::of_spine_bench("README.md")).unwrap();
    let (_, rest) = readme.split_once("```tick\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let output = lanai_run(&["tick.s", "--sram", "256K", "--script", "tick.script"]);
    assert!(text(&output.stdout).contains(shown), "{}", text(&output.stdout));
}

#[test]
fn a_breakpoint_the_registers_there_and_the_code() {
    let lines =
        "ctrl reset off\nrun until cpu:pc 0x30 within 5\ncpu\ndisasm 0x20 2\ntime\nstep 2 show\n";
    let (code, out, err) = script("tick.s", lines);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let expected = [
        "cpu pc=0x00000030 context=system state=running",
        "cpu r4=0x00000000 r5=0x00000000 r6=0x00000063 r7=0x00000020",
        "cpu ps=0x00000000 aps=0x00000010 apc=0x00000050 imr=0x00000020 isr=0x00002018 flags=-",
        "0x00000020: 9302ff30 st %r6, -208[%r0] ! IT",
        "0x00000024: 03800020 mov 0x20, %r7",
        "time 0.242 us cycles=8",
        "step 0.242 us 0x00000030: f003ff47 punt -> user context",
        "step 0.272 us 0x00000050: f4000014 ld [0x14], %r8",
    ];
    let mut lines = out.lines();
    for expected in expected {
        assert!(lines.any(|line| line == expected), "{expected}\n{out}");
    }
}

#[test]
fn a_wait_that_fails_says_when_the_processor_does_not_run() {
    let (code, _, err) = script("tick.s", "expect 0x10 1 within 7\nrun 5 until 0x10 1\n");
    assert_eq!(code, Some(1));
    let found = "expected 0x00000010 == 0x00000001, found 0x00000000 after waiting";
    assert!(
        err.contains(&format!(":1: {found} 7.000 us; the processor does not run (reset)")),
        "{err}"
    );
    assert!(
        err.contains(&format!(":2: {found} 5.000 us; the processor does not run (reset)")),
        "{err}"
    );
    let (_, out, err) =
        script("tick.s", "w32 0x30 0xd0000007\nctrl reset off\nrun until 0x10 1 within 7\n");
    assert!(err.contains("does not run (illegal:0xd0000007@0x00000030)"), "{err}");
    assert!(out.contains("time=7."), "{out}");
}

#[test]
fn waiting_looks_at_clocks_and_engines_that_move_without_the_processor() {
    let lines = "w32 LAR 0x100\nw32 DMA_CTR 1100\nrun until DMA_CTR < 600 within 20\nexpect DMA_CTR > 500\n\
                 run until ISR has DMA_INT within 1 ms\ntime\nrun until RTC 40 within 1 ms\ntime\nrun until irqs 1 within 3 ms\n";
    let (code, out, err) = script("tick.s", lines);
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(err.lines().filter(|line| line.contains("expected")).count(), 1, "{err}");
    assert!(out.starts_with("time 11.000 us cycles=363\ntime 20.000 us"), "{out}");
}

#[test]
fn assembly_text_that_is_none_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.s");
    std::fs::write(&path, "nop\nst %r4, [DMA_CTL]\n").unwrap();
    let output = lanai_run(&[path.to_str().unwrap(), "--script", "tick.script"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("wrong.s: line 2") && error.contains("[DMA_CTL]"), "{error}");
    assert_eq!(text(&output.stdout), "");
}
