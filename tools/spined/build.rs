//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Installed programs carry no symbols: of a program with wasmtime's compiler, more than half would be names and
    // lines. Tests keep theirs, and so does this program without this line, for a profiler.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}
