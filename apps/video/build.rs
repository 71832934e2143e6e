//! Builds the adapter's half of the video client, to be embedded in the host's half.

fn main() {
    let module = spine_wasm_build::extension("spine-video-extension");
    println!("cargo::rustc-env=SPINE_VIDEO_EXTENSION={}", module.display());
    // Installed programs carry no symbols: of a program with wasmtime's compiler, more than half would be names and
    // lines. Tests keep theirs, and so does this program without this line, for a profiler.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}
