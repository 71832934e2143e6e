//! The adapter's part: from an image to a module that runs. The tests' only unsafe code.
#![allow(unsafe_code, reason = "wasmtime cannot know who made the machine code")]

use spine_client::signature::PublicKey;
use spine_os::linker::{SignedImage, verify_image};
use wasmtime::{Engine, Module};

/// The module in an image, after its signature was checked.
pub(crate) fn deserialize(engine: &Engine, image: &SignedImage, key: &PublicKey) -> Module {
    verify_image(image.as_bytes(), key).expect("signed");
    let parts = image.parts().expect("an image");
    assert_eq!(parts.header.compatibility, spine_engine::compatibility(engine));
    // SAFETY: the signature says that our linker made these bytes, with the compiler of this build.
    unsafe { Module::deserialize(engine, parts.code) }.expect("code for this engine")
}
