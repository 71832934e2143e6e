//! Where a script reads and writes.

use std::fmt;

use lanai_model::cpu::Width;
use lanai_model::registers;

use super::value;

/// Something with an address or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Memory of the board, as the processor sees it.
    Sram(u32),
    /// A special register, by its offset.
    Register(u32),
    /// The board's PCI space, as the host sees it.
    Bar(u32),
    /// Memory of the host.
    Host(u32),
    /// A register of the processor.
    Cpu(u8),
    /// The interrupt line to the host: 0 or 1.
    Irq,
    /// How often that line went up.
    Irqs,
}

/// The processor's registers by name; the numbers are `Cpu::register`'s.
const CPU_NAMES: &[(&str, u8)] = &[
    ("pc", 2),
    ("ps", 3),
    ("sw", 3),
    ("sp", 4),
    ("fp", 5),
    ("rv", 8),
    ("aps", 28),
    ("apc", 29),
    ("imr", 30),
    ("isr", 31),
];

impl Place {
    /// Reads `text`; `sram` is how much memory the board has.
    pub(super) fn parse(text: &str, sram: u32) -> Result<Self, String> {
        if let Some((space, rest)) = text.split_once(':') {
            return Self::in_space(space, rest, sram);
        }
        if let Some(offset) = registers::by_name(text) {
            return Ok(Self::Register(offset));
        }
        match text.to_ascii_lowercase().as_str() {
            "irq" => return Ok(Self::Irq),
            "irqs" => return Ok(Self::Irqs),
            "pc" => return Ok(Self::Cpu(2)),
            _ => {}
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "`{text}` is no place: an address, a register's name (DMA_CTR), or reg:, bar:, host:, cpu: and a number"
            ));
        }
        let address = value::number(text)?;
        if address >= registers::BASE {
            return Ok(Self::Register(address - registers::BASE));
        }
        Self::sram(address, sram)
    }

    fn in_space(space: &str, rest: &str, sram: u32) -> Result<Self, String> {
        match space.to_ascii_lowercase().as_str() {
            "sram" => Self::sram(value::number(rest)?, sram),
            "reg" => match registers::by_name(rest) {
                Some(offset) => Ok(Self::Register(offset)),
                None => Self::register(value::number(rest)?),
            },
            "bar" | "pci" => Ok(Self::Bar(value::number(rest)?)),
            "host" | "hostmem" => Ok(Self::Host(value::number(rest)?)),
            "cpu" => Self::cpu(rest),
            _ => Err(format!(
                "`{space}:` is no address space; there are sram:, reg:, bar:, host: and cpu:"
            )),
        }
    }

    fn sram(address: u32, sram: u32) -> Result<Self, String> {
        if address < sram {
            return Ok(Self::Sram(address));
        }
        Err(format!(
            "{address:#x} is outside the board's memory (0 to {:#x}); registers are at 0xffffff00, and bar:{address:#x} is \
             the host's view",
            sram - 1
        ))
    }

    fn register(offset: u32) -> Result<Self, String> {
        let offset = if offset >= registers::BASE { offset - registers::BASE } else { offset };
        if offset < registers::SIZE {
            return Ok(Self::Register(offset));
        }
        Err(format!("register offset {offset:#x} is beyond 0xff"))
    }

    fn cpu(name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        let numbered =
            lower.strip_prefix('r').and_then(|n| n.parse().ok()).filter(|&n: &u8| n < 32);
        let named = CPU_NAMES.iter().find(|(known, _)| *known == lower).map(|&(_, number)| number);
        numbered
            .or(named)
            .map(Self::Cpu)
            .ok_or_else(|| format!("`{name}` is no register of the processor (r0 to r31, pc, ps)"))
    }

    /// The place `bytes` further on, for lists of values.
    pub(super) fn plus(self, bytes: u32) -> Self {
        match self {
            Self::Sram(at) => Self::Sram(at.saturating_add(bytes)),
            Self::Register(at) => Self::Register(at.wrapping_add(bytes) % registers::SIZE),
            Self::Bar(at) => Self::Bar(at.wrapping_add(bytes)),
            Self::Host(at) => Self::Host(at.wrapping_add(bytes)),
            Self::Cpu(_) | Self::Irq | Self::Irqs => self,
        }
    }

    /// Whether `count` accesses of `width` one after the other make sense here.
    pub(super) fn check(self, width: Width, count: u32, sram: u32) -> Result<(), String> {
        let size = size(width);
        let at = match self {
            Self::Sram(at) | Self::Register(at) | Self::Bar(at) | Self::Host(at) => at,
            Self::Cpu(_) | Self::Irq | Self::Irqs if width == Width::Word && count == 1 => {
                return Ok(());
            }
            _ => return Err(format!("{self} is one word: use r32 or w32 for one value")),
        };
        if at % size != 0 {
            return Err(format!("{self} is not a multiple of {size}"));
        }
        let end = u64::from(at) + u64::from(count) * u64::from(size);
        let limit = match self {
            Self::Sram(_) => u64::from(sram),
            Self::Register(_) => u64::from(registers::SIZE),
            _ => 1 << 32,
        };
        if end > limit {
            return Err(format!("{count} values at {self} go beyond {limit:#x}"));
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Sram(at) => write!(f, "{at:#010x}"),
            Self::Register(offset) => match registers::name(offset) {
                Some(name) => f.write_str(name),
                None => write!(f, "reg:{offset:#04x}"),
            },
            Self::Bar(at) => write!(f, "bar:{at:#010x}"),
            Self::Host(at) => write!(f, "host:{at:#010x}"),
            Self::Cpu(2) => f.write_str("cpu:pc"),
            Self::Cpu(number) => write!(f, "cpu:r{number}"),
            Self::Irq => f.write_str("irq"),
            Self::Irqs => f.write_str("irqs"),
        }
    }
}

