//! The gate: an image's signature is checked before anything else in it is believed (SPINE 3.3.3).
//!
//! Machine code cannot be checked by looking at it. What makes running it sound is that this
//! machine's linker, which validated the WebAssembly it came from, signed exactly these bytes.

use ed25519_dalek::{Signature, VerifyingKey};
use spine_abi::image::Image;

/// The linker's public key: whose images this adapter runs.
#[derive(Debug, Clone, Copy)]
pub struct TrustedKey(VerifyingKey);

/// Why an image was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not an image of this ABI.
    #[error("the extension's image is damaged or of another version; link it again")]
    Malformed,
    /// Signed by somebody else, or changed since.
    #[error("the extension's image is not signed by this adapter's linker; link it again")]
    Signature,
    /// Made for another wasmtime, configuration or processor.
    #[error("the extension's image was made for another runtime or processor; link it again")]
    Compatibility,
    /// The key is not a point on the curve.
    #[error("the linker's public key is not an Ed25519 key")]
    Key,
    /// Wasmtime found something wrong in spite of all that.
    #[error("the extension's image cannot be loaded: {0}")]
    Code(String),
}

impl TrustedKey {
    /// The key from its 32 bytes.
    ///
    /// # Errors
    /// [`ImageError::Key`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ImageError> {
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| ImageError::Key)
    }

    /// Checks an image, in this order: form, signature, compatibility.
    ///
    /// # Errors
    /// [`ImageError`] by the first thing that is wrong.
    pub(super) fn verify<'a>(
        &self,
        bytes: &'a [u8],
        compatibility: u64,
    ) -> Result<Verified<'a>, ImageError> {
        let image = Image::parse(bytes).map_err(|_| ImageError::Malformed)?;
        let signature = Signature::from_bytes(image.signature);
        self.0.verify_strict(image.signed, &signature).map_err(|_| ImageError::Signature)?;
        if image.header.compatibility != compatibility {
            return Err(ImageError::Compatibility);
        }
        Ok(Verified(image))
    }
}

/// An image whose signature holds. Only [`TrustedKey::verify`] makes one.
#[derive(Debug)]
pub(super) struct Verified<'a>(Image<'a>);

impl<'a> Verified<'a> {
    /// The parts.
    pub(super) fn image(&self) -> &Image<'a> {
        &self.0
    }
}
