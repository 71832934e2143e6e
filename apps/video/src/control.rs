//! How `spine-video move` reaches a running screen: a socket in the file system, one line each way.
//!
//! | line | answer |
//! |---|---|
//! | `move VIDEO X Y` | `ok`, or `error:` and a sentence |
//! | `strays` | how many pixels outside of all videos are not the desktop's |

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the other side may take for its line.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a line at most.
const LINE: u64 = 256;

/// Why a screen cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The place is taken.
    #[error("another spine-video --screen listens at {}: end it, or name another place with --control", .0.display())]
    Taken(PathBuf),
    /// The system.
    #[error("no control socket at {}: {source}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody is there.
    #[error("no screen is reached at {}: {source} (is spine-video --screen running there?)", path.display())]
    Nobody {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The screen refused.
    #[error("{0}")]
    Refused(String),
}

/// What is asked of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Move a video.
    Move(usize, u32, u32),
    /// Count stray pixels.
    Strays,
}

impl Request {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["strays"] => Some(Self::Strays),
            ["move", video, x, y] => {
                Some(Self::Move(video.parse().ok()?, x.parse().ok()?, y.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// The screen's side. Only this user may connect; the file goes with the value.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens at a path; what a screen that is gone left there is removed.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn listen(path: &Path) -> Result<Self, ControlError> {
        let bind = |source| ControlError::Bind { path: path.to_owned(), source };
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match UnixStream::connect(path) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path).map_err(bind)?;
                        UnixListener::bind(path).map_err(bind)?
                    }
                    _ => return Err(ControlError::Taken(path.to_owned())),
                }
            }
            listener => listener.map_err(bind)?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers everybody who has asked something.
    pub fn serve(&self, mut answer: impl FnMut(Request) -> String) {
        while let Ok((stream, _)) = self.listener.accept() {
            // Who does not speak or listen is not waited for, nor answered.
            if let Err(error) = one(stream, &mut answer) {
                tracing::debug!(%error, "a request was not answered");
            }
        }
    }
}

fn one(stream: UnixStream, answer: &mut impl FnMut(Request) -> String) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut line = String::new();
    BufReader::new((&stream).take(LINE)).read_line(&mut line)?;
    let text = match Request::parse(&line) {
        Some(request) => answer(request),
        None => "error: write `move VIDEO X Y` or `strays`".to_owned(),
    };
    writeln!(&stream, "{text}")
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It is only in the way of nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The other side: asks a running screen, and returns its answer.
///
/// # Errors
/// [`ControlError::Nobody`], [`ControlError::Refused`].
pub fn ask(path: &Path, line: &str) -> Result<String, ControlError> {
    let nobody = |source| ControlError::Nobody { path: path.to_owned(), source };
    let stream = UnixStream::connect(path).map_err(nobody)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(nobody)?;
    writeln!(&stream, "{line}").map_err(nobody)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut answer).map_err(nobody)?;
    let answer = answer.trim();
    match answer.strip_prefix("error: ") {
        Some(sentence) => Err(ControlError::Refused(sentence.to_owned())),
        None => Ok(answer.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_and_nonsense_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let missing = ask(&path, "strays").unwrap_err().to_string();
        assert!(missing.contains("is spine-video --screen running"), "{missing}");
        let control = Control::listen(&path).unwrap();
        assert!(matches!(Control::listen(&path), Err(ControlError::Taken(_))));
        let lines = ["move 1 20 30", "strays", "move 1 -2 3", "dance", "move 1 2"];
        let client = std::thread::spawn({
            let path = path.clone();
            move || lines.map(|line| ask(&path, line).map_err(|error| error.to_string()))
        });
        let mut seen = Vec::new();
        while !client.is_finished() {
            control.serve(|request| {
                seen.push(request);
                "ok".to_owned()
            });
            std::thread::sleep(Duration::from_millis(1));
        }
        let answers = client.join().unwrap();
        assert_eq!(answers[0].as_deref(), Ok("ok"));
        assert!(
            answers[2..].iter().all(|answer| answer.as_ref().is_err_and(|e| e.contains("write")))
        );
        assert_eq!(seen, [Request::Move(1, 20, 30), Request::Strays]);
        // As after a crash: the file is there, and nobody behind it.
        drop(UnixListener::bind(folder.path().join("left")).unwrap());
        assert!(Control::listen(&folder.path().join("left")).is_ok());
        drop(control);
        assert!(!path.exists());
    }
}
