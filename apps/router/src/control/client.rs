//! The side of who asks: finds the router, puts the question, prints the answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spine_client::voice;

use super::asks::{Answer, Ask, Shown};
use super::command::{Capture, Explain, Question, Show, What, Whom};
use super::listing::interfaces_text;

/// How long a router may take to answer: it does so between two steps, of which the longest writes a full table.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody to ask.
    #[error(
        "no router runs in this network namespace, and not one alone elsewhere: --control PATH says which (see /run/spine-router)"
    )]
    Nobody,
    /// Nobody there.
    #[error("no router answers at {path}: {source}")]
    Unreachable {
        /// Where.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended, or is stuck.
    #[error("the router did not answer: {0}")]
    Silent(io::Error),
    /// It said something else.
    #[error("the router's answer is not understood, perhaps because it is of another version: {0}")]
    Strange(String),
    /// It will not.
    #[error("{0}")]
    Refused(String),
    /// A file.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Packets for a terminal.
    #[error("packets are no text: -w FILE writes them, and `-w - | wireshark -k -i -` shows them")]
    Terminal,
    /// Signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
}

/// Puts a question, and prints the answer.
///
/// # Errors
/// [`ClientError`].
pub fn run(question: &Question) -> Result<(), ClientError> {
    match question {
        Question::Show(show) => print(&self::show(show)?),
        Question::Explain(explain) => print(&self::explain(explain)?),
        Question::Capture(capture) => return self::capture(capture),
    }
    Ok(())
}

/// To whoever still listens.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let ends = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{ends}").and_then(|()| out.flush());
}

fn show(show: &Show) -> Result<String, ClientError> {
    let ask = match show.what {
        _ if show.metrics => Ask::Metrics,
        What::Coverage => Ask::Coverage,
        What::Routes => Ask::Routes { prefix: show.prefix, limit: show.limit },
        What::Neighbours => Ask::Neighbours,
        What::Interfaces => Ask::Interfaces,
        What::Counters => Ask::Counters,
    };
    answer(&show.whom, &ask, show.json)
}

fn explain(explain: &Explain) -> Result<String, ClientError> {
    let ask = Ask::Explain { packet: explain.packet.join(" ") };
    answer(&explain.whom, &ask, explain.json)
}

/// The answer to a question, as text or as JSON.
fn answer(whom: &Whom, ask: &Ask, json: bool) -> Result<String, ClientError> {
    let mut stream = connect(whom)?;
    put(&mut stream, ask)?;
    let line = first_line(&mut BufReader::new(stream))?;
    let answer = parse(&line)?;
    if !json {
        return Ok(text(&answer));
    }
    // What the router said, without what kind of answer that is.
    let strange = |error: serde_json::Error| ClientError::Strange(error.to_string());
    let value: serde_json::Value = serde_json::from_str(&line).map_err(strange)?;
    let inner = value.as_object().and_then(|object| object.values().next()).cloned();
    serde_json::to_string(&inner.unwrap_or(value)).map_err(strange)
}

/// An answer for people.
pub fn text(answer: &Answer) -> String {
    match answer {
        Answer::Coverage(coverage) => coverage.to_string(),
        Answer::Routes(routes) => routes.to_string(),
        Answer::Neighbours(neighbours) => neighbours.to_string(),
        Answer::Interfaces(interfaces) => interfaces_text(interfaces),
        Answer::Counters(report) => report.to_string(),
        Answer::Explain(explanation) => explanation.to_string(),
        Answer::Metrics(text) => text.clone(),
        Answer::Capture(interfaces) => interfaces.join(", "),
        Answer::Refused(sentence) => sentence.clone(),
    }
}

fn connect(whom: &Whom) -> Result<UnixStream, ClientError> {
    let path = match &whom.control {
        Some(path) => path.clone(),
        None => super::default_path().ok_or(ClientError::Nobody)?,
    };
    let unreachable =
        |source| ClientError::Unreachable { path: path.display().to_string(), source };
    let stream = UnixStream::connect(&path).map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Silent)?;
    Ok(stream)
}

