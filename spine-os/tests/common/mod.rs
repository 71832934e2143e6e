//! What the linker's tests share.

#![allow(dead_code, reason = "each test binary uses its part")]

use spine_abi::HandlerNumber;
use spine_abi::declaration::{self, InterfaceDeclaration, Signature};
use spine_abi::interface::{Domains, Value};
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
    add_manifest_exporting(wasm, domains, &[]);
}

/// The same, with the declaration of the domain that the module exports.
pub(crate) fn add_manifest_exporting(wasm: &mut Vec<u8>, domains: Domains, exports: &[u8]) {
    let mut data = manifest(domains).to_vec();
    data[14..16].copy_from_slice(&u16::try_from(exports.len()).expect("short").to_le_bytes());
    data.extend_from_slice(exports);
    let section = CustomSection { name: SECTION.into(), data: data.as_slice().into() };
    wasm.push(section.id());
    section.encode(wasm);
}

/// A declaration from text: `DOMAIN | INTERFACE i64 i32 -> i64 | INTERFACE`; and the domains after
/// `| links`.
pub(crate) fn declaration(text: &str) -> (Vec<u8>, Vec<String>) {
    let value = |text: &str| match text {
        "i32" => Value::I32,
        "i64" => Value::I64,
        other => panic!("{other} is no number"),
    };
    let mut parts = text.split(" | ");
    let domain = parts.next().expect("a name");
    let (mut bytes, mut links) = (vec![0; declaration::FIXED_BYTES], Vec::new());
    for part in parts {
        if let Some(list) = part.strip_prefix("links ") {
            links = list.split(", ").map(str::to_owned).collect();
            continue;
        }
        let (left, result) = part.split_once(" -> ").map_or((part, None), |(l, r)| (l, Some(r)));
        let mut words = left.split(' ');
        let name = words.next().expect("a name");
        let parameters: Vec<Value> = words.map(value).collect();
        let signature = Signature::new(&parameters, result.map(value));
        let one: [u8; declaration::length(1)] =
            declaration::build(domain, &[InterfaceDeclaration { name, signature }]);
        let (head, interface) = one.split_at(declaration::FIXED_BYTES);
        let count = (bytes.len() - declaration::FIXED_BYTES) / declaration::INTERFACE_BYTES + 1;
        bytes[..head.len()].copy_from_slice(head);
        bytes[32] = u8::try_from(count).expect("few");
        bytes.extend_from_slice(interface);
    }
    (bytes, links)
}

/// A module in the text format, with its manifest.
pub(crate) fn module(text: &str, domains: Domains) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).expect("the test's own module");
    add_manifest(&mut wasm, domains);
    wasm
}
