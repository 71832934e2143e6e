//! `kill -9` at random moments, of the daemon, of an application, and of the daemon while it starts or links:
//! interfaces forward on, nothing stays behind, and a restart works at once.
//!
//! `SPINE_KILLS` is how often (default 6, for a machine that builds meanwhile; 100 take some minutes), `SPINE_SEED`
//! which moments.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use spine_client::Load;
use spine_tests::daemon::{Daemon, echo, wait_until};
use spine_tests::{Namespace, Running, Topology, need_namespaces};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Knuth's generator: enough for moments.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn sleep(&mut self, most: Duration) {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_micros(self.next(most)));
    }
}

/// Processes whose command line begins with this.
fn processes(name: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = all.filter(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.starts_with(name.as_bytes()))
    });
    named.map(|entry| entry.path()).collect()
}

/// Memory files of ours that any process has open or mapped.
fn memory_files() -> usize {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = |path: PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:spine"))
    };
    all.map(|process| {
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        open.filter(|entry| ours(entry.path())).count()
    })
    .sum()
}

fn has_xdp(namespace: &Namespace) -> bool {
    namespace.ip("-details link show").contains("xdp")
}

#[test]
fn whoever_is_killed_whenever_the_kernel_forwards_nothing_stays_and_a_restart_works_at_once() {
    let _alone = need_namespaces!();
    let kills = number("SPINE_KILLS", 6);
    let mut moments = Moments(number("SPINE_SEED", u64::from(std::process::id())));
    let seed = moments.0;
    let net = Topology::pair();
    let interfaces = ["client", "server"];
    let before = memory_files();
    let mut daemon = Daemon::start(net.router(), &interfaces);
    let wasm = echo(1, 0);
    for round in 0..kills {
        let what = format!("round {round} of seed {seed}");
        let file = daemon.file("echo.wasm", &wasm).to_string_lossy().into_owned();
        let load = ["load", &file, "--iface", "client", "--claim", "10.9.77.0/24"];
        let application = Running::start(daemon.ctl_command(None, &load));
        moments.sleep(Duration::from_millis(400));
        if round % 3 == 2 {
            // The application: its extension goes with it, or was never there.
            drop(application);
            let mut client = daemon.client();
            wait_until(&what, || client.extensions().is_ok_and(|all| all.is_empty()));
            continue;
        }
        // The daemon, while it links, serves or idles.
        let folder = daemon.kill();
        let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 5);
        assert_eq!(ping.answered, ping.sent, "{what}: the kernel forwards");
        assert!(!has_xdp(net.router()), "{what}: nothing stays attached");
        wait_until(&what, || processes("spined-linker").is_empty());
        drop(application);
        // Once more, while it starts: whatever it had made is gone.
        let folder = Daemon::kill_while_starting(net.router(), &interfaces, folder, || {
            moments.sleep(Duration::from_millis(600));
        });
        wait_until(&what, || !has_xdp(net.router()));
        let start = Instant::now();
        daemon = Daemon::start_again(net.router(), &interfaces, folder);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{what}: {took:?} to start again");
    }
    let mut client = daemon.client();
    let load = Load { interface: "client".to_owned(), ..Load::default() };
    client.load(&load, &wasm, &[]).expect("the last one serves");
    drop(client);
    daemon.stop().expect_success("spined");
    wait_until("memory files to go", || memory_files() <= before);
    assert!(!has_xdp(net.router()));
}
