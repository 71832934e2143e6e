//! Builds the adapter's half of the router, to be embedded in the host's half: with each table.

fn main() {
    let module = spine_wasm_build::extension("spine-router-extension");
    println!("cargo::rustc-env=SPINE_ROUTER_EXTENSION={}", module.display());
    let module = spine_wasm_build::extension_with("spine-router-extension", &["lc-trie"]);
    println!("cargo::rustc-env=SPINE_ROUTER_LC_TRIE={}", module.display());
}
