//! A network namespace for one test: it belongs to the test's thread and goes with it.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs the test in a new network namespace with two interfaces, `spa` and `spb` (the ends of a
/// veth, both up, `spa` with 10.1.1.1/24). Says so and passes where namespaces are not allowed.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: a network namespace needs CAP_SYS_ADMIN ({error})");
            return;
        }
        run("ip link set lo up");
        run("ip link add spa address 02:00:00:00:00:0a type veth peer name spb");
        // Whatever IPv6 does by itself would only disturb.
        for name in ["spa", "spb"] {
            run(&format!("ip link set {name} addrgenmode none"));
            run(&format!("ip link set {name} up"));
        }
        run("ip addr add 10.1.1.1/24 dev spa");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in the namespace of the calling thread.
pub(crate) fn run(command: &str) {
    assert!(succeeds(command), "failed: {command}");
}

/// Runs a command, and says whether it succeeded.
pub(crate) fn succeeds(command: &str) -> bool {
    let shell = Command::new("sh").arg("-c").arg(command).output().expect("sh");
    if !shell.status.success() {
        eprintln!("{command}: {}", String::from_utf8_lossy(&shell.stderr).trim());
    }
    shell.status.success()
}
