//! `link-video FILE`: the video extension, linked, for the fuzz target `video`, which has no compiler.
//!
//! The file is the linker's public key, 32 bytes, and the image.

use std::error::Error;
use std::path::Path;

use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::Linker;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: link-video FILE")?;
    let folder = Path::new(&file).with_extension("wasm-build");
    let module = std::fs::read(spine_wasm_build::build("spine-video-extension", &folder)?)?;
    std::fs::remove_dir_all(&folder)?;
    let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
    let image = linker.link(&module)?.into_bytes();
    std::fs::write(&file, [&linker.public().to_bytes()[..], &image].concat())?;
    Ok(())
}
