//! Builds the adapter's half of the router, to be embedded in the host's half.

fn main() {
    let module = spine_wasm_build::extension("spine-router-extension");
    println!("cargo::rustc-env=SPINE_ROUTER_EXTENSION={}", module.display());
}
