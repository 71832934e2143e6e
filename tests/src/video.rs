//! `spine-video`, receiving or sending in a namespace, and the pictures it leaves behind.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::{Finished, Running};
use crate::program;

/// Linking the extension may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program: `SPINE_VIDEO`, or the one built beside this test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::built("spine-video", "SPINE_VIDEO"))
}

fn command(namespace: &Namespace, arguments: &str) -> Command {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    namespace.command(&binary().to_string_lossy(), &words)
}

/// A receiver that is ready. Dropped, it is killed.
#[derive(Debug)]
pub struct Receiver {
    running: Running,
}

impl Receiver {
    /// Starts one that opens no window, with options as in a shell, and waits until it says "ready".
    pub fn headless(namespace: &Namespace, options: &str) -> Self {
        Self::start(command(namespace, &format!("--headless --json {options}")))
    }

    /// Starts one with windows on a display.
    pub fn on_display(namespace: &Namespace, display: &Display, options: &str) -> Self {
        Self::with_display(namespace, &display.name(), options)
    }

    /// The same in a folder, where its screenshots go.
    pub fn on_display_in(
        namespace: &Namespace,
        display: &Display,
        folder: &Path,
        options: &str,
    ) -> Self {
        let mut command = command(namespace, &format!("--json {options}"));
        command.env("DISPLAY", display.name()).current_dir(folder);
        Self::start(command)
    }

    /// The same with the display's name.
    pub fn with_display(namespace: &Namespace, display: &str, options: &str) -> Self {
        let mut command = command(namespace, &format!("--json {options}"));
        command.env("DISPLAY", display);
        Self::start(command)
    }

    fn start(command: Command) -> Self {
        let mut running = Running::start(command);
        running.wait_for("ready", PATIENCE);
        Self { running }
    }

    /// Waits until it says `text` on stderr.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> String {
        self.running.wait_for(text, patience)
    }

    /// Waits until it ends by itself, and returns its statistics.
    pub fn finish(self, patience: Duration) -> Statistics {
        let finished = self.running.finish(patience).expect_success("spine-video");
        Statistics::parse(&finished.stdout)
    }

    /// Stops it as Ctrl-C does, and returns its statistics.
    pub fn stop(self) -> Statistics {
        self.running.signal(Signal::SIGINT);
        self.finish(Duration::from_secs(10))
    }

    /// Waits for it to end by itself, and returns what it said.
    pub fn ends(self, patience: Duration) -> Finished {
        self.running.finish(patience)
    }

    /// The process.
    pub fn running(&self) -> &Running {
        &self.running
    }
}

/// Runs a receiver that is to end by itself.
pub fn run_to_end(namespace: &Namespace, options: &str, patience: Duration) -> Finished {
    Running::start(command(namespace, options)).finish(patience)
}

/// Runs a sender to its end and returns what it says it sent.
pub fn send(namespace: &Namespace, options: &str) -> Statistics {
    finish_sending(start_sending(namespace, options))
}

/// Starts a sender.
pub fn start_sending(namespace: &Namespace, options: &str) -> Running {
    Running::start(command(namespace, &format!("send --json {options}")))
}

/// Waits for a sender's end.
pub fn finish_sending(sender: Running) -> Statistics {
    let finished = sender.finish(PATIENCE).expect_success("spine-video send");
    Statistics::parse(&finished.stdout)
}

/// The object that `--json` ends with.
#[derive(Debug, Clone)]
pub struct Statistics {
    value: Value,
}

