//! `spined`: an extension of one user that is linked against another user's.

use std::time::{Duration, Instant};

use spine_tests::daemon::Daemon;
use spine_tests::{Topology, need_namespaces};

/// Users without privileges: one may be linked against root's domain, one may not.
const FRIEND: u32 = 65534;
const STRANGER: u32 = 65533;

#[test]
fn the_policy_says_who_is_linked_against_whose_domain() {
    let _alone = need_namespaces!();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
    let module = |package: &str| {
        let path =
            spine_wasm_build::build(package, &folder).unwrap_or_else(|error| panic!("{error}"));
        std::fs::read(path).expect("the module")
    };
    let net = Topology::pair();
    let grant = |user: u32, more: &str| {
        format!(
            "[[grant]]\nuser = {user}\ninterfaces = [\"client\"]\ndomains = [\"host\", \"kernel\"]\n{more}\n"
        )
    };
    let policy =
        grant(FRIEND, "links = [\"root:flow\"]") + &grant(STRANGER, "exports = [\"sums\"]");
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy);
    let flows = daemon.file("flows.wasm", &module("spine-flows"));
    let heavy = daemon.file("heavy.wasm", &module("spine-heavy"));
    let load = |user: Option<u32>, file: &std::path::Path, interface: &str| {
        daemon.ctl_as(user, &["load", &file.to_string_lossy(), "--iface", interface, "--keep"])
    };
    let refused = |user, file, interface, sentence: &str| {
        let answer = load(user, file, interface);
        assert!(!answer.status.success() && answer.stderr.contains(sentence), "{answer:?}");
        assert!(!answer.stderr.contains('\n'), "one sentence: {answer:?}");
    };
    refused(Some(FRIEND), &heavy, "client", "a domain `flow` would be another extension's");
    refused(Some(FRIEND), &flows, "client", "let nobody export a domain flow on client");
    refused(Some(STRANGER), &flows, "client", "let user 65533 export a domain flow on client");

    let exporter = load(None, &flows, "client").expect_success("flows").stdout.trim().to_owned();
    refused(Some(STRANGER), &heavy, "client", "link against the domain flow of user 0 on client");
    // What is loaded on one interface is not there on the next.
    refused(None, &heavy, "server", "a domain `flow` would be another extension's");
    refused(None, &flows, "client", "on adapter client flows does");
    let importer =
        load(Some(FRIEND), &heavy, "client").expect_success("heavy").stdout.trim().to_owned();
    let listed = daemon.ctl(&["extensions"]).expect_success("extensions").stdout;
    assert!(listed.contains("core,host,kernel,flow"), "{listed}");

    // Root's is needed by somebody now.
    let kept = daemon.ctl(&["unload", &exporter]);
    let sentence =
        format!("extension {importer} (heavy) is linked against what {exporter} (flows)");
    assert!(kept.stderr.contains(&sentence), "{kept:?}");
    daemon.ctl_as(Some(FRIEND), &["unload", &importer]).expect_success("the importer");
    daemon.ctl(&["unload", &exporter]).expect_success("the exporter");

    // An exporter whose application ends takes even what another user keeps with it.
    let mut client = daemon.client();
    let request =
        spine_client::Load { interface: "client".to_owned(), ..spine_client::Load::default() };
    client.load(&request, &std::fs::read(&flows).expect("the module"), &[]).expect("loaded");
    load(Some(FRIEND), &heavy, "client").expect_success("heavy");
    drop(client);
    let end = Instant::now() + Duration::from_secs(10);
    let mut watcher = daemon.client();
    while !watcher.extensions().expect("a list").is_empty() {
        assert!(Instant::now() < end, "they are still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    load(None, &flows, "client").expect_success("flows again");
    daemon.stop().expect_success("spined");
}
