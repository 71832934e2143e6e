//! The linker's key: a file only root can read, made at the first start.

use std::path::Path;

use spine_client::signature::{KeyError, SecretKey};

/// Reads the key, or makes one where there is no file.
///
/// # Errors
/// [`KeyError`], one sentence: others can read it, for one.
pub(crate) fn open(path: &Path) -> Result<SecretKey, KeyError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|error| KeyError::File { path: path.to_owned(), error })?;
            }
            SecretKey::create_file(path)
        }
        _ => SecretKey::from_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/linker.key");
        let made = open(&path).expect("made").public();
        assert_eq!(open(&path).expect("read").public(), made);
        std::fs::write(&path, "nonsense").expect("written");
        assert!(open(&path).is_err(), "never replaced");
    }
}
