//! Builds the router extension with the paper's table, for the model of the paper's card.

fn main() {
    let module = spine_wasm_build::extension_with("spine-router-extension", &["lc-trie"]);
    println!("cargo::rustc-env=SPINE_ROUTER_LC_TRIE={}", module.display());
}
