//! Compiles the XDP programs with clang, one object each, for `src/lib.rs` to embed.
//!
//! `bpf_helpers.h` is of the libbpf that libbpf-sys builds; the kernel's own headers are the machine's
//! (linux-libc-dev). Why not libbpf-cargo? It would build libbpf a second time, for the build script, and with it
//! a command line and a logger: two programs for a compiler that is called twice.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Objects, what they are compiled from, and what is defined meanwhile.
const PROGRAMS: &[(&str, &str, &[&str])] = &[
    ("classifier", "classifier", &[]),
    ("classifier_of_tags", "classifier", &["-DSPINE_SEES_TAGS"]),
    ("pass", "pass", &[]),
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=src/bpf/spine.h");
    for (program, source, defines) in PROGRAMS {
        let source = format!("src/bpf/{source}.bpf.c");
        println!("cargo:rerun-if-changed={source}");
        let object = out.join(format!("{program}.o"));
        run(compiler().args(*defines).arg(&source).arg("-o").arg(&object));
        // Types for the kernel stay (BTF); what only a debugger reads, with the paths of this machine in it, goes.
        run(Command::new("llvm-strip").arg("--strip-debug").arg(&object));
    }
}

/// clang for the kernel's machine, with everything but what is compiled into what.
fn compiler() -> Command {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let headers = env::var("DEP_BPF_INCLUDE").expect("libbpf-sys says where its headers are");
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-c", "-fno-stack-protector"]);
    clang.args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-isystem", &headers]);
    // Debian keeps <asm/types.h> in a folder of the architecture that clang does not search for bpf.
    let multiarch = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&multiarch).is_dir() {
        clang.arg(format!("-idirafter{multiarch}"));
    }
    clang
}

/// Runs a tool to its end; without it there is nothing to embed.
fn run(tool: &mut Command) {
    let name = tool.get_program().to_string_lossy().into_owned();
    match tool.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{name}: {status} (the kernel's headers are of linux-libc-dev)"),
        Err(error) => panic!("{name}: {error}: the XDP programs need clang and llvm"),
    }
}
