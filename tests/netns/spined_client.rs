//! The communication library and the command line, as an application and a person use them.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_client::memory::Region;
use spine_client::{ClientError, Event, Load};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo};
use spine_tests::{Topology, need_namespaces};

const PATIENCE: Duration = Duration::from_secs(10);
const REGION: usize = 64 << 10;
/// The handler that sums bytes, and what it answers to.
const SUM: u16 = 3;
const SUMMED: u16 = 4;

fn load() -> Load {
    Load { interface: "client".to_owned(), ..Load::default() }
}

/// An extension that answers a bulk message with the sum of its bytes, which are in the region.
fn summing() -> Vec<u8> {
    let domains = Domains::CORE.with(Domain::Host);
    let handler = HandlerDeclaration { number: HandlerNumber(SUM), prefix: 0, writeback: 0 };
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] = build("summing", domains, 1, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (import "spine:core" "region" (func $find (param i32) (result i64)))
            (import "spine:host" "send" (func $send (param i32) (result i32)))
            (memory (export "memory") 1)
            (global (export "__stack_pointer") (mut i32) (i32.const 8192))
            (global $region (mut i32) (i32.const 0))
            (func (export "init")
                (global.set $region (i32.wrap_i64 (call $find (i32.const 0)))))
            (func (export "run") (local $slot i32) (local $at i32) (local $end i32) (local $sum i32)
                (loop $again
                    (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
                    (if (i32.eqz (local.get $slot)) (then (return)))
                    ;; Arguments: offset and length.
                    (local.set $at
                        (i32.add (global.get $region) (i32.load offset=16 (local.get $slot))))
                    (local.set $end
                        (i32.add (local.get $at) (i32.load offset=20 (local.get $slot))))
                    (local.set $sum (i32.const 0))
                    (block $done (loop $byte
                        (br_if $done (i32.eq (local.get $at) (local.get $end)))
                        (local.set $sum
                            (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                        (local.set $at (i32.add (local.get $at) (i32.const 1)))
                        (br $byte)))
                    (i32.store16 (local.get $slot) (i32.const {SUMMED}))
                    (i32.store16 offset=6 (local.get $slot) (i32.const 4))
                    (i32.store offset=16 (local.get $slot) (local.get $sum))
                    (drop (call $send (local.get $slot)))
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn bulk_data_is_all_there_when_its_handler_runs_and_installed_handlers_hear_the_answers() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let region = Region::create("bulk", REGION).expect("a region");
    let number = client.load(&load(), &summing(), &[&region]).expect("loaded").number;
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    client.on(number, SUMMED, move |arguments| {
        let sum = arguments.try_into().map(u32::from_le_bytes).expect("four bytes");
        hears.borrow_mut().push(sum);
    });
    let mut sums = Vec::new();
    for round in 0_u32..50 {
        // Another place each time, and other bytes.
        let data: Vec<u8> = (0..100 + round).map(|byte| byte.to_le_bytes()[0] ^ 0x5a).collect();
        let sum = data.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        client.send_bulk(number, SUM, &region, 1000 * round, &data).expect("sent");
        sums.push(sum);
    }
    let end = Instant::now() + PATIENCE;
    while heard.borrow().len() < sums.len() {
        // Each goes to its handler, so none of them comes back.
        let event = client.receive(Duration::from_millis(10)).expect("served");
        assert_eq!(event, None);
        assert!(Instant::now() < end, "{} of {}", heard.borrow().len(), sums.len());
    }
    assert_eq!(*heard.borrow(), sums);

    let beyond = u32::try_from(REGION).expect("small") - 3;
    let outside = client.send_bulk(number, SUM, &region, beyond, &[1; 4]);
    assert!(matches!(outside, Err(ClientError::Bulk(_))), "{outside:?}");
    let large = client.send(number, SUM, &[0; 241]);
    assert!(matches!(large, Err(ClientError::Arguments(241))), "{large:?}");
    let unknown = client.send(number, SUM + 1, &[]).expect_err("no such handler").to_string();
    assert!(unknown.contains("(summing) has no handler 4; it has [3]"), "{unknown}");
}

#[test]
fn who_waits_for_a_message_waits_as_long_as_he_said_and_others_are_kept_for_later() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let number = client.load(&load(), &echo(1, 0), &[]).expect("loaded").number;
    for _ in 0..3 {
        client.send(number, ASK.0, &[]).expect("sent");
    }
    let (start, patience) = (Instant::now(), Duration::from_millis(150));
    let nothing = client.wait_for(number, ANSWER + 1, patience);
    assert!(matches!(nothing, Err(ClientError::Timeout(_))), "{nothing:?}");
    let took = start.elapsed();
    assert!(patience <= took && took < PATIENCE, "{took:?}");
    // What came meanwhile is there, in order.
    for count in 1_u32..=3 {
        match client.receive(PATIENCE).expect("served") {
            Some(Event::Message { extension, handler: ANSWER, arguments }) => {
                assert_eq!((extension, &arguments[1..]), (number, &count.to_le_bytes()[..]));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((client.receive(Duration::ZERO).expect("served"), client.lost()), (None, 0));
}

#[test]
fn the_live_view_is_drawn_on_a_terminal_and_a_key_ends_it() {
    let _alone = need_namespaces!();
    if !Command::new("script").arg("--version").output().is_ok_and(|it| it.status.success()) {
        return println!("skipped: script(1) gives the view a terminal, and is not installed");
    }
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    client.load(&load(), &echo(1, 0), &[]).expect("loaded");
    let top = daemon.ctl_command(None, &["top", "--interval", "0.2"]);
    let words = std::iter::once(top.get_program()).chain(top.get_args());
    let line: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let line = format!("stty rows 30 cols 120; {}", line.join(" "));
    let mut terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut keys = terminal.stdin.take().expect("a pipe");
    let mut screen = terminal.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        screen.read_to_end(&mut shown).map(|_| String::from_utf8_lossy(&shown).into_owned())
    });
    let end = Instant::now() + PATIENCE;
    let status = loop {
        // Pressed until it is heard: the first may come before the view is there.
        std::thread::sleep(Duration::from_millis(500));
        let _ = keys.write_all(b"q").and_then(|()| keys.flush());
        if let Some(status) = terminal.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > end {
            terminal.kill().expect("killed");
            panic!("q does not end it");
        }
    };
    let shown = reader.join().expect("a reader").expect("a screen");
    assert!(status.success(), "{status}: {shown}");
    for part in
        ["\u{1b}[?1049h", "\u{1b}[?1049l", "2 adapters, 1 extensions", "FREE FRAMES", "echo"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown:?}");
    }
}

#[test]
fn the_application_to_copy_is_shorter_than_sixty_lines() {
    let lines = include_str!("../../apps/ports/src/main.rs").lines().count();
    assert!(lines < 60, "{lines} lines");
}
