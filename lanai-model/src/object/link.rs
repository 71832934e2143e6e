//! Several objects become one image for one address.
//!
//! There is no linker for this processor (facts 2.4), and SPINE's paper has its own for the same reason. Sections come in
//! the order of the objects, those with contents first and the zeros last; then the supplied routines, if any object needs
//! one. Nothing is left out or merged.

use std::collections::{BTreeMap, HashMap};

use super::elf::{Object, Place};
use super::error::LinkError;
use super::relocate::relocate;
use super::runtime::{runtime, supplies};

/// Branches reach 2^25 bytes: nothing is linked beyond.
pub(super) const MAX_ADDRESS: u64 = 1 << 25;

/// More than any section of a compiler asks for.
pub(super) const MAX_ALIGN: u32 = 1 << 16;

/// A program for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where its first byte belongs.
    pub base: u32,
    /// All of it, zeroed variables included; big-endian.
    pub bytes: Vec<u8>,
    /// The names that objects and routines show each other, and their addresses.
    pub symbols: BTreeMap<String, u32>,
}

impl Image {
    /// The address of a name.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u32> {
        self.symbols.get(name).copied()
    }

    /// The image's words; a last one that is not full is filled with zeros.
    #[must_use]
    pub fn words(&self) -> Vec<u32> {
        let word = |chunk: &[u8]| {
            let mut bytes = [0; 4];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u32::from_be_bytes(bytes)
        };
        self.bytes.chunks(4).map(word).collect()
    }
}

/// Links relocatable EM_LANAI objects (each a name for errors, and the file's bytes) to run at `base`.
///
/// What the objects leave undefined is taken from the supplied routines: products, quotients, remainders and shifts of 32 and
/// 64 bits as compilers name them, and `memcpy`, `memmove`, `memset`, `memcmp`.
///
/// # Errors
/// [`LinkError`]: a file that is no such object or contradicts itself, names defined twice or nowhere, or a place that
/// cannot hold its value.
pub fn link(objects: &[(&str, &[u8])], base: u32) -> Result<Image, LinkError> {
    if !base.is_multiple_of(16) || u64::from(base) >= MAX_ADDRESS {
        return Err(LinkError::Base { base });
    }
    let objects: Vec<Object> =
        objects.iter().map(|(file, data)| Object::read(file, data)).collect::<Result<_, _>>()?;
    let mut layout = Layout::new(base, &objects)?;
    let mut symbols = layout.globals(&objects)?;
    layout.add_runtime(&objects, &mut symbols)?;
    for (number, object) in objects.iter().enumerate() {
        layout.relocate(number, object, &symbols)?;
    }
    let symbols = symbols.into_iter().map(|(name, global)| (name, global.address)).collect();
    Ok(Image { base, bytes: layout.bytes, symbols })
}

/// A name that other objects see.
struct Global {
    address: u32,
    weak: bool,
    file: String,
}

type Globals = HashMap<String, Global>;

struct Layout {
    base: u32,
    bytes: Vec<u8>,
    /// Address of each section of each object.
    addresses: Vec<Vec<u32>>,
}

impl Layout {
    fn new(base: u32, objects: &[Object]) -> Result<Layout, LinkError> {
        let addresses = objects.iter().map(|object| vec![0; object.sections.len()]).collect();
        let mut layout = Layout { base, bytes: Vec::new(), addresses };
        for zeros in [false, true] {
            for (number, object) in objects.iter().enumerate() {
                for (index, section) in object.sections.iter().enumerate() {
                    if section.zeros == zeros {
                        layout.addresses[number][index] =
                            layout.append(&section.bytes, section.size, section.align)?;
                    }
                }
            }
        }
        Ok(layout)
    }

    /// Adds `size` bytes at the next multiple of `align`, `bytes` and then zeros; the answer is their address.
    fn append(&mut self, bytes: &[u8], size: u64, align: u32) -> Result<u32, LinkError> {
        let end = u64::from(self.base) + self.bytes.len() as u64;
        let start = end.next_multiple_of(u64::from(align));
        let end = start.saturating_add(size);
        let (Ok(address), true) = (u32::try_from(start), end <= MAX_ADDRESS) else {
            return Err(LinkError::TooLarge { end });
        };
        self.bytes.resize((address - self.base) as usize, 0);
        self.bytes.extend_from_slice(bytes);
        let missing = size.saturating_sub(bytes.len() as u64);
        // At most the 32 MB checked above.
        self.bytes.extend((0..missing).map(|_| 0));
        Ok(address)
    }