impl Statistics {
    /// Reads it; panics if it is not one JSON object.
    pub fn parse(text: &str) -> Self {
        let value: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("spine-video --json: {error}: {text:?}"));
        assert!(value.is_object(), "spine-video --json: not an object: {text:?}");
        Self { value }
    }

    /// A count.
    pub fn count(&self, key: &str) -> u64 {
        self.value[key].as_u64().unwrap_or_else(|| panic!("no count {key:?} in {}", self.value))
    }

    /// A number that need not be whole.
    pub fn number(&self, key: &str) -> f64 {
        self.value[key].as_f64().unwrap_or_else(|| panic!("no number {key:?} in {}", self.value))
    }

    /// A text.
    pub fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {}", self.value))
    }

    /// An object of counts.
    pub fn counts(&self, key: &str) -> BTreeMap<String, u64> {
        let counts = self.value[key].as_object();
        let counts = counts.unwrap_or_else(|| panic!("no object {key:?} in {}", self.value));
        let count = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{key}: {value}"));
        counts.iter().map(|(name, value)| (name.clone(), count(value))).collect()
    }

    /// An object in it.
    pub fn part(&self, key: &str) -> Self {
        let value = self.value[key].clone();
        assert!(value.is_object(), "no object {key:?} in {}", self.value);
        Self { value }
    }

    /// The statistics of each stream.
    pub fn streams(&self) -> Vec<Self> {
        let streams = self.value["streams"].as_array();
        let streams = streams.unwrap_or_else(|| panic!("no streams in {}", self.value));
        streams.iter().map(|value| Self { value: value.clone() }).collect()
    }
}

/// Whether a program can be run here.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Leaves the test, saying why, where one of these programs is not installed.
#[macro_export]
macro_rules! need_programs {
    ($($program:literal),+) => {
        for program in [$($program),+] {
            if !$crate::video::is_installed(program) {
                return $crate::need::say_skipped(
                    std::thread::current().name().unwrap_or(module_path!()),
                    &format!("{program} is not installed (./ci/run.sh setup)"),
                );
            }
        }
    };
}

/// An X server without a screen that anybody sees. Dropped, it ends.
#[derive(Debug)]
pub struct Display {
    server: Child,
    number: String,
}

impl Display {
    /// Starts Xvfb with a screen of this size.
    pub fn start(width: u32, height: u32) -> Self {
        let mut command = Command::new("Xvfb");
        let screen = format!("{width}x{height}x24");
        command.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().unwrap_or_else(|error| panic!("Xvfb: {error}"));
        let mut number = String::new();
        let mut byte = [0];
        if let Some(pipe) = &mut server.stdout {
            while pipe.read(&mut byte).is_ok_and(|count| count == 1) && byte != *b"\n" {
                number.push(char::from(byte[0]));
            }
        }
        assert!(!number.is_empty(), "Xvfb did not start");
        Self { server, number }
    }

    /// What DISPLAY is for it.
    pub fn name(&self) -> String {
        format!(":{}", self.number)
    }

    /// The server's process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.server.id().cast_signed())
    }

    /// What its screen shows from the upper left corner on: `0x00RRGGBB`, line by line.
    pub fn picture(&self, width: u32, height: u32) -> Vec<u32> {
        self.picture_at((0, 0), width, height)
    }

    /// The same from another place on.
    pub fn picture_at(&self, (x, y): (i16, i16), width: u32, height: u32) -> Vec<u32> {
        let size = format!("{width}x{height}");
        let place = format!("{}+{x},{y}", self.name());
        let mut grab = Command::new("ffmpeg");
        grab.args(["-nostdin", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0"]);
        grab.args(["-video_size", &size, "-i", &place, "-frames:v", "1"]);
        grab.args(["-pix_fmt", "bgra", "-f", "rawvideo", "pipe:1"]);
        let output = grab.output().unwrap_or_else(|error| panic!("ffmpeg: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ffmpeg x11grab: {said}");
        let pixel = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        output.stdout.chunks_exact(4).map(pixel).collect()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is what is wanted.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The pixels of a PNG of eight bits RGB: `0x00RRGGBB`, line by line.
pub fn read_png(file: &Path) -> Vec<u32> {
    let open = std::fs::File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(open))
        .read_info()
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut bytes = vec![0; reader.output_buffer_size().expect("a picture that fits into memory")];
    reader.next_frame(&mut bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let pixel = |bytes: &[u8]| u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    bytes.chunks_exact(3).map(pixel).collect()
}
