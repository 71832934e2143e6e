//! `spine-bench lanai-run` from outside: scripts through the binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

struct Run {
    dir: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Output {
        crate::lanai_run().args(args).current_dir(self.dir.path()).output().unwrap()
    }

    fn script(&self, args: &[&str], script: &str) -> Output {
        let script = self.file("test.script", script.as_bytes());
        self.command(&[args, &["--script", &script]].concat())
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn words(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_be_bytes())
        .collect()
}

/// The fenced block of the README that is marked `name`.
fn readme(name: &str) -> String {
    let text = std::fs::read_to_string(crate::of_spine_bench("README.md")).unwrap();
    let start = format!("```{name}\n");
    let begin = text.find(&start).unwrap() + start.len();
    let end = text[begin..].find("```").unwrap() + begin;
    text[begin..end].to_owned()
}

#[test]
fn the_readmes_example_prints_what_the_readme_says() {
    let run = Run::new();
    run.file("call.bin", &words(&readme("hex")));
    run.file("call.script", readme("script").as_bytes());
    let output = run.command(&[
        "call.bin@0",
        "--sram",
        "512K",
        "--isa",
        "lanai4",
        "--script",
        "call.script",
    ]);
    assert_eq!(err(&output), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), readme("output"));
}

#[test]
fn the_same_firmware_for_v11_and_several_images() {
    // The loop's test and the call of the host use the ISR's address instead of r31; the tail is a second image.
    let run = Run::new();
    let head = "52011000 9202ff3c 52000400 9202ff40 9002ff80 52000010 9202ff44 00000001 8302ff28 42 9a0010";
    let head = head.replace("42 9a0010", "429a0010");
    run.file("head.bin", &words(&head));
    run.file("tail.bin", &words("e6000021 00000001 52014000 9202ff28 e0000038 00000001"));
    run.file("data.bin", b"0123456789abcdef");
    let script = "ctrl reset off\nrun 10us\nexpect ISR has HOST_SIG\nhostmem expect 0x10000000 30 31 32 33\n";
    let output = run.script(
        &["head.bin@0,tail.bin@0x28", "data.bin@1K", "--isa", "v11", "--sram", "256k"],
        script,
    );
    assert_eq!((err(&output).as_str(), output.status.code()), ("", Some(0)), "{}", out(&output));
    assert!(out(&output).contains("state=running") && out(&output).contains("failed=0"));
}

#[test]
fn a_failed_expectation_says_what_was_found_and_the_script_goes_on() {
    let run = Run::new();
    let script = "w32 0x100 7\nexpect 0x100 8\nexpect8 0x103 == 7\nexpect ISR has HOST_SIG\necho still here\nwait 5 irq 1\n";
    let output = run.script(&[], script);
    assert_eq!(output.status.code(), Some(1));
    let errors = err(&output);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 4, "{errors}");
    assert!(
        lines[0].ends_with("test.script:2: expected 0x00000100 == 0x00000008, found 0x00000007"),
        "{errors}"
    );
    assert!(lines[1].contains(
        ":4: expected ISR has 0x40000000 (HOST_SIG), found 0x00002018 (SEND_RDY|DMA_INT|SEND_INT)"
    ));
    assert!(lines[2].contains("after waiting 5.000 us"));
    assert!(lines[3].starts_with("note: the processor executed nothing"));
    assert!(out(&output).starts_with("still here\nend: time=5.000us instructions=0 cycles=165 "));
    assert!(
        out(&output).ends_with("state=reset irq=0 expectations=4 failed=3\n"),
        "{}",
        out(&output)
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let run = Run::new();
    run.file("four.bin", &[0; 4]);
    run.file("big.bin", &[0; 16]);
    let ok = run.file("ok.script", b"run 1\n");
    let bad = run.file("bad.script", b"echo one\nrun 1\nw32 DMA_CTL 3\n");
    let cases: &[(&[&str], &str)] = &[
        (&["--script", &bad], "bad.script:3: `DMA_CTL` is no place"),
        (&["--script", "absent.script"], "script absent.script: No such file"),
        (&["absent.bin@0", "--script", &ok], "image absent.bin: No such file"),
        (&["four.bin@here", "--script", &ok], "`here` is not a number"),
        (
            &["big.bin@0x3fff8", "--sram", "256K", "--script", &ok],
            "does not fit: 16 bytes at 0x3fff8",
        ),
        (&["--sram", "2M", "--script", &ok], "invalid value '2M'"),
        (&["--isa", "x86", "--script", &ok], "invalid value 'x86'"),
        (&["four.bin@0"], "--script"),
    ];
    for (args, expected) in cases {
        let output = run.command(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(expected), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "nothing ran: {args:?}");
    }
}