/// `value` with as many digits as `width` has.
pub(super) fn hex(value: u32, width: Width) -> String {
    format!("{value:#0digits$x}", digits = 2 + 2 * size(width) as usize)
}

/// Bytes of an access.
pub(super) fn size(width: Width) -> u32 {
    match width {
        Width::Byte => 1,
        Width::Half => 2,
        Width::Word => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use lanai_model::cpu::Width;

    const SRAM: u32 = 256 << 10;

    #[test]
    fn places_and_how_they_print() {
        let cases = [
            ("0x100", "0x00000100"),
            ("256", "0x00000100"),
            ("sram:0x100", "0x00000100"),
            ("dma_ctr", "DMA_CTR"),
            ("DMACTR", "DMA_CTR"),
            ("0xFFFFFF44", "DMA_CTR"),
            ("reg:0x44", "DMA_CTR"),
            ("reg:isr", "ISR"),
            ("reg:0x5c", "reg:0x5c"),
            ("bar:0xC0044", "bar:0x000c0044"),
            ("host:4096", "host:0x00001000"),
            ("cpu:r17", "cpu:r17"),
            ("cpu:pc", "cpu:pc"),
            ("irq", "irq"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Place::parse(text, SRAM).map(|p| p.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in ["", "0x40000", "reg:0x100", "cpu:r32", "cpu:", "x:1", "DMA_CTRL", "sram:", ":"]
        {
            assert!(Place::parse(text, SRAM).is_err(), "{text}");
        }
    }

    #[test]
    fn accesses_are_aligned_and_inside() {
        assert!(Place::Sram(2).check(Width::Word, 1, SRAM).is_err());
        assert!(Place::Sram(SRAM - 4).check(Width::Word, 1, SRAM).is_ok());
        assert!(Place::Sram(SRAM - 4).check(Width::Word, 2, SRAM).is_err());
        assert!(Place::Host(u32::MAX - 3).check(Width::Word, 1, SRAM).is_ok());
        assert!(Place::Cpu(4).check(Width::Byte, 1, SRAM).is_err());
        assert!(Place::Register(0xFC).check(Width::Word, u32::MAX, SRAM).is_err());
    }
}
