//! A network namespace of its own for each test, which goes when the test's thread ends.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// Runs a test in a new network namespace; without root it is skipped, and says so.
pub(crate) fn run(test: impl FnOnce() + Send + 'static) {
    if !geteuid().is_root() {
        eprintln!("skipped: network namespaces and raw sockets need root");
        return;
    }
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        // Router solicitations would be received among the tests' packets.
        for interfaces in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6");
            // A kernel without IPv6 has no such file, and sends none.
            let _ = std::fs::write(path, "1");
        }
        test();
    };
    if let Err(panic) = std::thread::spawn(inside).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these arguments, in the thread's namespace, and answers what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is there");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("ip prints text")
}

/// Makes a veth pair of these names, both ends up, with packets of up to 3000 bytes; `one` has the
/// address `02:00:00:00:00:<first>`, the other the next.
pub(crate) fn veth(one: &str, other: &str, first: u8) {
    ip(&format!(
        "link add {one} mtu 3000 address 02:00:00:00:00:{first:02x} numrxqueues 1 numtxqueues 1 \
         type veth peer name {other} mtu 3000 address 02:00:00:00:00:{:02x} numrxqueues 1 \
         numtxqueues 1",
        first + 1
    ));
    for name in [one, other] {
        ip(&format!("link set {name} up"));
    }
    for name in [one, other] {
        await_up(name);
    }
}

/// Waits until an interface is in operation: before that the kernel's queue discipline drops all.
pub(crate) fn await_up(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ip(&format!("-br link show dev {name}")).contains(" UP ") {
        assert!(Instant::now() < deadline, "{name} does not come up");
        std::thread::sleep(Duration::from_millis(2));
    }
}
