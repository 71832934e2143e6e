//! Every module in `tests/linker` is accepted or refused as its first lines say.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use spine_abi::declaration::DomainDeclaration;
use spine_abi::interface::{Domain, Domains};
use spine_client::signature::SecretKey;
use spine_os::domain::{Exports, Policy};
use spine_os::linker::Linker;

mod common;

/// What a file says must happen to it.
struct Case {
    name: String,
    accept: bool,
    message: Option<String>,
    policy: Policy,
    exports: Exports,
    wasm: Vec<u8>,
}

fn read(path: &Path) -> Case {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let header = |key: &str| {
        let start = format!(";; {key}: ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
    };
    let domains = |key: &str| {
        header(key).map(|list| {
            list.split(", ").fold(Domains::default(), |set, domain| {
                set.with(Domain::from_name(domain).unwrap_or_else(|| panic!("{name}: {domain}")))
            })
        })
    };
    let mut wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    if header("manifest").is_none() {
        let domains = domains("domains").unwrap_or(Domains::CORE);
        let exported = header("exports").map(|text| common::declaration(&text).0);
        common::add_manifest_exporting(&mut wasm, domains, &exported.unwrap_or_default());
    }
    let verdict = header("verdict").unwrap_or_else(|| panic!("{name}: no verdict"));
    assert!(verdict == "accept" || verdict == "refuse", "{name}: verdict {verdict}");
    let accept = verdict == "accept";
    assert_eq!(header("message").is_none(), accept, "{name}: a refusal has a message");
    let mut exports = Exports::none();
    for line in text.lines() {
        for (start, granted) in [(";; loaded: ", true), (";; ungranted: ", false)] {
            if let Some(text) = line.strip_prefix(start) {
                let (declaration, links) = common::declaration(text);
                let declaration = DomainDeclaration::parse(&declaration);
                let declaration = declaration.unwrap_or_else(|_| panic!("{name}: {text}"));
                exports = exports.with_domain(&declaration, links, granted);
            }
        }
    }
    Case {
        exports,
        accept,
        message: header("message"),
        policy: Policy::grant(domains("policy").unwrap_or(Domains::all())),
        name,
        wasm,
    }
}

#[test]
fn every_module_is_accepted_or_refused_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/linker");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    files.sort();
    assert!(files.len() >= 100, "only {} modules found", files.len());

    let mut wrong = Vec::new();
    for case in files.iter().map(|path| read(path)) {
        let linker = Linker::new(SecretKey::from_seed(&[7; 32]), case.policy).unwrap();
        match (linker.link_against(&case.wasm, &case.exports), &case.message) {
            (Ok(image), None) => assert!(image.parts().is_ok(), "{}", case.name),
            (Err(error), Some(message)) if error.to_string().contains(message) => {
                println!("{}: {error}", case.name);
            }
            (Ok(_), Some(_)) => wrong.push(format!("{}: accepted", case.name)),
            (Err(error), _) => wrong.push(format!(
                "{}: to be {}, and the linker says: {error}",
                case.name,
                if case.accept { "accepted" } else { "refused with the message" }
            )),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
