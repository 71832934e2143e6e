//! The loader: one image to many adapters, or to none (SPINE 3.3.3).
//!
//! The adapter side is a trait, because `spine-os` and `spine-io` never import each other: whoever
//! owns both (an application, the daemon) connects them in a few lines.

use std::error::Error;

use thiserror::Error;

use crate::linker::{LinkError, Linker, SignedImage};
use spine_client::memory::Region;

/// What an adapter answers when it does not do what was asked.
pub type AdapterError = Box<dyn Error + Send + Sync>;

/// An adapter, as the loader sees it.
pub trait Adapter {
    /// What to call it in a message: the interface's name.
    fn name(&self) -> String;

    /// Checks the image, maps the regions, runs `init`, and serves the extension's handlers from
    /// then on. Gives the slot it lives in.
    ///
    /// # Errors
    /// Whatever the adapter says; it has kept nothing then.
    fn download(&mut self, image: &SignedImage, regions: &[&Region]) -> Result<u16, AdapterError>;

    /// Takes the extension out of its slot.
    ///
    /// # Errors
    /// Whatever the adapter says: there is no such extension any more.
    fn unload(&mut self, slot: u16) -> Result<(), AdapterError>;
}

/// Why an extension was not loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It was not linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An adapter refused it; those before have given it back.
    #[error("the adapter {adapter} refused the extension: {reason}")]
    Refused {
        /// The adapter.
        adapter: String,
        /// What it said.
        reason: AdapterError,
    },
}

/// Loads extensions.
pub struct Loader {
    linker: Linker,
}

impl Loader {
    /// A loader that links with `linker`.
    pub const fn new(linker: Linker) -> Self {
        Self { linker }
    }

    /// The linker.
    pub const fn linker(&self) -> &Linker {
        &self.linker
    }

    /// Links `wasm` once and downloads it to each adapter, all of which then share `regions`. Gives
    /// the slot on each.
    ///
    /// # Errors
    /// [`LoadError`]. No adapter has the extension then: the first refusal undoes the downloads
    /// before it.
    pub fn load(
        &self,
        wasm: &[u8],
        adapters: &mut [&mut dyn Adapter],
        regions: &[&Region],
    ) -> Result<Vec<u16>, LoadError> {
        let image = self.linker.link(wasm)?;
        let mut slots = Vec::with_capacity(adapters.len());
        for index in 0..adapters.len() {
            let downloaded = adapters[index].download(&image, regions);
            match downloaded {
                Ok(slot) => slots.push(slot),
                Err(reason) => {
                    let adapter = adapters[index].name();
                    undo(adapters, &slots);
                    return Err(LoadError::Refused { adapter, reason });
                }
            }
        }
        Ok(slots)
    }
}

/// Unloads from the adapters that have the extension. What one of them says to that cannot be
/// helped here, and the first refusal is what the caller must hear.
fn undo(adapters: &mut [&mut dyn Adapter], slots: &[u16]) {
    for (adapter, slot) in adapters.iter_mut().zip(slots) {
        if let Err(error) = adapter.unload(*slot) {
            tracing::warn!(adapter = adapter.name(), slot, %error, "could not unload");
        }
    }
}
