//! Generated C, compiled for the LANai and for this machine: the same results.

use std::fmt::Write as _;
use std::process::Command;

use crate::generator;
use crate::program::{Program, object, temporary};
use crate::tools::{Random, clang, run};

/// What the functions are called with, in this order: they change variables that later calls see.
fn calls(functions: u32) -> Vec<(u32, [u32; 3])> {
    let corners = [0, 1, 2, 31, 32, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 0x1_0000];
    let mut random = Random(42);
    let argument = |random: &mut Random| {
        if random.below(3) == 0 { *random.pick(&corners) } else { random.word() }
    };
    (0..functions)
        .flat_map(|function| [function; 4])
        .map(|function| (function, [(); 3].map(|()| argument(&mut random))))
        .collect()
}

/// The same calls from a program on this machine; its answers, one for each call.
fn native(source: &str, functions: u32, seed: u64) -> Option<Vec<u64>> {
    let mut text = source.to_owned();
    text += "int printf(const char *, ...);\nint main(void) {\n";
    for (function, [a, b, c]) in calls(functions) {
        let _ = writeln!(text, " printf(\"%llx\\n\", f{function}({a:#x}u, {b:#x}u, {c:#x}u));");
    }
    text += " return 0;\n}\n";
    let program = temporary(&format!("native-{seed}"));
    let path = program.to_str().expect("a path in UTF-8");
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: no C compiler `cc` to compare with");
        return None;
    }
    let arguments = ["-O0", "-fwrapv", "-w", "-x", "c", "-", "-o", path];
    let output = run("cc", &arguments, &text);
    assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().expect("the program runs");
    std::fs::remove_file(&program).expect("it is there");
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(|line| u64::from_str_radix(line, 16).expect("hexadecimal")).collect())
}

fn compare(level: &str, seed: u64, functions: u32) {
    let Some(clang) = clang() else { return };
    let source = generator::source(seed, functions);
    let Some(expected) = native(&source, functions, seed) else { return };
    let object = object(clang, &source, &[level, "-fwrapv", "-w"]);
    let mut program = Program::link(&[("generated.o", &object)]);
    let (mut cycles, mut instructions) = (0, 0);
    let calls = calls(functions);
    assert_eq!(calls.len(), expected.len());
    for ((function, arguments), expected) in calls.iter().zip(&expected) {
        let call = program.call(&format!("f{function}"), arguments);
        assert_eq!(call.value, *expected, "{level}: f{function}{arguments:x?}");
        cycles += call.cycles;
        instructions += call.instructions;
    }
    println!(
        "{level}: {} calls, {instructions} instructions, {cycles} cycles, {} bytes of image",
        expected.len(),
        program.image.bytes.len()
    );
}

// One test a level: compiling is what takes the time.

#[test]
fn functions_generated_and_compiled_at_o2_compute_on_the_lanai_what_they_compute_here() {
    compare("-O2", 1998, 120);
}

#[test]
fn functions_generated_and_compiled_at_o1_compute_on_the_lanai_what_they_compute_here() {
    compare("-O1", 1997, 60);
}

#[test]
fn functions_generated_and_compiled_at_o0_compute_on_the_lanai_what_they_compute_here() {
    compare("-O0", 1996, 60);
}
