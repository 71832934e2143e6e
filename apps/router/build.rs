//! Builds the adapter's half of the router, to be embedded in the host's half: with each table.

fn main() {
    let module = spine_wasm_build::extension("spine-router-extension");
    println!("cargo::rustc-env=SPINE_ROUTER_EXTENSION={}", module.display());
    let module = spine_wasm_build::extension_with("spine-router-extension", &["lc-trie"]);
    println!("cargo::rustc-env=SPINE_ROUTER_LC_TRIE={}", module.display());
    // Installed programs carry no symbols: of a program with wasmtime's compiler, more than half would be names and
    // lines. Tests keep theirs, and so does this program without this line, for a profiler.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}
