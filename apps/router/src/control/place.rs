//! Where a router is asked: the control socket, and the one for metrics.
//!
//! Unless it was told otherwise, a router listens at `/run/spine-router/NAME.sock`, or, where it may not make that folder, at
//! `$XDG_RUNTIME_DIR/spine-router/NAME.sock`. NAME is that of its network namespace as `ip netns` has it; `default` for the
//! machine's own, and the process's number for one without a name. Where another router that lives is there already, the process's
//! number is added. Only root, and the user the router runs as, are answered.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;

use super::connection::{Door, Stream};
use crate::cli::MetricsPlace;

/// What nobody listens to any more and is older than this is removed. It is long enough for a router that is about to listen.
const STALE: Duration = Duration::from_secs(60);

/// A socket that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The control socket.
    #[error("cannot listen at {path} (--control): {source}")]
    Control {
        /// Where.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else is there.
    #[error("another router answers at {0} (--control)")]
    Taken(String),
    /// The one for metrics.
    #[error("cannot listen at {place} (--metrics): {source}")]
    Metrics {
        /// Where.
        place: String,
        /// Why not.
        source: io::Error,
    },
}

enum Listener {
    Unix(Bound),
    Tcp(TcpListener),
}

/// A socket in the file system, which goes with this.
struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Whoever removed it before had a reason.
        let _ = fs::remove_file(&self.path);
    }
}

/// The sockets of one router.
#[derive(Default)]
pub struct Sockets {
    control: Option<Bound>,
    metrics: Option<Listener>,
}

impl Sockets {
    /// Listens where it was asked to, and for questions at the [usual place](self) where it was not.
    pub(super) fn open(
        control: Option<&Path>,
        metrics: Option<&MetricsPlace>,
    ) -> Result<Self, ControlError> {
        let control = match control {
            Some(path) => Some(bind_at(path)?),
            None => bind_usually(),
        };
        Ok(Self { control, metrics: metrics.map(listen).transpose()? })
    }

    /// Where questions are answered.
    pub(super) fn path(&self) -> Option<&Path> {
        self.control.as_ref().map(|bound| bound.path.as_path())
    }

    pub(super) fn is_open(&self) -> bool {
        self.control.is_some() || self.metrics.is_some()
    }

    /// What becomes readable when somebody comes.
    pub(super) fn fd(&self, door: Door) -> Option<PollFd<'_>> {
        let fd = match (door, &self.control, &self.metrics) {
            (Door::Control, Some(bound), _) | (Door::Metrics, _, Some(Listener::Unix(bound))) => {
                bound.listener.as_fd()
            }
            (Door::Metrics, _, Some(Listener::Tcp(listener))) => listener.as_fd(),
            _ => return None,
        };
        Some(PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Who waits at the door.
    pub(super) fn accept(&self, door: Door) -> Option<Stream> {
        match (door, &self.control, &self.metrics) {
            (Door::Control, Some(bound), _) => {
                let (stream, _) = bound.listener.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(if may_ask(&stream) { Stream::Unix(stream) } else { Stream::Stranger(stream) })
            }
            (Door::Metrics, _, Some(Listener::Unix(bound))) => {
                let (stream, _) = bound.listener.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Stream::Unix(stream))
            }
            (Door::Metrics, _, Some(Listener::Tcp(listener))) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Stream::Tcp(stream))
            }
            _ => None,
        }
    }
}

fn may_ask(stream: &UnixStream) -> bool {
    let Ok(peer) = getsockopt(stream, sockopt::PeerCredentials) else { return false };
    let user = Uid::from_raw(peer.uid());
    user.is_root() || user == Uid::effective()
}

fn bind_at(path: &Path) -> Result<Bound, ControlError> {
    match bind(path, 0o600) {
        Ok(Some(bound)) => Ok(bound),
        Ok(None) => Err(ControlError::Taken(path.display().to_string())),
        Err(source) => Err(ControlError::Control { path: path.display().to_string(), source }),
    }
}

