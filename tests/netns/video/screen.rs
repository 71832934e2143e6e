//! Videos moved on one screen while they run: not one pixel is written outside of a lease.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use spine_tests::video::{Display, Receiver, start_sending};
use spine_tests::{need_namespaces, need_programs};

use crate::video::{ADDRESS, INTERFACE, net};

/// Moves that must leave nothing behind.
const MOVES: u32 = 1000;

/// Says a line to a screen, and hears its answer.
pub(crate) fn ask(control: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(control)
        .unwrap_or_else(|error| panic!("{}: {error}", control.display()));
    writeln!(stream, "{line}").expect("the screen listens");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("the screen answers");
    answer.trim().to_owned()
}

/// Moves two running videos at random until enough moves were made, a stray pixel is seen, or time is up;
/// answers moves and strays.
fn move_about(options: &str) -> (u32, u64) {
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    let (display, control) = (Display::start(800, 600), folder.path().join("control"));
    let receiver = Receiver::on_display(
        net.router(),
        &display,
        &format!(
            "--iface {INTERFACE} --stream 5004:UYVY:160x120 --stream 5006:BGRA:160x120 --screen 800x600 \
             --control {} {options}",
            control.display()
        ),
    );
    let senders = [("5004", "UYVY"), ("5006", "BGRA")].map(|(port, format)| {
        let options = format!(
            "test-pattern --to {ADDRESS}:{port} --format {format} --size 160x120 --fps 60 --duration 20"
        );
        start_sending(net.host("sender"), &options)
    });
    let (start, mut moves, mut strays) = (Instant::now(), 0, 0);
    let mut random = 1_u32;
    while moves < MOVES && strays == 0 && start.elapsed() < Duration::from_secs(11) {
        let mut number = |below: u32| {
            // Numerical Recipes' generator: any will do, and this one repeats itself.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let line = format!("move {} {} {}", number(2), number(640), number(480));
        if ask(&control, &line) == "ok" {
            moves += 1;
            strays = ask(&control, "strays").parse().expect("a number");
        }
    }
    let statistics = receiver.stop();
    drop(senders);
    // A stray pixel may be seen at once, and then there is no more to wait for.
    let ran = strays > 0 || statistics.count("packets") > 1000;
    assert!(ran, "the videos did not run: {statistics:?}");
    (moves, strays)
}

#[test]
fn a_thousand_moves_leave_no_stray_pixel_and_the_naive_protocol_does() {
    let _alone = need_namespaces!();
    need_programs!("Xvfb");
    let (moves, strays) = move_about("");
    assert_eq!(strays, 0, "after {moves} moves");
    assert_eq!(moves, MOVES, "in time");
    let (moves, strays) = move_about("--naive-moves");
    assert!(strays > 0, "the check sees nothing in {moves} naive moves, so it proves nothing");
}
