//! Images that were made before: what was compiled once is not compiled again.
//!
//! An application that starts again, a second one of the same kind, a user who loads and unloads without end: each
//! brings the same module, and its image depends on nothing but that module, the domains it is granted and what
//! others export. So signed images are kept by the hash of all these, those last used, in bounded memory, until the
//! daemon ends.
//!
//! Why may users share them? The linker's process sees nothing of who asks. What a module that takes it over could
//! forge is the image of its own bytes, and who loads these has it forge the same.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use spine_abi::interface::Domains;
use spine_abi::limits::IMAGE_BYTES;
use spine_os::domain::Exports;

/// Bytes of images that are kept: one of the largest, or a hundred ordinary ones.
const BYTES: usize = IMAGE_BYTES;

/// What an image is made of, as a hash.
type Key = [u8; 32];

/// Signed images, the one last used at the end.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Vec<(Key, Arc<Vec<u8>>)>>);

impl Cache {
    /// The image of a module against these domains: one that was made before, or the one that `make` makes.
    ///
    /// # Errors
    /// Those of `make`; they are not kept.
    pub(crate) fn image<E>(
        &self,
        wasm: &[u8],
        domains: Domains,
        exports: &Exports,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        let key = key(wasm, domains, exports);
        if let Some(image) = self.find(&key) {
            return Ok(image);
        }
        // Others are not held up meanwhile; two who come at once both make it.
        let image = Arc::new(make()?);
        self.keep(key, &image);
        Ok(image)
    }

    fn find(&self, key: &Key) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, _)| of == key)?;
        let found = kept.remove(at);
        let image = Arc::clone(&found.1);
        kept.push(found);
        Some(image)
    }

    fn keep(&self, key: Key, image: &Arc<Vec<u8>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != key);
        kept.push((key, Arc::clone(image)));
        let mut bytes: usize = kept.iter().map(|(_, image)| image.len()).sum();
        while bytes > BYTES && !kept.is_empty() {
            bytes -= kept.remove(0).1.len();
        }
    }
}

/// Everything that an image depends on, but what stays the same while the daemon runs.
fn key(wasm: &[u8], domains: Domains, exports: &Exports) -> Key {
    let mut hash = Sha256::new();
    let exports = exports.to_bytes();
    hash.update(domains.0.to_le_bytes());
    hash.update((exports.len() as u64).to_le_bytes());
    hash.update(&exports);
    hash.update(wasm);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A cache, and how often something was made for it.
    #[derive(Default)]
    struct Counted(Cache, Cell<u32>);

    impl Counted {
        fn load(&self, wasm: &[u8], domains: Domains, bytes: usize) -> Result<usize, &'static str> {
            let made = self.0.image(wasm, domains, &Exports::none(), || {
                self.1.set(self.1.get() + 1);
                if wasm.is_empty() { Err("refused") } else { Ok(vec![0; bytes]) }
            });
            made.map(|image| image.len())
        }
    }

    #[test]
    fn what_was_made_once_is_not_made_again_and_what_differs_is() {
        let counted = Counted::default();
        for _ in 0..3 {
            assert_eq!(counted.load(b"one", Domains::CORE, 10), Ok(10));
        }
        assert_eq!(counted.1.get(), 1);
        counted.load(b"another", Domains::CORE, 10).expect("made");
        counted.load(b"one", Domains(u32::MAX), 10).expect("made");
        assert_eq!(counted.1.get(), 3, "another module, and other domains");
        for _ in 0..2 {
            assert_eq!(counted.load(b"", Domains::CORE, 0), Err("refused"));
        }
        assert_eq!(counted.1.get(), 5, "a refusal is not kept");
    }

    #[test]
    fn its_memory_is_bounded_and_what_was_used_last_stays() {
        let counted = Counted::default();
        let third = BYTES / 3;
        for name in [b"a", b"b", b"c", b"a", b"d"] {
            counted.load(name, Domains::CORE, third).expect("made");
        }
        assert_eq!(counted.1.get(), 4);
        let bytes: usize = counted.0.0.lock().expect("ok").iter().map(|it| it.1.len()).sum();
        assert!(bytes <= BYTES);
        counted.load(b"a", Domains::CORE, third).expect("kept");
        assert_eq!(counted.1.get(), 4, "used after b, so b went");
        counted.load(b"b", Domains::CORE, third).expect("made");
        assert_eq!(counted.1.get(), 5);
        assert_eq!(counted.load(b"huge", Domains::CORE, BYTES + 1), Ok(BYTES + 1), "not kept");
    }
}
