//! Start, end, crash and return, with traffic flowing.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_client::signature::SecretKey;
use spine_fib::protocol::{FORWARD, SWAP, SWAPPED};
use spine_tests::iperf::{self, Direction, Tcp};
use spine_tests::{Namespace, Router, Topology, need_namespaces, router};

/// True if an XDP program is attached to any interface in the namespace.
fn has_xdp(namespace: &Namespace) -> bool {
    namespace.ip("-details link show").contains("xdp")
}

/// The longest time within a transfer in which nothing was sent.
fn longest_silence(tcp: &Tcp) -> Duration {
    let silences = tcp.intervals.split(|rate| *rate > 0.0).map(<[f64]>::len);
    Duration::from_millis(100)
        * u32::try_from(silences.max().unwrap_or_default()).unwrap_or(u32::MAX)
}

#[test]
fn a_tcp_connection_survives_a_killed_router_because_the_kernel_forwards() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let router = Router::start(net.router(), &net.interfaces());
    let transfer =
        iperf::start_tcp(net.host("client"), net.host("server"), &address, 4, Direction::ToServer);
    sleep(Duration::from_secs(2));
    let before = net.router().kernel_forwarded();
    router.kill();
    let tcp = transfer.finish_tcp();

    assert!(!has_xdp(net.router()), "the program outlived its process");
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel > 1000, "the kernel forwarded {by_kernel} packets after the kill");
    assert!(longest_silence(&tcp) < Duration::from_secs(1), "{:?}", tcp.intervals);
}

#[test]
fn a_router_started_again_during_a_transfer_takes_over() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let (client, server) = (net.host("client"), net.host("server"));
    let address = net.link("server").host_address();
    let router = Router::start(net.router(), &net.interfaces());
    let transfer = iperf::start_tcp(client, server, &address, 5, Direction::ToServer);
    sleep(Duration::from_millis(1500));
    // At once: the queues are still busy with the sockets of the dead process.
    router.kill();
    let router = Router::start(net.router(), &net.interfaces());
    // A reset would be an error of iperf3, which this does not take.
    let tcp = transfer.finish_tcp();
    let report = router.stop();

    assert!(report.forwarded() > 1000, "{report:?}");
    assert!(longest_silence(&tcp) < Duration::from_secs(1), "{:?}", tcp.intervals);
}

#[test]
fn an_orderly_end_leaves_the_interfaces_as_they_were() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let before = net.router().ip("-details link show");
    let address = net.link("server").host_address();
    let router = Router::start(net.router(), &net.interfaces());
    assert!(has_xdp(net.router()), "a router that is ready has a program attached");
    router.stop();
    assert_eq!(net.router().ip("-details link show"), before);
    let ping = spine_tests::ping::ping(net.host("client"), &address, 20);
    assert_eq!(ping.answered, ping.sent, "pings after the end");
}

#[test]
fn a_duration_ends_it() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let started = Instant::now();
    let finished = router::run_to_end(net.router(), &net.interfaces(), &["--duration", "1"])
        .expect_success("spine-router --duration 1");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(router::Report::parse(&finished.stdout).forwarded(), 0);
    assert!(!has_xdp(net.router()), "the program outlived its process");
}

#[test]
fn two_routers_cannot_have_the_same_interface() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let first = Router::start(net.router(), &net.interfaces());
    let second = router::run_to_end(net.router(), &net.interfaces(), &[]);
    assert!(!second.status.success(), "the second one ran: {}", second.stdout);
    let address = net.link("server").host_address();
    let ping = spine_tests::ping::ping(net.host("client"), &address, 20);
    assert_eq!(ping.answered, ping.sent, "pings through the first one");
    assert!(first.stop().forwarded() >= 40);
}

