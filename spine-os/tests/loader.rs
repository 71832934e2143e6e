//! Loading: on all adapters, or on none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use spine_abi::interface::Domains;
use spine_client::memory::Region;
use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::{Linker, SignedImage};
use spine_os::loader::{Adapter, AdapterError, LoadError, Loader};

mod common;

/// An adapter that keeps what it is given, or refuses it.
#[derive(Default)]
struct Memo {
    name: &'static str,
    refuses: bool,
    held: Vec<(u16, Vec<u8>, usize)>,
    unloaded: usize,
}

impl Adapter for Memo {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn download(&mut self, image: &SignedImage, regions: &[&Region]) -> Result<u16, AdapterError> {
        if self.refuses {
            return Err("no slot is free".into());
        }
        self.held.push((5, image.as_bytes().to_vec(), regions.len()));
        Ok(5)
    }

    fn unload(&mut self, slot: u16) -> Result<(), AdapterError> {
        self.held.retain(|(held, ..)| *held != slot);
        self.unloaded += 1;
        Ok(())
    }
}

fn loader() -> Loader {
    let key = SecretKey::generate().unwrap();
    Loader::new(Linker::new(key, Policy::everything()).unwrap())
}

fn wasm() -> Vec<u8> {
    let text = "(module (memory (export \"memory\") 1) (func (export \"run\")))";
    common::module(text, Domains::CORE)
}

#[test]
fn every_adapter_gets_the_same_image_and_regions() {
    let (mut left, mut right) = (Memo::default(), Memo::default());
    let region = Region::create("table", 1).unwrap();
    let slots = loader().load(&wasm(), &mut [&mut left, &mut right], &[&region]).unwrap();
    assert_eq!(slots, [5, 5]);
    assert_eq!(left.held, right.held);
    assert_eq!(left.held[0].2, 1);
}

#[test]
fn one_refusal_undoes_the_others() {
    let (mut left, mut last) = (Memo::default(), Memo::default());
    let mut full = Memo { name: "eth7", refuses: true, ..Memo::default() };
    let adapters: &mut [&mut dyn Adapter] = &mut [&mut left, &mut full, &mut last];
    let error = loader().load(&wasm(), adapters, &[]).unwrap_err();
    assert_eq!(error.to_string(), "the adapter eth7 refused the extension: no slot is free");
    assert!(left.held.is_empty() && left.unloaded == 1);
    assert!(last.held.is_empty() && last.unloaded == 0);
}

#[test]
fn what_is_not_linked_reaches_no_adapter() {
    let mut adapter = Memo::default();
    let error = loader().load(b"junk", &mut [&mut adapter], &[]).unwrap_err();
    assert!(matches!(error, LoadError::Link(_)));
    assert!(adapter.held.is_empty());
}
