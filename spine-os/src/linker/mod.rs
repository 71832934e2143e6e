//! The linker: from anybody's WebAssembly to an image an adapter may trust (SPINE 3.3.3).
//!
//! The steps, each in its file: `module` reads and validates, `carried` looks how long a compiler would take, `validate` applies the rules for
//! extensions, `resolve` finds every import in the domains granted, `ephemeral` follows every call
//! a handler can make, `checks` finds where straight code needs a look at the fuel, `export` puts these in and
//! sees to the stack pointer, `compile` makes machine code. `interfaces` checks
//! what an extension exports to others. Then the
//! image is put together and signed.
//!
//! Invariants: limits come before work; nothing in a module makes the linker panic; an image that
//! left here passed every step, because only [`Linker::link`] signs.

mod carried;
mod checks;
mod compile;
mod ephemeral;
mod error;
mod export;
mod interfaces;
mod module;
mod name;
mod resolve;
mod validate;

use sha2::{Digest, Sha256};
use spine_abi::ErrorCode;
use spine_abi::declaration::{DomainDeclaration, is_name};
use spine_abi::image::{Image, ImageHeader, SIGNATURE_BYTES};
use spine_abi::interface::Domain;
use spine_abi::limits::IMAGE_BYTES;
use spine_abi::manifest::{Manifest, SECTION};

use crate::domain::{Exports, Policy};
use compile::Compiler;
pub use error::LinkError;
use module::Module;
use spine_client::signature::{PublicKey, SecretKey};

/// Links extensions under one policy, and signs them with one key.
pub struct Linker {
    assembler: Assembler,
    key: SecretKey,
    policy: Policy,
}

impl Linker {
    /// A linker whose images adapters accept that trust `key`'s public half.
    ///
    /// # Errors
    /// [`LinkError::Engine`] where there is no compiler for this machine.
    pub fn new(key: SecretKey, policy: Policy) -> Result<Self, LinkError> {
        Ok(Self { assembler: Assembler::new()?, key, policy })
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
        self.link_against(wasm, &Exports::none())
    }

    /// Links one module, also against domains that other extensions export.
    ///
    /// # Errors
    /// As [`link`](Self::link).
    pub fn link_against(&self, wasm: &[u8], exports: &Exports) -> Result<SignedImage, LinkError> {
        Ok(self.assembler.assemble(wasm, &self.policy, exports)?.sign(&self.key))
    }
}

/// The part of the linker that reads what strangers wrote: everything but the key. For a process of
/// its own that has nothing to lose.
pub struct Assembler {
    compiler: Compiler,
}

impl Assembler {
    /// An assembler for this machine.
    ///
    /// # Errors
    /// [`LinkError::Engine`] where there is no compiler for it.
    pub fn new() -> Result<Self, LinkError> {
        Ok(Self { compiler: Compiler::new()? })
    }

