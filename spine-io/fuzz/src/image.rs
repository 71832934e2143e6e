//! An image, which reaches the adapter before its signature is checked.

use spine_abi::HandlerNumber;
use spine_abi::image::{FIXED_BYTES, Image, ImageHeader, SIGNATURE_BYTES};
use spine_abi::interface::Domains;
use spine_abi::manifest::{HandlerDeclaration, Manifest, build};

/// Finds the parts of an image, and checks that they are what the bytes say.
pub fn run(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        look_at(&manifest);
    }
    let Ok(image) = Image::parse(data) else { return };
    look_at(&image.manifest);
    assert_eq!(image.header.to_bytes(), data[..FIXED_BYTES]);
    assert_eq!(image.manifest.as_bytes().len(), image.header.manifest_len as usize);
    assert_eq!(image.code.len(), image.header.code_len as usize);
    assert_eq!(image.signed.len() + image.signature.len(), data.len());
    assert_eq!([image.signed, image.signature].concat(), data);
}

fn look_at(manifest: &Manifest<'_>) {
    assert!(manifest.slot_stride() >= 256);
    assert!(manifest.regions() <= spine_abi::limits::REGIONS);
    assert!(manifest.name().len() <= spine_abi::limits::NAME_BYTES);
    for handler in manifest.handlers() {
        assert!(usize::from(handler.prefix) <= spine_abi::limits::PREFIX_BYTES);
        assert!(handler.writeback <= handler.prefix);
    }
    let domains = manifest.domains();
    assert_eq!(domains.iter().fold(Domains(0), Domains::with).0 & !domains.0, 0);
}

/// A small image, and its manifest alone.
pub fn seeds() -> Vec<Vec<u8>> {
    const HANDLERS: [HandlerDeclaration; 2] = [
        HandlerDeclaration { number: HandlerNumber(1), prefix: 64, writeback: 64 },
        HandlerDeclaration { number: HandlerNumber(2), prefix: 0, writeback: 0 },
    ];
    use spine_abi::manifest::{FIXED_BYTES as MANIFEST_BYTES, HANDLER_BYTES};
    let manifest: [u8; MANIFEST_BYTES + 2 * HANDLER_BYTES] =
        build("seed", Domains::CORE, 1, &HANDLERS);
    let code = [0x5a; 40];
    let header = ImageHeader {
        links_len: 0,
        compatibility: 7,
        manifest_len: u32::try_from(manifest.len()).expect("small"),
        code_len: u32::try_from(code.len()).expect("small"),
        domains: Domains::CORE,
        memory_pages: 1,
        wasm_code: 700,
        source: [3; 32],
    };
    let mut image = header.to_bytes().to_vec();
    image.extend(manifest);
    image.extend(code);
    image.extend([0; SIGNATURE_BYTES]);
    vec![image, manifest.to_vec()]
}
