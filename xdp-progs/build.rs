//! Compiles the XDP programs with clang, one object each, for `src/lib.rs` to embed.
//!
//! `bpf_helpers.h` comes with libbpf-cargo; the kernel's own headers are the machine's (linux-libc-dev).

use std::env;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

const PROGRAMS: &[&str] = &["classifier", "pass"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    // Debian keeps <asm/types.h> in a folder of the architecture that clang does not search for bpf.
    let multiarch = format!("/usr/include/{arch}-linux-gnu");
    let mut arguments = vec!["-Wall".to_owned(), "-Wextra".to_owned(), "-Werror".to_owned()];
    arguments.push("-Wno-unused-parameter".to_owned());
    if Path::new(&multiarch).is_dir() {
        arguments.push(format!("-idirafter{multiarch}"));
    }
    println!("cargo:rerun-if-changed=src/bpf/spine.h");
    for program in PROGRAMS {
        let source = format!("src/bpf/{program}.bpf.c");
        println!("cargo:rerun-if-changed={source}");
        SkeletonBuilder::new()
            .source(&source)
            .obj(out.join(format!("{program}.o")))
            .clang_args(&arguments)
            .build()
            .unwrap_or_else(|error| {
                panic!("cannot compile {source} (needs clang and linux-libc-dev): {error:#}")
            });
    }
}
