//! Bad use: one sentence that says what is wrong, an exit that says so, and nothing attached.

use std::time::Duration;

use spine_tests::process::Finished;
use spine_tests::{Running, Topology, need_namespaces, router};

/// What is wrong with an end of `spine-router` as an answer to bad use; it must contain all of `words`.
fn fault(net: &Topology, finished: &Finished, words: &[&str]) -> Option<String> {
    let said = finished.stderr.trim();
    if finished.status.success() {
        return Some(String::from("it succeeded"));
    }
    if finished.status.code().is_none() || said.contains("panicked") {
        return Some(format!("it crashed: {}: {said}", finished.status));
    }
    if said.contains("ready") {
        return Some(format!("it was ready first: {said}"));
    }
    if let Some(word) = words.iter().find(|word| !said.contains(**word)) {
        return Some(format!("it does not say {word:?}: {said}"));
    }
    let links = net.router().ip("-details link show");
    links.contains("xdp").then(|| format!("a program is attached: {links}"))
}

/// A name, the arguments, and words that the answer must contain.
const CASES: &[(&str, &[&str], &[&str])] = &[
    ("no interface", &[], &["--iface"]),
    ("only one interface", &["--iface", "client"], &["two"]),
    ("no such interface", &["--iface", "client", "--iface", "nosuch0"], &["nosuch0"]),
    ("an interface twice", &["--iface", "client", "--iface", "client"], &["client", "twice"]),
    (
        "a core that does not exist",
        &["--iface", "client", "--iface", "server", "--cores", "4095"],
        &["4095"],
    ),
    (
        "a run that is longer than time",
        &["--iface", "client", "--iface", "server", "--duration", "1e19"],
        &["--duration", "at most"],
    ),
    ("an unknown option", &["--interface", "client"], &["--interface"]),
];

/// Runs the router with these arguments, and says what is wrong with its answer.
fn answer(net: &Topology, arguments: &[&str], words: &[&str]) -> Option<String> {
    let command = net.router().command(&router::binary().to_string_lossy(), arguments);
    fault(net, &Running::start(command).finish(Duration::from_secs(10)), words)
}

#[test]
fn bad_use_gets_a_sentence_before_anything_is_attached() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|(name, arguments, words)| {
            Some(format!("{name}: {}", answer(&net, arguments, words)?))
        })
        .collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn an_extension_that_cannot_be_trusted_is_refused() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("the folder is writable");
        path.to_string_lossy().into_owned()
    };
    // The encoded base point of the curve: a valid key, though nobody's.
    let key = format!("spine-public-key 58{}\n", "66".repeat(31));
    let (keys, no_keys) = (file("author.pub", key.as_bytes()), file("no.pub", b"nothing\n"));
    let unsigned = file("unsigned.wasm", b"\0asm\x01\0\0\0");
    let missing = folder.path().join("missing").to_string_lossy().into_owned();
    let cases = [
        ("not there", &missing, Some(&keys), missing.as_str()),
        ("unsigned", &unsigned, Some(&keys), "unsigned"),
        ("nobody trusted", &unsigned, None, "--trust"),
        ("no key file", &unsigned, Some(&missing), missing.as_str()),
        ("a key file without keys", &unsigned, Some(&no_keys), no_keys.as_str()),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, extension, keys, word)| {
            let mut arguments =
                vec!["--iface", "client", "--iface", "server", "--extension", extension];
            arguments.extend(keys.iter().flat_map(|keys| ["--trust", keys]));
            Some(format!("{name}: {}", answer(&net, &arguments, &[word])?))
        })
        .collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_missing_capability_is_named() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let program = router::binary().to_string_lossy();
    let mut wrong = Vec::new();
    for capability in ["net_admin", "bpf"] {
        let without = format!("-{capability},-sys_admin");
        let arguments = [
            "--bounding-set",
            &without,
            "--inh-caps",
            &without,
            &program,
            "--iface",
            "client",
            "--iface",
            "server",
        ];
        let command = net.router().command("setpriv", &arguments);
        let finished = Running::start(command).finish(Duration::from_secs(10));
        let name = format!("CAP_{}", capability.to_uppercase());
        if let Some(fault) = fault(&net, &finished, &[&name]) {
            wrong.push(format!("without {name}: {fault}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_program_that_is_already_attached_is_named_and_left_alone() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let mut other = net.router().spawn(&format!(
        "{} --left client --right server --left-hop 02:00:00:09:01:02 \
         --right-hop 02:00:00:09:02:02 --core 0",
        env!("CARGO_BIN_EXE_bare-forwarder")
    ));
    other.wait_for("ready", Duration::from_secs(5));
    let attached = net.router().ip("-details link show client");
    let id = attached
        .split_once("prog/xdp id ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("no program in {attached}"));

    let finished = router::run_to_end(net.router(), &net.interfaces(), &[]);
    assert!(!finished.status.success(), "it ran: {}", finished.stdout);
    assert!(finished.stderr.contains(id), "it does not name program {id}: {}", finished.stderr);
    assert_eq!(net.router().ip("-details link show client"), attached);
}
