//! Builds the adapter's half, to be embedded in the host's half.

fn main() {
    let module = spine_wasm_build::extension("spine-ports-extension");
    println!("cargo::rustc-env=SPINE_PORTS_EXTENSION={}", module.display());
}
