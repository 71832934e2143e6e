//! The key that two machines share whose extensions send each other messages (SPINE 8).
//!
//! 32 random bytes in a file on each of them, which only its owner can read: one line,
//! `spine-pair-key` and 64 hexadecimal digits. Made on one machine ([`create_file`], `spinectl
//! key`), and copied to the other by a way that both trust. What is done with it is the adapter's
//! (`spine_remote`).

use std::path::Path;

use crate::secret;
use crate::signature::KeyError;

const WORD: &str = "spine-pair-key";

/// Makes a key in a new file of mode 0600.
///
/// # Errors
/// [`KeyError`]; a file that exists is not touched.
pub fn create_file(path: &Path) -> Result<(), KeyError> {
    secret::write_new(path, WORD, &secret::generate()?)
}

/// Reads a key that only its owner, this process's user, can read.
///
/// # Errors
/// [`KeyError`]: one sentence with the file.
pub fn from_file(path: &Path) -> Result<[u8; secret::BYTES], KeyError> {
    secret::read(path, WORD)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_kept_from_others_and_read_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vienna.key");
        create_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = from_file(&path).unwrap();
        assert!(matches!(create_file(&path), Err(KeyError::File { .. })));
        assert_eq!(from_file(&path).unwrap(), key);
        let other = folder.path().join("graz.key");
        create_file(&other).unwrap();
        assert_ne!(from_file(&other).unwrap(), key);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = from_file(&path).unwrap_err().to_string();
        assert!(error.contains("its mode is 0644"), "{error}");
    }

    #[test]
    fn a_key_of_another_size_or_kind_is_refused_with_what_it_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.key");
        for text in [
            String::new(),
            format!("{WORD} {}", "0".repeat(62)),
            format!("{WORD} {}", "0".repeat(66)),
            format!("spine-secret-key {}", "0".repeat(64)),
        ] {
            fs::write(&path, &text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = from_file(&path).unwrap_err().to_string();
            assert!(error.contains("no line `spine-pair-key <64 hexadecimal digits>`"), "{error}");
        }
    }
}