#[test]
fn every_width_and_every_kind_of_place_reads_in_one_form() {
    let run = Run::new();
    let script = "\
        w32 0x1000 0x11223344 0x55667788, w16 = nothing\n";
    assert_eq!(run.script(&[], script).status.code(), Some(2));
    let script = "\
        W32 0x1000 0x11223344 0x55667788\n\
        w16 0x1002 0xaabb\nw8 0x1000 255\n\
        r32 0x1000 2\nr16 0x1002\nr8 sram:0x1000\nr32 bar:0x101000\n\
        w32 EAR 0x1234\nr32 ear\nr32 reg:0x3c\nr16 reg:0x3e\nr32 0xffffff3c\nr32 bar:0xc003c\n\
        w32 reg:0x5c 9 ; undefined\nr32 reg:0x5c\n\
        hostmem w32 0x2000 0xdeadbeef\nr8 host:0x2000\nhostmem r16 0x2002\n\
        w32 cpu:r9 77\nr32 cpu:r9\nr32 irqs\nr32 bar:0xe0000\n\
        sram fill 0x2000 3 0xee\nsram dump 0x1ffe 6\n";
    let output = run.script(&["--sram", "1m"], script);
    assert_eq!(err(&output), "");
    let expected = "\
        r32 0x00001000 = 0xff22aabb\nr32 0x00001004 = 0x55667788\nr16 0x00001002 = 0xaabb\nr8 0x00001000 = 0xff\n\
        r32 bar:0x00101000 = 0xff22aabb\n\
        r32 EAR = 0x00001234\nr32 EAR = 0x00001234\nr16 reg:0x3e = 0x1234\nr32 EAR = 0x00001234\nr32 bar:0x000c003c = 0x00001234\n\
        r32 reg:0x5c = 0x00000009\n\
        r8 host:0x00002000 = 0xde\nr16 host:0x00002002 = 0xbeef\n\
        r32 cpu:r9 = 0x0000004d\nr32 irqs = 0x00000000\nr32 bar:0x000e0000 = 0x50000000\n\
        sram 0x00001ffe: 00 00 ee ee ee 00\n";
    assert!(out(&output).starts_with(expected), "{}", out(&output));
}

#[test]
fn packets_go_out_and_come_in() {
    let run = Run::new();
    let script = "\
        ctrl reset off\nw32 MYRINET 2\nw32 RMP 0x800\nw32 RML 0x8fc\n\
        link inject 0102 0304\nrun 5\nexpect ISR has RECV_INT|ORUN1|ORUN2\nsram expect 0x800 01 02 03 04 00\n\
        w32 RML 0x8fc\nlink inject badcrc 01 02 03 04\nrun 5\nsram expect 0x808 01 02 03 04\nexpect8 0x80c != 0\n\
        sram write 0x400 80 0a 0b 0c\nw32 SMP 0x400\nw32 SMLT 0x400\nrun 5\nlink show\nlink expect 80 0a 0b 0c\nlink expect none\n\
        link switch 8 3\nw32 RMP 0x800\nw32 RML 0x8fc\nw32 SMP 0x400\nw32 SMLT 0x400\nrun 5\nsram expect 0x800 0a 0b 0c 00\n\
        link inject port 5 be 77 78 79\nw32 RMP 0x800\nw32 RML 0x8fc\nrun 5\nsram expect 0x800 77 78 79 00\n\
        link loopback\nlink stop\nw32 SMP 0x400\nw32 SMLT 0x400\nrun 5\nexpect ISR lacks SEND_INT\nlink go\nrun 5\n\
        expect ISR has SEND_INT\nlink reset\nexpect ISR has NRES_INT\ncounters\n";
    let output = run.script(&[], script);
    assert_eq!((err(&output).as_str(), output.status.code()), ("", Some(0)), "{}", out(&output));
    assert!(out(&output).contains(" crc=good: 80 0a 0b 0c\n"));
    assert!(out(&output).contains("bad_crc=1"));
}

