//! Files with a secret in them: one line, readable by their owner alone.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::hex;
use crate::key_file::{KeyError, read_text, values};

/// Bytes of every secret.
pub(crate) const BYTES: usize = 32;

/// Random bytes for a new one.
///
/// # Errors
/// [`KeyError::Random`].
pub(crate) fn generate() -> Result<[u8; BYTES], KeyError> {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    Ok(secret)
}

/// Writes a secret to a new file of mode 0600, behind the word that says what it is.
///
/// # Errors
/// [`KeyError::File`]; a file that exists is not touched.
pub(crate) fn write_new(path: &Path, word: &str, secret: &[u8; BYTES]) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(O_CLOEXEC);
    let line = format!("{word} {}\n", hex::encode(secret));
    options
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| KeyError::File { path: path.to_owned(), error })
}

/// Reads a secret that only its owner, this process's user, can read.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn read(path: &Path, word: &'static str) -> Result<[u8; BYTES], KeyError> {
    let io = |error| KeyError::File { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(O_CLOEXEC | O_NOFOLLOW).open(path).map_err(io)?;
    // Asked of the open file, not of the path: nobody can change it in between.
    let about = file.metadata().map_err(io)?;
    let user = nix::unistd::geteuid().as_raw();
    let exposed = |found| Err(KeyError::Exposed { path: path.to_owned(), found });
    if !about.is_file() {
        return exposed("it is no regular file".to_owned());
    } else if about.uid() != user {
        return exposed(format!("it belongs to user {}, not {user}", about.uid()));
    } else if about.mode() & 0o077 != 0 {
        return exposed(format!("its mode is {:04o}", about.mode() & 0o7777));
    }
    let text = read_text(&file).map_err(io)?;
    let found: Vec<Option<[u8; BYTES]>> = values(&text, word).collect();
    match found.as_slice() {
        [Some(secret)] => Ok(*secret),
        _ => Err(KeyError::Format { path: path.to_owned(), word, digits: 2 * BYTES }),
    }
}
