//! The image: what the loader sends to the adapter. Machine code, data, handlers; no symbol table
//! (SPINE 3.3.3).
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `SPINEIMG` |
//! | 8..10 | version of this ABI |
//! | 10..12 | bytes of its links: the domains of other extensions that it was linked against |
//! | 12..16 | bytes of its code as WebAssembly: what a card's memory is charged for |
//! | 16..24 | compatibility: a hash of the wasmtime version, its configuration and the CPU features |
//! | 24..28 | length of the manifest |
//! | 28..32 | length of the code |
//! | 32..36 | domains granted |
//! | 36..40 | pages of linear memory the module starts with |
//! | 40..72 | SHA-256 of the .wasm it was made from |
//! | then | manifest, links (a [declaration](crate::declaration) each), code, and an Ed25519 signature (64 bytes) over everything before it |
//!
//! The image is a cache for one machine, signed by that machine's linker; what people ship is the
//! .wasm. Any mismatch says "link again". This module only finds the parts: who checks the signature
//! (`spine-io`) does so before it believes any of them.

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::declaration::DomainDeclaration;
use crate::error::ErrorCode;
use crate::interface::Domains;
use crate::limits::{IMAGE_BYTES, LINKS};
use crate::manifest::{ABI_VERSION, Manifest};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SPINEIMG";
/// Bytes before the manifest.
pub const FIXED_BYTES: usize = 72;
/// Bytes of the signature at the end.
pub const SIGNATURE_BYTES: usize = 64;

/// The fixed fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Hash of wasmtime's version and configuration and of the CPU's features.
    pub compatibility: u64,
    /// Bytes of the manifest.
    pub manifest_len: u32,
    /// Bytes of the links.
    pub links_len: u16,
    /// Bytes of the code.
    pub code_len: u32,
    /// The domains the linker granted.
    pub domains: Domains,
    /// Pages of memory the module starts with.
    pub memory_pages: u32,
    /// Bytes of its code as WebAssembly.
    pub wasm_code: u32,
    /// SHA-256 of the .wasm.
    pub source: [u8; 32],
}

impl ImageHeader {
    /// The wire form.
    pub fn to_bytes(&self) -> [u8; FIXED_BYTES] {
        let mut out = [0; FIXED_BYTES];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&ABI_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&self.links_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.wasm_code.to_le_bytes());
        out[16..24].copy_from_slice(&self.compatibility.to_le_bytes());
        out[24..28].copy_from_slice(&self.manifest_len.to_le_bytes());
        out[28..32].copy_from_slice(&self.code_len.to_le_bytes());
        out[32..36].copy_from_slice(&self.domains.0.to_le_bytes());
        out[36..40].copy_from_slice(&self.memory_pages.to_le_bytes());
        out[40..72].copy_from_slice(&self.source);
        out
    }
}

/// The parts of an image, found but not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    /// The fixed fields.
    pub header: ImageHeader,
    /// What the extension says of itself.
    pub manifest: Manifest<'a>,
    /// The domains of other extensions that it was linked against.
    pub links: Links<'a>,
    /// The machine code, as wasmtime serialised it.
    pub code: &'a [u8],
    /// Everything the signature covers.
    pub signed: &'a [u8],
    /// The Ed25519 signature.
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Image<'a> {
    /// Finds the parts.
    ///
    /// # Errors
    /// [`ErrorCode::BadImage`]: not an image, another ABI version, lengths that do not add up, a
    /// manifest or a link that is not sound.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ErrorCode> {
        const BAD: ErrorCode = ErrorCode::BadImage;
        let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk().ok_or(BAD)?;
        let version = u16_at(fixed, 8);
        if fixed[..8] != MAGIC || version != Some(ABI_VERSION) {
            return Err(BAD);
        }
        let header = ImageHeader {
            compatibility: u64_at(fixed, 16).ok_or(BAD)?,
            manifest_len: u32_at(fixed, 24).ok_or(BAD)?,
            links_len: u16_at(fixed, 10).ok_or(BAD)?,
            code_len: u32_at(fixed, 28).ok_or(BAD)?,
            domains: Domains(u32_at(fixed, 32).ok_or(BAD)?),
            memory_pages: u32_at(fixed, 36).ok_or(BAD)?,
            wasm_code: u32_at(fixed, 12).ok_or(BAD)?,
            source: *fixed[40..].first_chunk().ok_or(BAD)?,
        };
        let manifest_end = FIXED_BYTES.checked_add(header.manifest_len as usize).ok_or(BAD)?;
        let links_end = manifest_end.checked_add(usize::from(header.links_len)).ok_or(BAD)?;
        let code_end = links_end.checked_add(header.code_len as usize).ok_or(BAD)?;
        let whole = code_end.checked_add(SIGNATURE_BYTES).ok_or(BAD)?;
        if whole != bytes.len() || whole > IMAGE_BYTES {
            return Err(BAD);
        }
        Ok(Self {
            header,
            manifest: Manifest::parse(&bytes[FIXED_BYTES..manifest_end])?,
            links: Links::parse(&bytes[manifest_end..links_end])?,
            code: &bytes[links_end..code_end],
            signed: &bytes[..code_end],
            signature: bytes[code_end..].first_chunk().ok_or(BAD)?,
        })
    }
}