/// An extension that acknowledges the router's tables, and traps on every packet.
fn trapping_extension() -> Vec<u8> {
    let handler = |number: HandlerNumber| HandlerDeclaration { number, prefix: 0, writeback: 0 };
    const LENGTH: usize = FIXED_BYTES + 2 * HANDLER_BYTES;
    let domains = Domains::CORE.with(Domain::Host);
    let manifest: [u8; LENGTH] = build("traps", domains, 1, &[handler(FORWARD), handler(SWAP)]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let acknowledgement = SWAPPED.0;
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (import "spine:host" "send" (func $send (param i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (local $slot i32)
                (loop $again
                    (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
                    (if (i32.eqz (local.get $slot)) (then (return)))
                    (if (i32.load8_u offset=2 (local.get $slot)) (then (unreachable)))
                    (i32.store16 (local.get $slot) (i32.const {acknowledgement}))
                    (drop (call $send (local.get $slot)))
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#
    );
    wat::parse_str(text).expect("a module")
}

#[test]
fn a_router_whose_extension_was_unloaded_ends_and_leaves_the_packets_to_the_kernel() {
    let _alone = need_namespaces!();
    let folder = tempfile::tempdir().expect("a folder");
    let (wasm, keys) = (folder.path().join("traps.wasm"), folder.path().join("keys"));
    let author = SecretKey::generate().expect("randomness");
    fs::write(&wasm, trapping_extension()).expect("written");
    fs::write(&keys, format!("{}\n", author.public().to_line())).expect("written");
    author.sign_file(&wasm).expect("signed");
    let (wasm, keys) = (wasm.display().to_string(), keys.display().to_string());

    let net = Topology::pair();
    let address = net.link("server").host_address();
    let options = ["--extension", &wasm, "--trust", &keys];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    // A strike each; more than are allowed. What comes after the last strike is the kernel's.
    let (strikes, more) = (spine_abi::limits::STRIKES, 30);
    let ping = spine_tests::ping::ping(net.host("client"), &address, strikes + more);
    assert!(ping.answered <= more, "{ping:?}");
    let finished = router.ends(Duration::from_secs(10));
    assert!(!finished.status.success(), "{}", finished.stdout);
    let said = "its extension was unloaded: its handlers trapped, 100 times within a minute";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
    assert!(!has_xdp(net.router()), "the program outlived its process");
    let ping = spine_tests::ping::ping(net.host("client"), &address, 20);
    assert_eq!(ping.answered, ping.sent, "pings after the end");
}

/// A router that speaks into a pipe, and both ends of that, read as far as "ready".
fn start_speaking_into_a_pipe(
    net: &Topology,
) -> (Child, BufReader<io::PipeReader>, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let interfaces = ["--json", "--iface", "client", "--iface", "server"];
    let mut command = net.router().command(&router::binary().to_string_lossy(), &interfaces);
    let theirs = writer.try_clone().expect("another descriptor");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(theirs).spawn();
    let child = child.expect("started");
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while line.trim() != "ready" {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a line") > 0, "it ended before it was ready");
    }
    (child, reader, writer)
}

/// Fills a pipe, and says with how many bytes. By a description of its own: whoever else writes there would not wait, either.
fn fill(pipe: &io::PipeWriter) -> usize {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut own = fs::File::options()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .expect("the pipe");
    let mut filled = 0;
    while let Ok(written) = own.write(&[b'x'; 4096]) {
        filled += written;
    }
    filled
}

/// Switches forwarding off and on again, which a router has a sentence for each time if it follows.
fn make_it_speak(net: &Topology) {
    for value in ["0", "1", "0", "1"] {
        net.router().sysctl("ipv4/conf/client/forwarding", value);
        sleep(Duration::from_millis(200));
    }
}

/// Pings pass, and are the router's.
fn forwards(net: &Topology) {
    let before = net.router().kernel_forwarded();
    let ping = spine_tests::ping::ping(net.host("client"), &net.link("server").host_address(), 20);
    assert_eq!(ping.answered, ping.sent, "pings through a router whose words are lost");
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel < 40, "the router does not forward any more");
}

/// Ends it as Ctrl-C does: it has lived so long, and has a report.
fn end(child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("it still runs");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", output.status);
    assert!(router::Report::parse(&String::from_utf8_lossy(&output.stdout)).forwarded() > 0);
}

#[test]
fn a_router_whose_words_nobody_hears_goes_on() {
    let _alone = need_namespaces!();
    let net = Topology::pair();

    // Nobody reads any more.
    let (child, reader, writer) = start_speaking_into_a_pipe(&net);
    drop((reader, writer));
    make_it_speak(&net);
    forwards(&net);
    end(child);

    // Somebody could and does not, and then reads on.
    let (child, mut reader, writer) = start_speaking_into_a_pipe(&net);
    let filled = fill(&writer);
    drop(writer);
    make_it_speak(&net);
    forwards(&net);
    reader.read_exact(&mut vec![0; filled]).expect("what stands in the pipe");
    make_it_speak(&net);
    end(child);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("what it said since");
    assert!(rest.contains("lines were lost here: nobody took them"), "{rest}");
}