fn put(stream: &mut UnixStream, ask: &Ask) -> Result<(), ClientError> {
    let mut line =
        serde_json::to_vec(ask).map_err(|error| ClientError::Strange(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(ClientError::Silent)
}

fn first_line(from: &mut impl BufRead) -> Result<String, ClientError> {
    let mut line = String::new();
    match from.read_line(&mut line) {
        Ok(0) => Err(ClientError::Silent(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(line),
        Err(error) => Err(ClientError::Silent(error)),
    }
}

fn parse(line: &str) -> Result<Answer, ClientError> {
    match serde_json::from_str(line) {
        Ok(Answer::Refused(sentence)) => Err(ClientError::Refused(sentence)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(ClientError::Strange(error.to_string())),
    }
}

/// Where packets are written.
struct Sink {
    path: PathBuf,
    to: Box<dyn Write>,
}

impl Sink {
    fn open(write: Option<&Path>) -> Result<Self, ClientError> {
        let path = write.unwrap_or_else(|| Path::new("-")).to_owned();
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(ClientError::Terminal);
            }
            return Ok(Self { path: "standard output".into(), to: Box::new(io::stdout()) });
        }
        match File::create(&path) {
            Ok(file) => Ok(Self { path, to: Box::new(BufWriter::new(file)) }),
            Err(source) => Err(ClientError::Write { path: path.display().to_string(), source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let written = self.to.write_all(bytes).and_then(|()| self.to.flush());
        written
            .map_err(|source| ClientError::Write { path: self.path.display().to_string(), source })
    }
}

/// Writes packets until a signal comes, the time is up, the router ends, or nobody wants them any more.
fn capture(capture: &Capture) -> Result<(), ClientError> {
    let signals = signals()?;
    let mut sink = Sink::open(capture.write.as_deref())?;
    let mut stream = connect(&capture.whom)?;
    let interfaces = capture.interfaces.clone();
    put(&mut stream, &Ask::Capture { interfaces, snap_bytes: capture.snap })?;
    let mut from = BufReader::new(stream.try_clone().map_err(ClientError::Silent)?);
    let Answer::Capture(interfaces) = parse(&first_line(&mut from)?)? else {
        return Err(ClientError::Strange("it is none to this question".to_owned()));
    };
    voice::say(format_args!("spine-router: packets of {}, until Ctrl-C", interfaces.join(", ")));
    // From now on, nothing may come for long.
    stream.set_read_timeout(None).map_err(ClientError::Silent)?;
    let until = capture.duration.and_then(|seconds| {
        // What is too long to be reckoned with has no end.
        Instant::now().checked_add(Duration::from_secs(seconds))
    });
    let mut enough = false;
    loop {
        if !enough && from.buffer().is_empty() && ends(&signals, &stream, until)? {
            enough = true;
            // The router still sends what it has, and what that came to.
            stream.shutdown(Shutdown::Write).map_err(ClientError::Silent)?;
        }
        let Some(piece) = piece(&mut from)? else { break };
        match sink.write(&piece) {
            Err(ClientError::Write { source, .. })
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Ok(());
            }
            other => other?,
        }
    }
    let line = first_line(&mut from)?;
    let Shown { packets, missed } =
        serde_json::from_str(&line).map_err(|error| ClientError::Strange(error.to_string()))?;
    voice::say(format_args!(
        "spine-router: {packets} packets, and {missed} lost because they were not taken fast enough"
    ));
    Ok(())
}

/// The next piece; nothing at the end.
fn piece(from: &mut impl Read) -> Result<Option<Vec<u8>>, ClientError> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(ClientError::Silent)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; length];
    from.read_exact(&mut piece).map_err(ClientError::Silent)?;
    Ok(Some(piece))
}

fn signals() -> Result<SignalFd, ClientError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Waits for packets; whether it is to end instead.
fn ends(
    signals: &SignalFd,
    stream: &UnixStream,
    until: Option<Instant>,
) -> Result<bool, ClientError> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = match left {
        None => PollTimeout::NONE,
        Some(left) => {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut fds = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(stream.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, timeout) {
        Ok(_) => {}
        Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let signalled = fds[0].any().unwrap_or(true);
    Ok(signalled || until.is_some_and(|until| until <= Instant::now()))
}
