//! What `spined` and its linker's process may still do, and what the service manager hears.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use spine_tests::daemon::{self, Daemon};
use spine_tests::{Topology, need_namespaces};

/// A line of a `status` file in `/proc`.
fn status(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[test]
fn a_daemon_that_serves_keeps_five_capabilities_and_no_way_to_change_the_machine() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    // CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN, CAP_BPF: linux/capability.h.
    let kept: u64 = [5, 6, 7, 12, 39].into_iter().map(|bit| 1_u64 << bit).sum();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("threads");
    let mut threads = 0;
    for task in tasks.flatten() {
        let text = std::fs::read_to_string(task.path().join("status")).expect("a thread");
        for set in ["CapEff", "CapPrm"] {
            let mask = u64::from_str_radix(&status(&text, set), 16).expect("a mask");
            assert_eq!(mask & !kept, 0, "{set} of {}", status(&text, "Name"));
        }
        assert_eq!(status(&text, "CapInh"), "0000000000000000");
        assert_eq!(status(&text, "NoNewPrivs"), "1");
        assert_eq!(status(&text, "Seccomp"), "2", "{}", status(&text, "Name"));
        threads += 1;
    }
    assert!(threads >= 4, "the server, a processor, and those for messages: {threads}");
}

#[test]
fn the_linkers_process_gives_everything_up_before_it_reads_and_does_not_run_as_root() {
    let _alone = need_namespaces!();
    let program = daemon::program("spined");
    let root = Command::new(&program).args(["link", "63", ""]).stdin(Stdio::null()).output();
    let root = root.expect("it runs");
    assert_eq!(root.status.code(), Some(11), "{root:?}");
    assert!(String::from_utf8_lossy(&root.stdout).contains("still belongs to root"));

    let mut command = Command::new(&program);
    command.args(["link", "63", ""]).env_clear().uid(65534).gid(65534);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs as nobody");
    let process = format!("/proc/{}", child.id());
    let confined = || {
        let text = std::fs::read_to_string(format!("{process}/status")).expect("it waits");
        (status(&text, "Seccomp") == "2").then_some(text)
    };
    let text = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        confined()
    });
    let text = text.expect("a filter within five seconds");
    assert_eq!(status(&text, "CapEff"), "0000000000000000");
    assert_eq!(status(&text, "NoNewPrivs"), "1");
    assert_eq!(status(&text, "Groups"), "");
    let limits = std::fs::read_to_string(format!("{process}/limits")).expect("limits");
    for (name, most) in [("Max open files", "0"), ("Max processes", "0"), ("Max cpu time", "10")] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        assert_eq!(line.split_whitespace().next(), Some(most), "{name}");
    }
    // Four bytes of length, nothing that others export, and nothing of a module.
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&[0; 4]).expect("it reads");
    drop(input);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(10), "{ended:?}");
    let sentence = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(sentence.contains("not a WebAssembly module"), "{sentence}");
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_that_it_lives_and_that_it_ends() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let environment = [
        ("NOTIFY_SOCKET", path.to_string_lossy().into_owned()),
        ("WATCHDOG_USEC", "400000".to_owned()),
    ];
    let hear = || {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let daemon = Daemon::start_in(net.router(), &["client"], &environment);
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");
    daemon.stop().expect_success("spined");
    assert!((0..100).any(|_| hear() == "STOPPING=1"));
}

#[test]
fn the_unit_is_one_that_the_service_manager_understands() {
    let unit = include_str!("../../tools/spined/systemd/spined.service");
    let program = daemon::program("spined");
    let here = unit.replace("/usr/sbin/spined", &program.to_string_lossy());
    assert_ne!(here, unit, "it starts spined");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("spined.service");
    std::fs::write(&file, here).expect("written");
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        return println!("skipped: there is no systemd-analyze");
    };
    // What it says of other units on this machine is none of our business.
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("spined.service")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
