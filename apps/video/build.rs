//! Builds the adapter's half of the video client, to be embedded in the host's half.

fn main() {
    let module = spine_wasm_build::extension("spine-video-extension");
    println!("cargo::rustc-env=SPINE_VIDEO_EXTENSION={}", module.display());
}