/// At the usual place, or nowhere.
fn bind_usually() -> Option<Bound> {
    let name = name();
    for folder in folders() {
        let made = DirBuilder::new().mode(0o755).recursive(true).create(&folder);
        if made.is_err() {
            continue;
        }
        remove_stale(&folder);
        let other = format!("{name}-{}.sock", std::process::id());
        for name in [format!("{name}.sock"), other] {
            match bind(&folder.join(name), 0o600) {
                Ok(Some(bound)) => return Some(bound),
                Ok(None) => {}
                Err(error) => {
                    tracing::info!(%error, folder = %folder.display(), "no control socket there");
                    break;
                }
            }
        }
    }
    None
}

fn listen(place: &MetricsPlace) -> Result<Listener, ControlError> {
    let refused = |source| ControlError::Metrics { place: place.to_string(), source };
    match place {
        MetricsPlace::Address(address) => {
            let listener = TcpListener::bind(address).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            Ok(Listener::Tcp(listener))
        }
        // Who may read is whoever may enter the folder: numbers are no secret in themselves.
        MetricsPlace::Path(path) => match bind(path, 0o666).map_err(refused)? {
            Some(bound) => Ok(Listener::Unix(bound)),
            None => Err(refused(ErrorKind::AddrInUse.into())),
        },
    }
}

/// Listens at a path; `None`: somebody who lives does. What somebody left behind who does not is removed.
fn bind(path: &Path, mode: u32) -> io::Result<Option<Bound>> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if !is_socket(path) {
                return Err(error);
            }
            if !is_abandoned(path) {
                return Ok(None);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    let bound = Bound { listener, path: path.to_owned() };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    bound.listener.set_nonblocking(true)?;
    Ok(Some(bound))
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether a path is a socket that nobody listens to.
fn is_abandoned(path: &Path) -> bool {
    is_socket(path)
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn remove_stale(folder: &Path) {
    for path in sockets_in(folder) {
        let age = fs::metadata(&path).and_then(|file| file.modified()).ok();
        let age = age.and_then(|time| time.elapsed().ok()).unwrap_or_default();
        if age > STALE && is_abandoned(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    paths.sort();
    paths
}

fn folders() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .map(|folder| PathBuf::from(folder).join("spine-router"));
    std::iter::once(PathBuf::from("/run/spine-router")).chain(own).collect()
}

/// What the network namespace of this thread is called.
fn name() -> String {
    let id = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let Some(ours) = id("/proc/thread-self/ns/net") else { return std::process::id().to_string() };
    if id("/proc/1/ns/net") == Some(ours) {
        return "default".to_owned();
    }
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let found = names
        .filter(|file| id(&file.path().to_string_lossy()) == Some(ours))
        .find_map(|file| file.file_name().into_string().ok());
    found.unwrap_or_else(|| std::process::id().to_string())
}

/// The router of this network namespace; else the only one there is.
pub(super) fn default_path() -> Option<PathBuf> {
    let name = format!("{}.sock", name());
    let answers = |path: &PathBuf| UnixStream::connect(path).is_ok();
    let here = folders().into_iter().map(|folder| folder.join(&name)).find(answers);
    here.or_else(|| {
        let mut all = folders().into_iter().flat_map(|folder| sockets_in(&folder)).filter(answers);
        all.next().filter(|_| all.next().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_the_owners_alone_goes_with_its_router_and_one_left_behind_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.sock");
        let first = bind_at(&path).expect("a socket");
        let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let error = bind_at(&path).err().expect("taken").to_string();
        assert_eq!(error, format!("another router answers at {} (--control)", path.display()));
        assert!(may_ask(&UnixStream::connect(&path).expect("connected")), "ourselves");
        drop(first);
        assert!(!path.exists());

        drop(UnixListener::bind(&path).expect("somebody"));
        assert!(path.exists(), "and is killed");
        let second = bind_at(&path).expect("in its place");
        drop(second);

        fs::write(&path, "a file of somebody").expect("written");
        assert!(bind_at(&path).is_err());
        assert!(path.exists(), "no file of somebody else is touched");
        let nowhere = folder.path().join("none/r.sock");
        let error = bind_at(&nowhere).err().expect("no folder").to_string();
        assert!(
            error.starts_with("cannot listen at ") && error.contains("(--control): No such"),
            "{error}"
        );
    }
}
