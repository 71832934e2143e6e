//! `ci/run.sh demo-video`: one stream of 1280x720 at 60 pictures a second, shown by three programs.
//!
//! GStreamer sends from one namespace; in another `spine-video`, GStreamer's own receiver and ffplay show it
//! in turn, in windows of the X server of DISPLAY or of one that nobody sees (Xvfb). It ends with a screenshot
//! and a table of what each took and lost. It fails if spine-video lost a packet. `--long` has spine-video alone
//! hold what it promises for a minute ([`long`]).

mod long;
mod players;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use spine_tests::topology::remove_all;
use spine_tests::video::{Display, is_installed, read_png};
use spine_tests::{Link, Topology, need};

use players::Shown;

#[derive(Debug, Parser)]
#[command(about = "Shows network video between two namespaces, and says what it took")]
struct Arguments {
    /// Seconds of each stream (default: 6, or what the long runs are promised for)
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=600))]
    seconds: Option<u32>,
    /// Where the screenshot goes
    #[arg(long, default_value = "spine-video-demo.png")]
    screenshot: PathBuf,
    /// Three long runs of spine-video alone instead: two and a half minutes
    #[arg(long)]
    long: bool,
}

/// The formats of the table.
const FORMATS: [&str; 2] = ["UYVY", "BGRA"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let missing = ["gst-launch-1.0", "ffplay", "Xvfb"].into_iter().find(|name| !is_installed(name));
    let trouble = need::why_no_namespaces().map(str::to_owned);
    let trouble = trouble.or_else(|| {
        missing.map(|name| format!("{name} is not installed; ./ci/run.sh setup does it"))
    });
    if let Some(trouble) = trouble {
        eprintln!("demo-video: {trouble}");
        return ExitCode::FAILURE;
    }
    let stopped = ctrlc::set_handler(|| {
        remove_all();
        eprintln!("demo-video: stopped; the namespaces are removed");
        std::process::exit(130);
    });
    if let Err(error) = stopped {
        eprintln!("demo-video: {error}");
        return ExitCode::FAILURE;
    }
    // A helper that panics has said what is wrong: one sentence, and no trace of the stack.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("demo-video: {}", panic.payload_as_str().unwrap_or("something went wrong"));
    }));
    if arguments.long {
        return run_long(arguments.seconds);
    }
    let rows = run(&arguments);
    println!("\n{}", Table(&rows));
    let complaints: Vec<String> = rows.iter().filter_map(Row::complaint).collect();
    complaints.iter().for_each(|complaint| println!("not as it should be: {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The namespaces, and the display, of this size if nobody sees it.
fn scene(width: u32, height: u32) -> (Topology, Screen) {
    step("two namespaces: sender 10.9.1.2 -- 10.9.1.1 receiver");
    let net = Topology::star(&[Link::to("sender", 1)]);
    let screen = match std::env::var("DISPLAY") {
        Ok(name) if !name.is_empty() => Screen::Own(name),
        _ => {
            step("no display here: windows are shown on one that nobody sees (Xvfb)");
            Screen::Hidden(Display::start(width, height))
        }
    };
    (net, screen)
}

fn run_long(seconds: Option<u32>) -> ExitCode {
    let (net, screen) = scene(1920, 1080);
    let runs = long::run(&net, &screen, seconds);
    println!("\n{}", long::Table(&runs));
    let complaints: Vec<String> = runs.iter().flat_map(long::Ran::complaints).collect();
    complaints.iter().for_each(|complaint| println!("not as it should be: {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Vec<Row> {
    let (net, screen) = scene(1280, 720);
    let time = Duration::from_secs(arguments.seconds.unwrap_or(6).into());
    let mut rows = Vec::new();
    for format in FORMATS {
        step(&format!("{format}, 1280x720 at 60 a second: spine-video"));
        let shown = players::spine_video(&net, &screen, format, time, &arguments.screenshot);
        rows.push(Row { player: "spine-video", format, shown: Some(shown) });
        step("the same with GStreamer's own receiver and ximagesink");
        let shown = players::gstreamer(&net, &screen, format, time);
        rows.push(Row { player: "GStreamer", format, shown: Some(shown) });
        // ffmpeg takes BGRA on the wire for BGR: it would show something else.
        let shown = (format == "UYVY").then(|| {
            step("the same with ffplay");
            players::ffplay(&net, &screen, time)
        });
        rows.push(Row { player: "ffplay", format, shown });
    }
    let colours = read_png(&arguments.screenshot);
    let first = colours.first().copied().unwrap_or_default();
    assert!(colours.iter().any(|pixel| *pixel != first), "the screenshot is empty");
    step(&format!("screenshot in {}", arguments.screenshot.display()));
    rows
}

fn step(text: &str) {
    println!("-- {text}");
}

/// Where windows are opened.
enum Screen {
    /// The user's.
    Own(String),
    /// One that nobody sees.
    Hidden(Display),
}

impl Screen {
    fn name(&self) -> String {
        match self {
            Self::Own(name) => name.clone(),
            Self::Hidden(display) => display.name(),
        }
    }

    /// The server's process, where it is ours.
    fn server(&self) -> Option<nix::unistd::Pid> {
        match self {
            Self::Own(_) => None,
            Self::Hidden(display) => Some(display.pid()),
        }
    }
}

/// One program with one format; nothing shown where it cannot.
struct Row {
    player: &'static str,
    format: &'static str,
    shown: Option<Shown>,
}

impl Row {
    fn complaint(&self) -> Option<String> {
        let shown = self.shown.as_ref().filter(|_| self.player == "spine-video")?;
        let lost = shown.lost.unwrap_or_default();
        (lost > 0 || shown.frames.is_none_or(|frames| frames == 0)).then(|| {
            format!(
                "spine-video, {}: {lost} packets lost, {:?} frames shown",
                self.format, shown.frames
            )
        })
    }
}

/// The table, in percent of one core.
struct Table<'a>(&'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:12} {:6} {:>9} {:>9} {:>9} {:>13} {:>13}",
            "1280x720 60", "", "host CPU", "adapter", "X server", "frames shown", "packets lost"
        )?;
        for (position, Row { player, format, shown }) in self.0.iter().enumerate() {
            let Some(shown) = shown else {
                write!(f, "{player:12} {format:6} {:>9}", "cannot")?;
                if position + 1 < self.0.len() {
                    writeln!(f)?;
                }
                continue;
            };
            let percent = |value: Option<f64>| {
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} %"))
            };
            let count = |value: Option<u64>| {
                value.map_or_else(|| "-".to_owned(), |value| value.to_string())
            };
            writeln!(
                f,
                "{player:12} {format:6} {:>9} {:>9} {:>9} {:>13} {:>13}",
                percent(Some(shown.host)),
                percent(shown.adapter),
                percent(shown.server),
                count(shown.frames),
                count(shown.lost)
            )?;
        }
        Ok(())
    }
}