    /// Checks, resolves and compiles one module.
    ///
    /// # Errors
    /// The first reason to refuse it. See [`LinkError`].
    pub fn assemble(
        &self,
        wasm: &[u8],
        policy: &Policy,
        exports: &Exports,
    ) -> Result<UnsignedImage, LinkError> {
        let module = Module::read(wasm)?;
        let manifest = match module.manifests.as_slice() {
            [bytes] => Manifest::parse(bytes).map_err(|_| LinkError::BadManifest)?,
            [] => return Err(LinkError::NoManifest),
            several => return Err(LinkError::ManyManifests(several.len())),
        };
        let memory_pages = validate::validate(&module)?;
        let domains = resolve::domains(&manifest, policy)?;
        let resolved = resolve::resolve(&module, domains, exports)?;
        interfaces::check(&module, &manifest, &resolved.links, exports)?;
        ephemeral::check(&module, &resolved.interfaces)?;
        let code = self.compiler.compile(&export::encode(wasm, &module)?)?;

        let over = |_| too_large(code.len());
        let header = ImageHeader {
            compatibility: self.compiler.compatibility(),
            manifest_len: u32::try_from(manifest.as_bytes().len()).map_err(over)?,
            links_len: u16::try_from(resolved.links_bytes().len()).map_err(over)?,
            code_len: u32::try_from(code.len()).map_err(over)?,
            domains,
            memory_pages,
            wasm_code: u32::try_from(module.code_bytes()).map_err(over)?,
            source: Sha256::digest(wasm).into(),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(manifest.as_bytes());
        bytes.extend(resolved.links_bytes());
        bytes.extend_from_slice(&code);
        if bytes.len() + SIGNATURE_BYTES > IMAGE_BYTES {
            return Err(too_large(bytes.len()));
        }
        Ok(UnsignedImage(bytes))
    }
}

/// An image that nobody vouches for yet.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsignedImage(Vec<u8>);

impl UnsignedImage {
    /// Its bytes, to be taken to whoever has the key.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// What another process says is the image of `wasm`. Everything about it that can be checked here
    /// is: that it is an image, made for this runtime and processor, of these very bytes, with their own
    /// manifest, with no domain but those that the manifest asks for and `policy` grants, and linked
    /// against none but those granted in `exports`. Its code cannot be checked by anybody.
    ///
    /// # Errors
    /// A clause saying what does not fit.
    pub fn claimed(
        mut bytes: Vec<u8>,
        wasm: &[u8],
        policy: &Policy,
        exports: &Exports,
        compatibility: u64,
    ) -> Result<Self, &'static str> {
        let unsigned = bytes.len();
        bytes.extend_from_slice(&[0; SIGNATURE_BYTES]);
        let image = Image::parse(&bytes).map_err(|_| "it is not an image")?;
        let manifest = manifest_of(wasm).map_err(|_| "the module has no such manifest")?;
        let header = image.header;
        if header.compatibility != compatibility {
            return Err("it is for another runtime or processor");
        }
        if header.source[..] != Sha256::digest(wasm)[..] {
            return Err("it is another module's");
        }
        if image.manifest.as_bytes() != manifest.as_slice() {
            return Err("its manifest is not the module's");
        }
        let asked = image.manifest.domains().with(Domain::Core);
        if header.domains != asked || !policy.granted().contains_all(asked) {
            return Err("it has other domains than were granted");
        }
        let granted = |link: DomainDeclaration<'_>| {
            exports.find(link.name()).is_some_and(|(known, granted)| granted && known == link)
        };
        if !image.links.iter().all(granted) {
            return Err("it was linked against other domains than were granted");
        }
        bytes.truncate(unsigned);
        Ok(Self(bytes))
    }

    /// Puts the signature of this machine's linker behind it.
    pub fn sign(self, key: &SecretKey) -> SignedImage {
        let Self(mut bytes) = self;
        let signature = key.sign(&bytes);
        bytes.extend_from_slice(&signature);
        SignedImage(bytes)
    }
}

impl std::fmt::Debug for UnsignedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsignedImage({} bytes)", self.0.len())
    }
}

/// The manifest in a module, found without looking at anything else in it: what it asks for, before
/// any work is done for it. It is an allegation of the module's author as much as the rest.
///
/// # Errors
/// [`LinkError`]: no module, or not exactly one sound manifest.
pub fn manifest_of(wasm: &[u8]) -> Result<Vec<u8>, LinkError> {
    let mut found = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| LinkError::Malformed(error.to_string()))?;
        if let wasmparser::Payload::CustomSection(section) = payload
            && section.name() == SECTION
        {
            found.push(section.data());
        }
    }
    match found.as_slice() {
        [bytes] => match Manifest::parse(bytes) {
            Ok(_) => Ok(bytes.to_vec()),
            Err(_) => Err(LinkError::BadManifest),
        },
        [] => Err(LinkError::NoManifest),
        several => Err(LinkError::ManyManifests(several.len())),
    }
}

/// The domains of other extensions that a module wants to be linked against, by the names in its imports,
/// found without looking at anything else in it.
///
/// # Errors
/// [`LinkError`]: no module, or more domains than any module may have. Who reads on first would spend hours
/// on a module that names a million.
pub fn imported_domains(wasm: &[u8]) -> Result<Vec<String>, LinkError> {
    let malformed = |error: wasmparser::BinaryReaderError| LinkError::Malformed(error.to_string());
    let mut names: Vec<String> = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let wasmparser::Payload::ImportSection(imports) = payload.map_err(malformed)? {
            for import in imports.into_imports() {
                let import = import.map_err(malformed)?;
                if is_name(import.module) && !names.iter().any(|name| name == import.module) {
                    names.push(import.module.to_owned());
                    resolve::at_most_links(names.len())?;
                }
            }
        }
    }
    Ok(names)
}

/// What images must be compatible with to run on this machine, without a compiler.
///
/// # Errors
/// [`LinkError::Engine`].
pub fn compatibility() -> Result<u64, LinkError> {
    let engine = wasmtime::Engine::new(&spine_engine::config())
        .map_err(|error| LinkError::Engine(format!("{error:#}")))?;
    Ok(spine_engine::compatibility(&engine))
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
