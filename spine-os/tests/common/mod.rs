//! What the linker's tests share.

#![allow(dead_code, reason = "each test binary uses its part")]

use spine_abi::HandlerNumber;
use spine_abi::interface::Domains;
use spine_abi::manifest::{self, HandlerDeclaration, SECTION};
use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _};

pub(crate) mod sys;

const ONE_HANDLER: usize = manifest::FIXED_BYTES + manifest::HANDLER_BYTES;

/// A manifest of one handler that asks for `domains`.
pub(crate) fn manifest(domains: Domains) -> [u8; ONE_HANDLER] {
    let handler = HandlerDeclaration { number: HandlerNumber(1), prefix: 64, writeback: 34 };
    manifest::build("case", domains, 0, &[handler])
}

/// Appends the custom section with that manifest to a module.
pub(crate) fn add_manifest(wasm: &mut Vec<u8>, domains: Domains) {
    let data = manifest(domains);
    let section = CustomSection { name: SECTION.into(), data: data.as_slice().into() };
    wasm.push(section.id());
    section.encode(wasm);
}

/// A module in the text format, with its manifest.
pub(crate) fn module(text: &str, domains: Domains) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).expect("the test's own module");
    add_manifest(&mut wasm, domains);
    wasm
}
