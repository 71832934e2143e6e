//! Files of keys and signatures: lines of a word and hexadecimal digits, and what can be wrong with one.
//!
//! Which words there are, and what the digits mean, is the business of [`signature`](crate::signature) and of
//! `secret`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use thiserror::Error;

use crate::hex;

/// Bytes of a file of keys or signatures, at most.
const FILE_BYTES: u64 = 64 << 10;

/// Why a key or signature could not be had.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The operating system gave no random numbers.
    #[error("the system gave no random numbers for a key: {0}")]
    Random(getrandom::Error),
    /// The file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others could have read or written the secret.
    #[error(
        "{path}: a secret key must be a regular file of mode 0600 that belongs to the user who reads it: {found}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// The file does not hold what it should.
    #[error("{path}: no line `{word} <{digits} hexadecimal digits>` that makes sense")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the line should start with.
        word: &'static str,
        /// How many digits should follow.
        digits: usize,
    },
}

/// A small file's text.
pub(crate) fn read_text(file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The values of all lines that mean anything, each `None` where it is not `word` and the digits.
pub(crate) fn values<const N: usize>(
    text: &str,
    word: &str,
) -> impl Iterator<Item = Option<[u8; N]>> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(move |line| {
        let (first, digits) = line.split_once(' ')?;
        if first == word { from_hex(digits.trim()) } else { None }
    })
}

/// So many bytes, if the digits are those of so many.
pub(crate) fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    hex::decode(digits)?.try_into().ok()
}
