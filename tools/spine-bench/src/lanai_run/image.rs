//! An image: a file of raw big-endian words, and where it goes.
//!
//! An object file for the Lanai (`clang --target=lanai -c`) is linked, and assembly text (`*.s`) is assembled, to run where it
//! goes.

use std::path::PathBuf;
use std::str::FromStr;

use lanai_model::cpu::Isa;
use lanai_model::object::{assemble, link};

use super::value;

/// FILE@ADDRESS of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) address: u32,
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an image is FILE@ADDRESS".to_owned());
        }
        let Some((path, address)) = text.rsplit_once('@') else {
            return Ok(Self { path: text.into(), address: 0 });
        };
        let address = value::number(address)
            .map_err(|e| format!("{e}; an image is FILE@ADDRESS, as in firmware.bin@0x1000"))?;
        Ok(Self { path: path.into(), address })
    }
}

impl Image {
    /// Its bytes, if they fit into `size` bytes of memory where it goes.
    pub(super) fn read(&self, size: u32, isa: Isa) -> Result<Vec<u8>, String> {
        let name = self.path.display();
        let bytes = std::fs::read(&self.path).map_err(|e| format!("image {name}: {e}"))?;
        let bytes = if bytes.starts_with(b"\x7fELF") {
            if isa == Isa::Lanai4 {
                eprintln!("note: {name} is an object file, and clang compiles for --isa v11");
            }
            link(&[(&name.to_string(), &bytes)], self.address)
                .map_err(|e| format!("image {name}: {e}"))?
                .bytes
        } else if self.path.extension().is_some_and(|extension| extension == "s") {
            let text = String::from_utf8(bytes)
                .map_err(|_| format!("image {name}: assembly text is not UTF-8"))?;
            let words =
                assemble(&text, self.address).map_err(|e| format!("image {name}: {e}"))?.words;
            words.into_iter().flat_map(u32::to_be_bytes).collect()
        } else {
            bytes
        };
        let end = u64::from(self.address) + bytes.len() as u64;
        if end > u64::from(size) {
            return Err(format!(
                "image {name} does not fit: {} bytes at {:#x} end at {end:#x}, and the board has {size:#x} bytes of memory",
                bytes.len(),
                self.address
            ));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn an_image_is_a_file_and_an_address() {
        let cases = [
            ("a.bin@0x100", Some(("a.bin", 0x100))),
            ("a.bin", Some(("a.bin", 0))),
            ("x@y/a@16", Some(("x@y/a", 16))),
        ];
        for (text, expected) in cases {
            let image = text.parse::<Image>().ok();
            assert_eq!(
                image.as_ref().map(|i| (i.path.to_str().unwrap(), i.address)),
                expected,
                "{text}"
            );
        }
        assert!("a.bin@here".parse::<Image>().is_err() && "".parse::<Image>().is_err());
    }
}
