//! Keys and signatures: whose code this is (SPINE 3.3.3).
//!
//! Two parties sign, both with Ed25519:
//!
//! - the *linker* signs every image it makes. An adapter turns an image into running machine code,
//!   so this signature is all that stands between it and anybody's bytes. The key lives in the
//!   process ([`SecretKey::generate`]), or in a file only its owner can read.
//! - the *author* signs the .wasm that people ship, in a file beside it (`<file>.sig`). Whoever runs
//!   it names the authors he trusts.
//!
//! The two cannot be taken for one another: what they sign starts with `SPINEIMG` and with `\0asm`.
//!
//! # Files
//! Lines of text: a word that says what it is, a space, and hexadecimal digits. Empty lines and
//! those that start with `#` mean nothing.
//!
//! | word | digits | in a file |
//! |---|---|---|
//! | `spine-secret-key` | 64 | once, mode 0600 |
//! | `spine-pair-key` | 64 | once, mode 0600: see [`pair_key`](crate::pair_key) |
//! | `spine-public-key` | 64 | as often as there are keys to trust |
//! | `spine-signature` | 128 | once |

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use spine_abi::image::SIGNATURE_BYTES;
use thiserror::Error;

pub use crate::key_file::KeyError;
use crate::key_file::{from_hex, read_text, values};
use crate::{hex, secret};

const SECRET: &str = "spine-secret-key";
const PUBLIC: &str = "spine-public-key";
const SIGNATURE: &str = "spine-signature";

/// A signature that is not what it should be: another key's, or for other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not this key's, or not for these bytes")]
pub struct BadSignature;

/// The half of a key that signs.
pub struct SecretKey(SigningKey);

/// The half of a key that checks; 32 bytes that anybody may know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl SecretKey {
    /// A new key, which dies with the process unless it is written to a file.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(SigningKey::from_bytes(&secret::generate()?)))
    }

    /// The key made from 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Makes a new key and writes it to a new file of mode 0600.
    ///
    /// # Errors
    /// [`KeyError`]; a file that exists is not touched.
    pub fn create_file(path: &Path) -> Result<Self, KeyError> {
        let key = Self::generate()?;
        secret::write_new(path, SECRET, key.0.as_bytes())?;
        Ok(key)
    }

    /// Reads a key that only its owner, this process's user, can read.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_seed(&secret::read(path, SECRET)?))
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `bytes`.
    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(bytes).to_bytes()
    }

    /// Signs the module in the file `wasm` as its author, into `<wasm>.sig`. Gives that path.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn sign_file(&self, wasm: &Path) -> Result<PathBuf, KeyError> {
        let bytes =
            fs::read(wasm).map_err(|error| KeyError::File { path: wasm.to_owned(), error })?;
        let path = signature_path(wasm);
        fs::write(&path, format!("{SIGNATURE} {}\n", hex::encode(&self.sign(&bytes))))
            .map_err(|error| KeyError::File { path: path.clone(), error })?;
        Ok(path)
    }
}

impl fmt::Debug for SecretKey {
    /// Shows the public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretKey").field(&self.public()).finish()
    }
}

impl PublicKey {
    /// The key with these bytes; `None` where they are no key, or one that checks anything.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// The key with these 64 hexadecimal digits, as it stands in a file of keys or in a policy.
    pub fn from_hex(digits: &str) -> Option<Self> {
        Self::from_bytes(&from_hex(digits)?)
    }

    /// The 32 bytes: what an adapter is given.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks a signature, strictly: no other signature of the same bytes is accepted.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        bytes: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(bytes, &signature).map_err(|_| BadSignature)
    }

    /// The line that a file of trusted keys has for this one.
    pub fn to_line(&self) -> String {
        format!("{PUBLIC} {}", hex::encode(&self.to_bytes()))
    }

    /// Reads the keys in a file: those whose code its reader trusts. At least one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Vec<Self>, KeyError> {
        let text = File::open(path)
            .and_then(|file| read_text(&file))
            .map_err(|error| KeyError::File { path: path.to_owned(), error })?;
        let keys: Option<Vec<Self>> =
            values(&text, PUBLIC).map(|bytes| Self::from_bytes(&bytes?)).collect();
        keys.filter(|keys| !keys.is_empty()).ok_or_else(|| KeyError::Format {
            path: path.to_owned(),
            word: PUBLIC,
            digits: 64,
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.to_bytes()))
    }
}

/// Where the author's signature of a file is.
pub fn signature_path(wasm: &Path) -> PathBuf {
    let mut path = wasm.as_os_str().to_owned();
    path.push(".sig");
    PathBuf::from(path)
}

/// Checks an author's signature, given as the text of its file, against the keys trusted.
///
/// # Errors
/// [`BadSignature`]: no signature in the text, or that of no key in `trusted`.
pub fn verify_author(
    wasm: &[u8],
    signature: &str,
    trusted: &[PublicKey],
) -> Result<PublicKey, BadSignature> {
    let found: Vec<Option<[u8; SIGNATURE_BYTES]>> = values(signature, SIGNATURE).collect();
    let [Some(signature)] = found.as_slice() else { return Err(BadSignature) };
    let mut keys = trusted.iter().copied();
    keys.find(|key| key.verify(wasm, signature).is_ok()).ok_or(BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_key_survives_its_file_and_nothing_overwrites_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linker.key");
        let made = SecretKey::create_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(SecretKey::from_file(&path).unwrap().public(), made.public());
        assert!(matches!(SecretKey::create_file(&path), Err(KeyError::File { .. })));
        assert_eq!(SecretKey::from_file(&path).unwrap().public(), made.public());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linker.key");
        SecretKey::create_file(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SecretKey::from_file(&path).unwrap_err();
        assert!(error.to_string().contains("its mode is 0640"), "{error}");

        let link = folder.path().join("link.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(SecretKey::from_file(&link), Err(KeyError::File { .. })));
    }

    #[test]
    fn a_key_file_with_anything_else_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let public = SecretKey::generate().unwrap().public().to_line();
        let half = &public[..public.len() - 1];
        let secret = format!("{SECRET} {}", "0".repeat(64));
        let cases: [(&str, String); 6] = [
            ("empty", String::new()),
            ("only a comment", "# nothing\n".to_owned()),
            ("a digit is missing", half.to_owned()),
            ("not a digit", format!("{half}g")),
            ("another kind of line", secret),
            ("the second line is broken", format!("{public}\n{half}")),
        ];
        for (name, text) in cases {
            let path = folder.path().join("trusted.pub");
            fs::write(&path, text).unwrap();
            let error = PublicKey::from_file(&path).unwrap_err();
            assert!(matches!(error, KeyError::Format { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_trusted_file_may_hold_several_keys_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [SecretKey::generate().unwrap(), SecretKey::generate().unwrap()];
        let path = folder.path().join("trusted.pub");
        let lines = keys.each_ref().map(|key| key.public().to_line());
        fs::write(&path, format!("# authors\n{}\n\n  {}\n", lines[0], lines[1])).unwrap();
        let expected = keys.each_ref().map(SecretKey::public);
        assert_eq!(PublicKey::from_file(&path).unwrap(), expected);
    }

    #[test]
    fn weak_keys_are_no_keys() {
        // The neutral element: "signatures" under it hold for any message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::from_bytes(&neutral), None);
    }
}