#[test]
fn the_trace_tells_what_happened_and_when() {
    let run = Run::new();
    let script =
        "trace on 50\nw32 LAR 0x100\nw32 DMA_CTR 8\nrun 2\ntrace dump\ntrace off\ntrace dump\n";
    let output = run.script(&[], script);
    let text = out(&output);
    assert!(
        text.contains("trace 0.000 us dma L2E ear=0x00000000 lar=0x00000100 length=8\n"),
        "{text}"
    );
    assert!(text.contains("trace 1.072 us dma done\n"), "{text}");
    assert_eq!(text.matches("dma done").count(), 1, "off is off");
}

#[test]
fn programmed_io_takes_time_when_asked_to() {
    let run = Run::new();
    let output = run.script(&[], "r32 0\npio on\nw32 0 1\nr32 0\npio off\nr32 0\n");
    assert!(out(&output).contains("end: time=0.540us"), "{}", out(&output));
}

#[test]
fn a_script_may_come_from_standard_input_and_the_help_has_the_grammar() {
    let mut command = Command::new("sh");
    let line = format!(
        "printf 'echo from\\techo\\r\\n' | {} lanai-run --script -",
        crate::spine_bench().display()
    );
    let output = command.args(["-c", &line]).output().unwrap();
    assert!(out(&output).starts_with("from\techo\nend: "), "{}", out(&output));
    let help = Run::new().command(&["--help"]);
    for word in [
        "hostmem write",
        "Exit codes",
        "IMAGE@ADDR",
        "expect PLACE",
        "trace on",
        "link inject",
        "bar:",
    ] {
        assert!(out(&help).contains(word), "{word}");
    }
    assert!(out(&Run::new().command(&["--constants"])).contains("DMA_START_UP = 1.000 us [REC]"));
}

#[test]
fn an_illegal_word_and_a_forgotten_reset_show_in_the_summary() {
    let run = Run::new();
    run.file("bad.bin", &words("00000001 f003ff47"));
    let output = run.script(&["bad.bin", "--isa", "v11"], "ctrl reset off\nrun 100\n");
    assert!(out(&output).contains("state=illegal:0xf003ff47@0x00000004"), "{}", out(&output));
    let note = "note: the processor stopped at 0x00000004: 0xf003ff47 is no instruction of v11; with --isa lanai4 it is `punt`\n";
    assert_eq!(err(&output), note);
    let output = run.script(&["bad.bin", "--isa", "lanai4"], "run 100\n");
    assert!(err(&output).contains("executed nothing"));
    assert_eq!(output.status.code(), Some(0));
}

/// A clang that compiles for the Lanai; without one the test that wants it says so and ends.
fn clang() -> Option<&'static str> {
    let found = ["clang-19", "clang-16", "clang-14", "clang"].into_iter().find(|clang| {
        let arguments = ["--target=lanai", "-x", "c", "-c", "-o", "/dev/null", "/dev/null"];
        Command::new(clang).args(arguments).output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: no clang with the lanai target (apt-get install clang-14)");
    }
    found
}

#[test]
fn firmware_in_c_is_compiled_linked_and_run() {
    let Some(clang) = clang() else { return };
    let run = Run::new();
    let source = "
        #define LED (*(volatile unsigned *)0xffffff94)
        #define RTC (*(volatile unsigned *)0xffffff34)
        void start(void) {
            volatile unsigned *result = (unsigned *)0x1000;
            unsigned sum = 0, last = result[3];
            for (unsigned i = 1; i <= last; i++) sum += (i + sum) * i;
            result[0] = sum;
            result[1] = sum / last;
            result[2] = RTC;
            LED = 1;
            for (;;) {}
        }";
    let source = run.file("sum.c", source.as_bytes());
    let object = run.dir.path().join("sum.o").display().to_string();
    let flags = ["--target=lanai", "-ffreestanding", "-O2", "-mllvm", "-disable-peephole", "-c"];
    let compiled = Command::new(clang).args(flags).args([&source, "-o", &object]).output().unwrap();
    assert!(compiled.status.success(), "{}", err(&compiled));
    let script = "w32 cpu:r4 0x3f000 # the stack\nw32 0x100c 10\nctrl reset off\nrun until LED 1 within 1 ms\n\
                  expect 0x1000 68588301\nexpect 0x1004 6858830\nexpect 0x1008 > 0\n";
    let output = run.script(&[&object, "--sram", "256K", "--isa", "v11"], script);
    assert_eq!((err(&output).as_str(), output.status.code()), ("", Some(0)), "{}", out(&output));
    let output = run.script(&[&object, "--sram", "256K"], "run 1\n");
    assert!(err(&output).contains("is an object file, and clang compiles for --isa v11"));
}
