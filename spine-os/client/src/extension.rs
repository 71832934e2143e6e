//! Extensions in files: a .wasm and its author's signature beside it.
//!
//! An extension that is part of an application's binary needs none: whoever trusts the binary has
//! trusted it already. One that comes in a file is anybody's until the signature says whose.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use spine_abi::limits::MODULE_BYTES;
use thiserror::Error;

use crate::key_file::read_text;
use crate::signature::{PublicKey, signature_path, verify_author};

/// Why a file was not taken for an extension.
#[derive(Debug, Error)]
pub enum ExtensionError {
    /// The .wasm could not be read.
    #[error("cannot read the extension {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is too large to be one.
    #[error("the extension {path} is larger than the {MODULE_BYTES} bytes an extension may have")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// There is no signature.
    #[error(
        "the extension {path} is unsigned: its author's signature {signature} cannot be read: {error}"
    )]
    Unsigned {
        /// The file.
        path: PathBuf,
        /// Where the signature should be.
        signature: PathBuf,
        /// Why it cannot be read.
        error: io::Error,
    },
    /// No key was given to check it with.
    #[error(
        "the extension {path} cannot be trusted without its author's key: give it with --trust KEYFILE"
    )]
    NobodyTrusted {
        /// The file.
        path: PathBuf,
    },
    /// The signature is nobody's who is trusted.
    #[error(
        "the extension {path} is not signed by anybody trusted, or was changed since: its signature fits none of the {keys} keys given with --trust"
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// How many keys were tried.
        keys: usize,
    },
}

/// Reads an extension that one of `trusted` has signed: the bytes that were checked, to be linked.
///
/// # Errors
/// [`ExtensionError`].
pub fn load_file(path: &Path, trusted: &[PublicKey]) -> Result<Vec<u8>, ExtensionError> {
    let unreadable = |error| ExtensionError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mut wasm = Vec::new();
    file.take(MODULE_BYTES as u64 + 1).read_to_end(&mut wasm).map_err(unreadable)?;
    if wasm.len() > MODULE_BYTES {
        return Err(ExtensionError::TooLarge { path: path.to_owned() });
    }
    let signature_file = signature_path(path);
    let signature =
        File::open(&signature_file).and_then(|file| read_text(&file)).map_err(|error| {
            ExtensionError::Unsigned { path: path.to_owned(), signature: signature_file, error }
        })?;
    if trusted.is_empty() {
        return Err(ExtensionError::NobodyTrusted { path: path.to_owned() });
    }
    match verify_author(&wasm, &signature, trusted) {
        Ok(_) => Ok(wasm),
        Err(_) => Err(ExtensionError::Untrusted { path: path.to_owned(), keys: trusted.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SecretKey;
    use std::fs;

    #[test]
    fn only_what_a_trusted_author_signed_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello.wasm");
        let (author, stranger) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let trusted = [stranger.public(), author.public()];
        let refused = |trusted: &[PublicKey]| load_file(&path, trusted).unwrap_err();

        assert!(matches!(refused(&trusted), ExtensionError::Unreadable { .. }), "no file");
        fs::write(&path, b"\0asm").unwrap();
        assert!(matches!(refused(&trusted), ExtensionError::Unsigned { .. }), "no signature");
        author.sign_file(&path).unwrap();
        assert!(matches!(refused(&[]), ExtensionError::NobodyTrusted { .. }), "no key");
        assert!(matches!(refused(&trusted[..1]), ExtensionError::Untrusted { .. }), "other key");
        assert_eq!(load_file(&path, &trusted).unwrap(), b"\0asm");
        fs::write(&path, b"\0asM").unwrap();
        assert!(matches!(refused(&trusted), ExtensionError::Untrusted { .. }), "changed");
        fs::write(signature_path(&path), "spine-signature 00").unwrap();
        assert!(matches!(refused(&trusted), ExtensionError::Untrusted { .. }), "broken signature");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = load_file(folder.path(), &[]).unwrap_err();
        assert!(matches!(error, ExtensionError::Unreadable { .. }), "{error}");
        let path = folder.path().join("large.wasm");
        File::create(&path).unwrap().set_len(MODULE_BYTES as u64 + 1).unwrap();
        let error = load_file(&path, &[]).unwrap_err();
        assert!(matches!(error, ExtensionError::TooLarge { .. }), "{error}");
    }
}
