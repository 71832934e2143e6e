//! The router for somebody without root: in a user namespace, where there is AF_PACKET and no AF_XDP.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use spine_tests::router::{self, Report};
use spine_tests::{Running, need, need_namespaces};

/// Somebody without any privileges (Debian's `nobody`).
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A router between two hosts, and pings; the router's report is the last line of the output.
const SCRIPT: &str = r#"
    set -e
    mount -t tmpfs tmpfs /run
    for name in client router server; do ip netns add $name; done
    ip netns exec router sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
    net=1
    for name in client server; do
        ip -n router link add $name type veth peer name eth netns $name
        ip -n router address add 10.9.$net.1/24 dev $name
        ip -n router link set $name up
        ip -n $name address add 10.9.$net.2/24 dev eth
        ip -n $name link set eth up
        ip -n $name route add default via 10.9.$net.1
        net=2
    done
    ip netns exec router "$0" --nic "$1" --json --iface client --iface server \
        >/run/report 2>/run/said &
    router=$!
    for try in $(seq 200); do
        grep -q ready /run/said && break
        kill -0 $router || break
        sleep 0.1
    done
    ip netns exec client ping -q -c 1 10.9.2.2 >/dev/null || true
    # The kernel knows the neighbours now; the router has 100 ms to hear of them.
    sleep 0.5
    ip netns exec client ping -q -c 20 -i 0.01 10.9.2.2 || true
    kill -INT $router || true
    wait $router || echo "the router failed"
    cat /run/said /run/report
"#;

/// Runs a script as root of a user namespace that nobody in particular made.
fn in_user_namespace(script: &str, arguments: &[&str]) -> spine_tests::process::Finished {
    let mut command = Command::new("setpriv");
    command.args(NOBODY).args(["unshare", "--user", "--map-root-user", "--mount", "--net"]);
    command.args(["sh", "-c", script]).args(arguments);
    Running::start(command).finish(Duration::from_secs(60))
}

/// Leaves the test, saying why, where nobody but root may make user namespaces.
macro_rules! need_user_namespaces {
    () => {
        let tried = in_user_namespace("mount -t tmpfs tmpfs /run", &[]);
        if !tried.status.success() {
            return need::say_skipped("rootless", &tried.stderr);
        }
    };
}

/// The router where anybody may run it.
fn public_copy() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("the folder is ours");
    let copy = folder.path().join("spine-router");
    fs::copy(router::binary(), &copy).expect("the folder is writable");
    let path = copy.to_string_lossy().into_owned();
    (folder, path)
}

#[test]
fn somebody_without_root_forwards_on_af_packet_and_is_told_so() {
    let _alone = need_namespaces!();
    need_user_namespaces!();
    let (_folder, program) = public_copy();
    let finished = in_user_namespace(SCRIPT, &[&program, "auto"]);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains("20 packets transmitted, 20 received"), "{said}");
    assert!(said.contains("AF_PACKET is used, since there is no AF_XDP here"), "{said}");
    let report = Report::parse(finished.stdout.lines().last().unwrap_or_default());
    assert_eq!(report.mode("client"), "lanai model at full speed over af_packet");
    // The very first ping may wait for neighbours, and be the kernel's.
    assert!((40..=42).contains(&report.forwarded()), "{said}");
}

#[test]
fn af_xdp_is_refused_there_with_a_sentence() {
    let _alone = need_namespaces!();
    need_user_namespaces!();
    let (_folder, program) = public_copy();
    let finished = in_user_namespace(SCRIPT, &[&program, "xdp"]);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains("the router failed") && !said.contains("ready"), "{said}");
    assert!(said.contains("inside a user namespace"), "{said}");
    // And the kernel goes on.
    assert!(said.contains("20 packets transmitted, 20 received"), "{said}");
}
