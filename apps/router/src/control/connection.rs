//! One who asks: reads a question, and writes the answer, a piece whenever the socket takes one.
//!
//! A client costs a few kilobytes and a look at a step, whatever it does: questions have a longest length, answers are made once and
//! as long as they are, and who does not send or does not read is gone after [`PATIENCE`]. By the door for metrics come questions in
//! HTTP, of which this is what a scraper needs: GET, one answer, and the connection is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::Job;
use super::asks::{self, ASK_BYTES, Answer, Ask};

/// How long a question or an answer may take to cross.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a question in HTTP, at most.
const HTTP_BYTES: usize = 8192;
/// What OpenMetrics is called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// By which socket somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The control socket.
    Control,
    /// The one for metrics.
    Metrics,
}

/// A connection that does not block.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// From somebody who may not ask.
    Stranger(UnixStream),
}

impl Stream {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Unix(stream) | Self::Stranger(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) | Self::Stranger(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) | Self::Stranger(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum State {
    Reading(Vec<u8>),
    Working(Option<Job>),
    Writing { bytes: Vec<u8>, written: usize },
    Gone,
}

/// Somebody who asks.
pub(super) struct Connection {
    stream: Option<Stream>,
    door: Door,
    state: State,
    /// When what it is doing must be over.
    until: Instant,
}

impl Connection {
    pub(super) fn new(stream: Stream, door: Door, now: Instant) -> Self {
        let stranger = matches!(stream, Stream::Stranger(_));
        let state = State::Reading(Vec::new());
        let mut new = Self { stream: Some(stream), door, state, until: now + PATIENCE };
        if stranger {
            let sentence = "only root, and whoever the router runs as, may ask it".to_owned();
            new.answer(&Answer::Refused(sentence), now);
        }
        new
    }

    pub(super) fn door(&self) -> Door {
        self.door
    }

    /// What it waits for.
    pub(super) fn fd(&self) -> Option<PollFd<'_>> {
        let flags = match self.state {
            State::Reading(_) => PollFlags::POLLIN,
            State::Writing { .. } => PollFlags::POLLOUT,
            State::Working(_) | State::Gone => return None,
        };
        Some(PollFd::new(self.stream.as_ref()?.fd(), flags))
    }

    /// When it is to be looked at again at the latest: at once, where there is work to do for it.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        match self.state {
            State::Working(_) => now,
            _ => self.until,
        }
    }

    pub(super) fn has_job(&self) -> bool {
        matches!(self.state, State::Working(_))
    }

    pub(super) fn work_on(&mut self, job: Job) {
        self.state = State::Working(Some(job));
    }

    pub(super) fn take_job(&mut self) -> Option<Job> {
        match &mut self.state {
            State::Working(job) => job.take(),
            _ => None,
        }
    }

    /// The connection itself, for whoever shows packets on it.
    pub(super) fn take_stream(&mut self) -> Option<UnixStream> {
        match self.stream.take() {
            Some(Stream::Unix(stream)) => Some(stream),
            other => {
                self.stream = other;
                None
            }
        }
    }

    /// Reads on, and gives the question when it is complete, or why it is none.
    pub(super) fn read(&mut self) -> Option<Result<Ask, String>> {
        let State::Reading(read) = &mut self.state else { return None };
        let most = match self.door {
            Door::Control => ASK_BYTES,
            Door::Metrics => HTTP_BYTES,
        };
        let mut ended = false;
        let mut piece = [0; 1024];
        // Never more than is kept of it: the rest waits in the socket.
        while read.len() < most && !ended {
            let room = piece.len().min(most - read.len());
            match self.stream.as_mut()?.read(&mut piece[..room]) {
                Ok(0) => ended = true,
                Ok(count) => read.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.state = State::Gone;
                    return None;
                }
            }
        }
        let full = read.len() >= most;
        let asked = match self.door {
            Door::Control => question(read, full),
            Door::Metrics => request(read, full),
        };
        match asked {
            None if ended && read.is_empty() => {
                self.state = State::Gone;
                None
            }
            None if ended => {
                Some(Err("the question has no end: a line feed is missing".to_owned()))
            }
            other => other,
        }
    }

    /// Begins to answer.
    pub(super) fn answer(&mut self, answer: &Answer, now: Instant) {
        let bytes = match self.door {
            Door::Control => line(answer),
            Door::Metrics => response(answer),
        };
        self.state = State::Writing { bytes, written: 0 };
        self.until = now + PATIENCE;
    }

    /// Writes on; false when all is written, or nobody is there any more.
    pub(super) fn write(&mut self) -> bool {
        let State::Writing { bytes, written } = &mut self.state else {
            return !matches!(self.state, State::Gone);
        };
        let Some(stream) = &mut self.stream else { return false };
        while *written < bytes.len() {
            match stream.write(&bytes[*written..]) {
                Ok(0) => return false,
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// An answer as it crosses the control socket.
pub(super) fn line(answer: &Answer) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(answer).unwrap_or_else(|error| {
        // Numbers, text and maps by text always are JSON.
        tracing::error!(%error, "an answer is no JSON");
        br#"{"refused":"the answer cannot be written"}"#.to_vec()
    });
    bytes.push(b'\n');
    bytes
}

fn question(read: &[u8], full: bool) -> Option<Result<Ask, String>> {
    match read.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(asks::parse(&read[..end])),
        None if full => Some(Err(format!("a question has at most {ASK_BYTES} bytes"))),
        None => None,
    }
}

/// The sentences in which HTTP's answers begin, and so what goes wrong with a request.
const BAD: &str = "400 Bad Request";
const NOT_FOUND: &str = "404 Not Found";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const UNAVAILABLE: &str = "503 Service Unavailable";

fn request(read: &[u8], full: bool) -> Option<Result<Ask, String>> {
    let ends = |end: &[u8]| read.windows(end.len()).any(|bytes| bytes == end);
    if !ends(b"\r\n\r\n") && !ends(b"\n\n") {
        return full.then(|| Err(TOO_LARGE.to_owned()));
    }
    let first = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words: Vec<&[u8]> = first.trim_ascii().split(|byte| *byte == b' ').collect();
    let [method, target, version] = words.as_slice() else { return Some(Err(BAD.to_owned())) };
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    Some(match (*method, path) {
        _ if !version.starts_with(b"HTTP/1.") => Err(BAD.to_owned()),
        (b"GET", b"/metrics" | b"/") => Ok(Ask::Metrics),
        (b"GET", _) => Err(NOT_FOUND.to_owned()),
        _ => Err(NOT_ALLOWED.to_owned()),
    })
}

/// An answer in HTTP.
fn response(answer: &Answer) -> Vec<u8> {
    let (status, kind, body) = match answer {
        Answer::Metrics(text) => ("200 OK", OPEN_METRICS, text.clone()),
        Answer::Refused(status)
            if [BAD, NOT_FOUND, NOT_ALLOWED, TOO_LARGE].contains(&status.as_str()) =>
        {
            let body = format!("{status}: GET /metrics is answered\n");
            (status.as_str(), "text/plain; charset=utf-8", body)
        }
        Answer::Refused(sentence) => {
            (UNAVAILABLE, "text/plain; charset=utf-8", format!("{sentence}\n"))
        }
        _ => (UNAVAILABLE, "text/plain; charset=utf-8", String::new()),
    };
    let allow = if status == NOT_ALLOWED { "Allow: GET\r\n" } else { "" };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(door: Door) -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("not blocking");
        (Connection::new(Stream::Unix(ours), door, Instant::now()), theirs)
    }

    #[test]
    fn a_question_may_come_in_pieces_and_what_is_none_has_a_sentence() {
        let (mut connection, mut client) = pair(Door::Control);
        assert_eq!(connection.read(), None);
        client.write_all(br#"{"ask":"cov"#).expect("sent");
        assert_eq!(connection.read(), None);
        client.write_all(b"erage\"}\nand more").expect("sent");
        assert_eq!(connection.read(), Some(Ok(Ask::Coverage)));

        let (mut connection, mut client) = pair(Door::Control);
        client.write_all(&[b'x'; ASK_BYTES + 1]).expect("sent");
        let sentence = format!("a question has at most {ASK_BYTES} bytes");
        assert_eq!(connection.read(), Some(Err(sentence)));

        let (mut connection, mut client) = pair(Door::Control);
        client.write_all(b"{}").expect("sent");
        drop(client);
        assert!(connection.read().is_some_and(|asked| asked.is_err()));

        let (mut connection, client) = pair(Door::Control);
        drop(client);
        assert_eq!(connection.read(), None);
        assert!(!connection.write(), "nobody is there");
    }

    #[test]
    fn an_answer_waits_for_a_client_that_does_not_read_and_only_so_long() {
        let (mut connection, mut client) = pair(Door::Control);
        let now = Instant::now();
        let long = "x".repeat(4 << 20);
        connection.answer(&Answer::Refused(long.clone()), now);
        assert!(connection.write(), "the socket is full");
        assert_eq!(connection.deadline(now), now + PATIENCE);
        assert!(connection.write(), "and still is");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            client.read_to_string(&mut text).map(|_| text)
        });
        while connection.write() {
            std::thread::yield_now();
        }
        drop(connection);
        let text = reader.join().expect("a thread").expect("text");
        assert_eq!(text, format!("{{\"refused\":\"{long}\"}}\n"));
    }

    #[test]
    fn http_is_get_and_everything_else_is_refused_with_its_number() {
        let ask = |text: &str| request(text.as_bytes(), false);
        assert_eq!(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Some(Ok(Ask::Metrics)));
        assert_eq!(ask("GET /?x=1 HTTP/1.0\n\n"), Some(Ok(Ask::Metrics)));
        for (text, status) in [
            ("GET /secret HTTP/1.1\r\n\r\n", NOT_FOUND),
            ("POST /metrics HTTP/1.1\r\n\r\n", NOT_ALLOWED),
            ("GET /metrics\r\n\r\n", BAD),
            ("GET /metrics SSH-2.0\r\n\r\n", BAD),
            ("\r\n\r\n", BAD),
        ] {
            assert_eq!(ask(text), Some(Err(status.to_owned())), "{text:?}");
        }
        assert_eq!(request(&[b'x'; HTTP_BYTES], true), Some(Err(TOO_LARGE.to_owned())));

        let said = |answer| String::from_utf8(response(&answer)).expect("text");
        let good = said(Answer::Metrics("# EOF\n".to_owned()));
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n") && good.ends_with("\r\n\r\n# EOF\n"));
        assert!(good.contains("Content-Length: 6\r\n"), "{good}");
        let bad = said(Answer::Refused(NOT_ALLOWED.to_owned()));
        assert!(bad.starts_with("HTTP/1.1 405 ") && bad.contains("Allow: GET\r\n"), "{bad}");
        let gone = said(Answer::Refused("adapter a: gone".to_owned()));
        assert!(gone.starts_with("HTTP/1.1 503 ") && gone.ends_with("adapter a: gone\n"), "{gone}");
    }
}