    /// The names that objects define for each other. A weak definition gives way; two others are an error.
    fn globals(&self, objects: &[Object]) -> Result<Globals, LinkError> {
        let mut globals = Globals::new();
        for (number, object) in objects.iter().enumerate() {
            for symbol in object.symbols.iter().filter(|symbol| !symbol.local) {
                let Some(address) = self.address(number, symbol.place) else { continue };
                let global = Global { address, weak: symbol.weak, file: object.file.clone() };
                match globals.get(&symbol.name) {
                    Some(first) if !first.weak && !global.weak => {
                        return Err(LinkError::Twice {
                            symbol: symbol.name.clone(),
                            first: first.file.clone(),
                            second: global.file,
                        });
                    }
                    Some(first) if !first.weak || global.weak => {}
                    _ => {
                        globals.insert(symbol.name.clone(), global);
                    }
                }
            }
        }
        Ok(globals)
    }

    fn address(&self, number: usize, place: Place) -> Option<u32> {
        match place {
            Place::Section { index, offset } => Some(self.addresses[number][index] + offset),
            Place::Absolute(address) => Some(address),
            Place::Undefined { .. } | Place::NotLoaded => None,
        }
    }

    /// Adds the supplied routines if an object needs one that no object defines.
    fn add_runtime(&mut self, objects: &[Object], globals: &mut Globals) -> Result<(), LinkError> {
        let needed = objects.iter().flat_map(|object| &object.symbols).any(|symbol| {
            matches!(symbol.place, Place::Undefined { .. })
                && !globals.contains_key(&symbol.name)
                && supplies(&symbol.name)
        });
        if !needed {
            return Ok(());
        }
        let base = self.append(&[], 0, 16)?;
        let file = "the supplied routines";
        let assembly = runtime(base).map_err(|error| LinkError::Section {
            file: file.into(),
            section: ".text".into(),
            reason: error.to_string(),
        })?;
        let bytes: Vec<u8> = assembly.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.append(&bytes, bytes.len() as u64, 16)?;
        for (name, address) in assembly.symbols {
            globals.entry(name).or_insert_with(|| Global {
                address,
                weak: true,
                file: file.into(),
            });
        }
        Ok(())
    }

    fn relocate(
        &mut self,
        number: usize,
        object: &Object,
        globals: &Globals,
    ) -> Result<(), LinkError> {
        for (index, section) in object.sections.iter().enumerate() {
            for relocation in &section.relocations {
                let symbol = &object.symbols[relocation.symbol];
                let own = if symbol.local { self.address(number, symbol.place) } else { None };
                let target = own.or_else(|| globals.get(&symbol.name).map(|global| global.address));
                let target = match (target, symbol.place) {
                    (Some(target), _) => target,
                    (None, Place::Undefined { weak: true }) => 0,
                    (None, _) => {
                        return Err(LinkError::Undefined {
                            symbol: symbol.name.clone(),
                            file: object.file.clone(),
                        });
                    }
                };
                let wrong = |reason| LinkError::Relocation {
                    file: object.file.clone(),
                    section: section.name.clone(),
                    offset: relocation.offset,
                    symbol: symbol.name.clone(),
                    reason,
                };
                let value = i64::from(target)
                    .checked_add(relocation.addend)
                    .and_then(|value| u32::try_from(value).ok())
                    .ok_or_else(|| {
                        wrong(format!("the addend {} leaves the address space", relocation.addend))
                    })?;
                let start =
                    u64::from(self.addresses[number][index] - self.base) + relocation.offset;
                let place = usize::try_from(start)
                    .ok()
                    .and_then(|start| self.bytes.get_mut(start..)?.first_chunk_mut::<4>())
                    .ok_or_else(|| wrong("the place is outside the image".into()))?;
                let word =
                    relocate(u32::from_be_bytes(*place), relocation.kind, value).map_err(wrong)?;
                *place = word.to_be_bytes();
            }
        }
        Ok(())
    }
}
