//! The socket's place: one daemon at it, and no trace of one that was killed.
//!
//! A lock on a file beside the socket says whose the place is; the kernel takes the lock away with its
//! owner, however that ends. Whoever has it may remove a socket that is there, after making sure that
//! nobody answers at it (another program could use the path without the lock).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use spine_client::daemon::socket::Connection;

/// A socket that listens, and is removed in the end.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    listener: OwnedFd,
    _lock: Flock<File>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("another spined listens at {0}: end it first, or take another --socket")]
    Taken(PathBuf),
    #[error("{0} is there and is not a socket: remove it, or take another --socket")]
    NoSocket(PathBuf),
    #[error(
        "{0} is a symbolic link: remove it, or take a --socket in a folder where only root writes"
    )]
    Link(PathBuf),
    #[error("cannot listen at {path}: {error}")]
    System { path: PathBuf, error: io::Error },
}

impl Place {
    /// Listens at a path. Everybody may connect: what a client may do, the policy says.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub(crate) fn take(path: &Path) -> Result<Self, PlaceError> {
        let system = |error| PlaceError::System { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(system)?;
        }
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = Connection::listen(path).map_err(system)?;
        fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(system)?;
        Ok(Self { path: path.to_owned(), listener, _lock: lock })
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The lock's file stays: whoever waits for it must find the same file.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> Result<Flock<File>, PlaceError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Who may write in the folder could have the file be anybody's.
        .custom_flags(libc::O_NOFOLLOW)
        .open(&name)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => PlaceError::Link(PathBuf::from(&name)),
            _ => PlaceError::System { path: PathBuf::from(&name), error },
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => PlaceError::Taken(path.to_owned()),
        errno => PlaceError::System { path: PathBuf::from(&name), error: errno.into() },
    })
}

fn remove_stale(path: &Path) -> Result<(), PlaceError> {
    let system = |error| PlaceError::System { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(about) if !about.file_type().is_socket() => {
            return Err(PlaceError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match Connection::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        Ok(_) => Err(PlaceError::Taken(path.to_owned())),
        Err(error) => Err(system(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_daemons_and_a_dead_ones_is_free_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/spined.sock");
        let first = Place::take(&path).expect("free");
        assert!(matches!(Place::take(&path), Err(PlaceError::Taken(_))));
        // As a kill leaves it: the socket is there, nobody listens, the lock is gone.
        let Place { listener, _lock: lock, .. } = &first;
        let (_, _) = (listener, lock);
        let stale = folder.path().join("stale.sock");
        drop(Connection::listen(&stale).expect("listening"));
        assert!(stale.exists());
        drop(Place::take(&stale).expect("free at once"));
        assert!(!stale.exists(), "an orderly end leaves nothing");
        drop(first);
        assert!(Place::take(&path).is_ok());
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, elsewhere) = (folder.path().join("a.sock"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("a.sock.lock")).expect("a link");
        let refused = Place::take(&path).expect_err("a link").to_string();
        assert!(refused.contains("a.sock.lock is a symbolic link"), "{refused}");
        assert!(!elsewhere.exists() && !path.exists(), "nothing was made");
    }

    #[test]
    fn what_is_no_socket_or_answers_without_the_lock_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "precious").expect("written");
        assert!(matches!(Place::take(&file), Err(PlaceError::NoSocket(_))));
        assert_eq!(fs::read(&file).expect("still there"), b"precious");
        let other = folder.path().join("other.sock");
        let _listener = Connection::listen(&other).expect("listening");
        assert!(matches!(Place::take(&other), Err(PlaceError::Taken(_))));
        assert!(other.exists());
    }
}
