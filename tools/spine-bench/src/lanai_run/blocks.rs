//! `hostmem` and `sram`: blocks of bytes in the host's or the board's memory.

use std::path::PathBuf;

use super::value;

/// The most bytes that one line moves.
const MOST: u32 = 64 << 20;

/// What to do with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Put these bytes there.
    Write { address: u32, bytes: Vec<u8> },
    /// Fill it.
    Fill { address: u32, length: u32, byte: u8 },
    /// Print it, or save it in a file.
    Dump { address: u32, length: u32, file: Option<PathBuf> },
    /// Put a file there.
    Load { address: u32, file: PathBuf },
    /// These bytes are to be there.
    Expect { address: u32, bytes: Vec<u8> },
}

/// What the command takes.
pub(super) fn usage(name: &str) -> String {
    format!(
        "{name} takes `write ADDR BYTES`, `fill ADDR LENGTH BYTE`, `read ADDR LENGTH`, `dump ADDR LENGTH [FILE]`, \
         `load ADDR FILE`, `expect ADDR BYTES`, or `w8`...`r32` as without {name}"
    )
}

impl Block {
    /// Reads what follows `hostmem` or `sram` (`name`), whose memory ends at `limit`.
    pub(super) fn parse(
        name: &str,
        command: &str,
        words: &[&str],
        limit: u64,
    ) -> Result<Self, String> {
        let (address, rest) = words.split_first().ok_or_else(|| usage(name))?;
        let address = value::number(address)?;
        let block = match (command, rest) {
            ("write", [_, ..]) => Self::Write { address, bytes: value::bytes(rest)? },
            ("expect", [_, ..]) => Self::Expect { address, bytes: value::bytes(rest)? },
            ("fill", [length]) => Self::Fill { address, length: value::number(length)?, byte: 0 },
            ("fill", [length, byte]) => {
                let byte = u8::try_from(value::number(byte)?)
                    .map_err(|_| format!("`{byte}` is more than a byte"))?;
                Self::Fill { address, length: value::number(length)?, byte }
            }
            ("read" | "dump", [length]) => {
                Self::Dump { address, length: value::number(length)?, file: None }
            }
            ("dump" | "save", [length, file]) => {
                Self::Dump { address, length: value::number(length)?, file: Some(file.into()) }
            }
            ("load", [file]) => Self::Load { address, file: file.into() },
            _ => return Err(usage(name)),
        };
        let length = block.length();
        if length > u64::from(MOST) {
            return Err(format!("{length} bytes are more than the {MOST} that one line moves"));
        }
        block.check(limit)?;
        Ok(block)
    }

    /// Whether it ends inside a memory of `limit` bytes.
    fn check(&self, limit: u64) -> Result<(), String> {
        let (address, length) = (self.address(), self.length());
        if u64::from(address) + length > limit {
            return Err(format!("{length} bytes at {address:#x} go beyond {limit:#x}"));
        }
        Ok(())
    }

    /// Where it begins.
    fn address(&self) -> u32 {
        match *self {
            Self::Write { address, .. }
            | Self::Fill { address, .. }
            | Self::Dump { address, .. }
            | Self::Load { address, .. }
            | Self::Expect { address, .. } => address,
        }
    }

    /// Its bytes, as far as the line says.
    fn length(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } | Self::Expect { bytes, .. } => bytes.len() as u64,
            Self::Fill { length, .. } | Self::Dump { length, .. } => u64::from(*length),
            Self::Load { .. } => 0,
        }
    }
}

/// Lines of 16 bytes, each with its address.
pub(super) fn dump(name: &str, address: u32, bytes: &[u8]) -> Vec<String> {
    let lines = (0u32..).step_by(16).zip(bytes.chunks(16));
    lines
        .map(|(offset, row)| {
            format!("{name} {:#010x}: {}", address.wrapping_add(offset), value::hex(row))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Block, dump};

    #[test]
    fn blocks_are_checked_against_the_memory_they_are_in() {
        let parse = |command: &str, words: &[&str]| Block::parse("sram", command, words, 1 << 18);
        assert!(parse("fill", &["0", "0x40000", "0xff"]).is_ok());
        assert!(parse("fill", &["4", "0x40000", "0"]).unwrap_err().contains("beyond"));
        assert!(parse("fill", &["0", "4", "256"]).unwrap_err().contains("byte"));
        assert!(parse("write", &["0"]).unwrap_err().contains("takes"));
        assert!(
            Block::parse("hostmem", "dump", &["0", "0x10000000"], 1 << 32)
                .unwrap_err()
                .contains("one line")
        );
    }

    #[test]
    fn a_dump_is_sixteen_bytes_a_line() {
        let lines = dump("hostmem", 0x1000, &[7; 18]);
        assert_eq!(lines[1], "hostmem 0x00001010: 07 07");
        assert_eq!(lines.len(), 2);
    }
}