/// The domains of other extensions that an image was linked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Links<'a>(&'a [u8]);

impl<'a> Links<'a> {
    /// Checks all of them.
    ///
    /// # Errors
    /// [`ErrorCode::BadImage`]: one that is not sound, one domain twice, or more than
    /// [`LINKS`].
    fn parse(bytes: &'a [u8]) -> Result<Self, ErrorCode> {
        let this = Self(bytes);
        let length = this.iter().map(|link| link.as_bytes().len()).sum::<usize>();
        let once = this
            .iter()
            .enumerate()
            .all(|(at, link)| this.iter().take(at).all(|earlier| earlier.name() != link.name()));
        if length == bytes.len() && once && this.iter().count() <= LINKS {
            Ok(this)
        } else {
            Err(ErrorCode::BadImage)
        }
    }

    /// What each of the domains was declared as when the image was linked.
    pub fn iter(&self) -> impl Iterator<Item = DomainDeclaration<'a>> + use<'a> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let (link, rest) = DomainDeclaration::parse_first(left).ok()?;
            left = rest;
            Some(link)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::{self, InterfaceDeclaration, Signature};
    use crate::handler::HandlerNumber;
    use crate::manifest::{self, HandlerDeclaration};

    const MANIFEST: [u8; 56] = manifest::build(
        "hello",
        Domains::CORE,
        0,
        &[HandlerDeclaration { number: HandlerNumber(1), prefix: 0, writeback: 0 }],
    );

    fn sample() -> [u8; FIXED_BYTES + 56 + 4 + SIGNATURE_BYTES] {
        let header = ImageHeader {
            compatibility: 1,
            manifest_len: 56,
            links_len: 0,
            code_len: 4,
            domains: Domains::CORE,
            memory_pages: 1,
            wasm_code: 700,
            source: [3; 32],
        };
        let mut bytes = [9; FIXED_BYTES + 56 + 4 + SIGNATURE_BYTES];
        bytes[..FIXED_BYTES].copy_from_slice(&header.to_bytes());
        bytes[FIXED_BYTES..FIXED_BYTES + 56].copy_from_slice(&MANIFEST);
        bytes
    }

    #[test]
    fn parts_are_found() {
        let bytes = sample();
        let image = Image::parse(&bytes).unwrap();
        assert_eq!(image.manifest.name(), "hello");
        assert_eq!(image.header.wasm_code, 700);
        assert_eq!(image.code, [9; 4]);
        assert_eq!(image.signed.len(), FIXED_BYTES + 60);
    }

    #[test]
    fn links_stand_between_manifest_and_code() {
        const TOTAL: InterfaceDeclaration<'_> =
            InterfaceDeclaration { name: "total", signature: Signature::new(&[], None) };
        const FLOW: [u8; declaration::length(1)] = declaration::build("flow", &[TOTAL]);
        const HOST: [u8; declaration::length(1)] = declaration::build("hosts", &[TOTAL]);
        let with = |links: &[u8]| {
            let mut bytes = sample().to_vec();
            bytes[10] = u8::try_from(links.len()).unwrap();
            bytes.splice(FIXED_BYTES + 56..FIXED_BYTES + 56, links.iter().copied());
            bytes
        };
        let both = with(&[FLOW, HOST].concat());
        let image = Image::parse(&both).unwrap();
        assert!(image.links.iter().map(|link| link.name()).eq(["flow", "hosts"]));
        assert_eq!(image.code, [9; 4]);
        assert_eq!(Image::parse(&sample()).unwrap().links.iter().count(), 0);
        assert!(Image::parse(&with(&[FLOW, FLOW].concat())).is_err(), "one twice");
        assert!(Image::parse(&with(&FLOW[..79])).is_err(), "one cut off");
        assert!(Image::parse(&with(&[0; 80])).is_err(), "one without a name");
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let good = sample();
        for cut in 0..good.len() {
            assert!(Image::parse(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = good;
        huge[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Image::parse(&huge), Err(ErrorCode::BadImage));
    }
}
