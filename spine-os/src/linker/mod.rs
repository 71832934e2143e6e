//! The linker: from anybody's WebAssembly to an image an adapter may trust (SPINE 3.3.3).
//!
//! The steps, each in its file: `module` reads and validates, `validate` applies the rules for
//! extensions, `resolve` finds every import in the domains granted, `ephemeral` follows every call
//! a handler can make, `export` sees to the stack pointer, `compile` makes machine code. Then the
//! image is put together and signed.
//!
//! Invariants: limits come before work; nothing in a module makes the linker panic; an image that
//! left here passed every step, because only [`Linker::link`] signs.

mod compile;
mod ephemeral;
mod error;
mod export;
mod module;
mod name;
mod resolve;
mod validate;

use sha2::{Digest, Sha256};
use spine_abi::ErrorCode;
use spine_abi::image::{Image, ImageHeader, SIGNATURE_BYTES};
use spine_abi::limits::IMAGE_BYTES;
use spine_abi::manifest::Manifest;

use crate::domain::Policy;
use crate::signature::{PublicKey, SecretKey};
use compile::Compiler;
pub use error::LinkError;
use module::Module;

/// Links extensions under one policy, and signs them with one key.
pub struct Linker {
    compiler: Compiler,
    key: SecretKey,
    policy: Policy,
}

impl Linker {
    /// A linker whose images adapters accept that trust `key`'s public half.
    ///
    /// # Errors
    /// [`LinkError::Engine`] where there is no compiler for this machine.
    pub fn new(key: SecretKey, policy: Policy) -> Result<Self, LinkError> {
        Ok(Self { compiler: Compiler::new()?, key, policy })
    }

    /// What adapters check images with.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Links one module.
    ///
    /// # Errors
    /// The first reason to refuse it. See [`LinkError`].
    pub fn link(&self, wasm: &[u8]) -> Result<SignedImage, LinkError> {
        let module = Module::read(wasm)?;
        let manifest = match module.manifests.as_slice() {
            [bytes] => Manifest::parse(bytes).map_err(|_| LinkError::BadManifest)?,
            [] => return Err(LinkError::NoManifest),
            several => return Err(LinkError::ManyManifests(several.len())),
        };
        let memory_pages = validate::validate(&module)?;
        let domains = resolve::domains(&manifest, &self.policy)?;
        let interfaces = resolve::resolve(&module, domains)?;
        ephemeral::check(&module, &interfaces)?;
        let code = self.compiler.compile(&export::encode(wasm, &module)?)?;

        let over = |_| too_large(code.len());
        let header = ImageHeader {
            compatibility: self.compiler.compatibility(),
            manifest_len: u32::try_from(manifest.as_bytes().len()).map_err(over)?,
            code_len: u32::try_from(code.len()).map_err(over)?,
            domains,
            memory_pages,
            source: Sha256::digest(wasm).into(),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(manifest.as_bytes());
        bytes.extend_from_slice(&code);
        if bytes.len() + SIGNATURE_BYTES > IMAGE_BYTES {
            return Err(too_large(bytes.len()));
        }
        let signature = self.key.sign(&bytes);
        bytes.extend_from_slice(&signature);
        Ok(SignedImage(bytes))
    }
}

const fn too_large(bytes: usize) -> LinkError {
    LinkError::OverLimit {
        what: "bytes of the image",
        found: bytes as u64,
        limit: IMAGE_BYTES as u64,
    }
}

/// An image, as it goes to the adapter.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedImage(Vec<u8>);

impl SignedImage {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, to keep.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Its parts.
    ///
    /// # Errors
    /// None that could occur: the linker made it.
    pub fn parts(&self) -> Result<Image<'_>, ErrorCode> {
        Image::parse(&self.0)
    }
}

impl std::fmt::Debug for SignedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignedImage").field(&self.parts().map(|image| image.header)).finish()
    }
}

/// Why an image is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Its parts cannot be found.
    #[error("not an image of this version: link the extension again")]
    Malformed,
    /// The signature is not that of the key, or some bit was changed since.
    #[error("the image was not signed by this linker, or was changed since: link it again")]
    Signature,
}

/// Whether `image` is what the owner of `key` signed, bit for bit: the gate in front of machine code.
///
/// An adapter has its own copy of this check; this one is for who keeps images in files.
///
/// # Errors
/// [`ImageError`].
pub fn verify_image(image: &[u8], key: &PublicKey) -> Result<(), ImageError> {
    let parts = Image::parse(image).map_err(|_| ImageError::Malformed)?;
    key.verify(parts.signed, parts.signature).map_err(|_| ImageError::Signature)
}
