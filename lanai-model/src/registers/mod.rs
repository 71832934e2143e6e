//! The special registers: where they are and what their bits mean.
//!
//! They begin at [`BASE`] in the processor's address space, one word each. The offsets and bits are the LANai 4's (SRC
//! Cplant); what an access does besides reading and writing is in `board`.

pub mod isr;
pub mod offset;

/// Where the registers begin in the processor's address space.
pub const BASE: u32 = 0xFFFF_FF00;

/// How many bytes of registers there are.
pub const SIZE: u32 = 0x100;

/// MYRINET: the link's time-out resets it.
pub const NRES_ENABLE: u32 = 1;
/// MYRINET: the last byte of a packet is its CRC-8.
pub const CRC_ENABLE: u32 = 2;

/// DMA_DIR: from the LANai to the host.
pub const L2E: u32 = 0;
/// DMA_DIR: from the host to the LANai.
pub const E2L: u32 = 1;

/// Register names with their offsets, in order; the last three are section 7's hardware.
pub const NAMES: &[(&str, u32)] = &[
    ("IPF0", 0x00),
    ("CUR0", 0x04),
    ("PREV0", 0x08),
    ("DATA0", 0x0C),
    ("DPF0", 0x10),
    ("IPF1", 0x14),
    ("CUR1", 0x18),
    ("PREV1", 0x1C),
    ("DATA1", 0x20),
    ("DPF1", 0x24),
    ("ISR", offset::ISR),
    ("EIMR", offset::EIMR),
    ("IT", offset::IT),
    ("RTC", offset::RTC),
    ("CKS", offset::CKS),
    ("EAR", offset::EAR),
    ("LAR", offset::LAR),
    ("DMA_CTR", offset::DMA_CTR),
    ("RMP", offset::RMP),
    ("RML", offset::RML),
    ("SMP", offset::SMP),
    ("SML", offset::SML),
    ("SMLT", offset::SMLT),
    ("RB", offset::RB),
    ("RH", offset::RH),
    ("RW", offset::RW),
    ("SA", offset::SA),
    ("SB", offset::SB),
    ("SH", offset::SH),
    ("SW", offset::SW),
    ("ST", offset::ST),
    ("DMA_DIR", offset::DMA_DIR),
    ("DMA_STS", 0x84),
    ("TIMEOUT", offset::TIMEOUT),
    ("MYRINET", offset::MYRINET),
    ("HW_DBUG", 0x90),
    ("LED", 0x94),
    ("VERSION", 0x98),
    ("WRITE_ENABLE", 0x9C),
    ("PULSE", offset::PULSE),
    ("CHAIN_L2E", offset::CHAIN_L2E),
    ("CHAIN_E2L", offset::CHAIN_E2L),
    ("STRIDE_ROW", offset::STRIDE_ROW),
    ("STRIDE_STEP", offset::STRIDE_STEP),
    ("FIFO_BASE", offset::FIFO_BASE),
    ("FIFO_SIZE", offset::FIFO_SIZE),
    ("FIFO_PUT", offset::FIFO_PUT),
    ("FIFO_GET", offset::FIFO_GET),
    ("CLOCK", 0xFC),
];

/// Other spellings that firmware and drivers of the time use.
const ALIASES: &[(&str, &str)] = &[
    ("DMADIR", "DMA_DIR"),
    ("DMACTR", "DMA_CTR"),
    ("DMA_COUNTER", "DMA_CTR"),
    ("DMASTS", "DMA_STS"),
    ("ISTAT", "ISR"),
    ("TIMER", "IT"),
    ("ACTIVATE", "WRITE_ENABLE"),
];

/// The offset of the register called `name`, in upper or lower case.
#[must_use]
pub fn by_name(name: &str) -> Option<u32> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    let name = ALIASES.iter().find(|(alias, _)| is(alias)).map_or(name, |(_, known)| known);
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, offset)| offset)
}

/// The name of the register at `offset`, if it has one.
#[must_use]
pub fn name(offset: u32) -> Option<&'static str> {
    NAMES.iter().find(|&&(_, known)| known == offset).map(|&(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, SIZE, by_name, name};

    #[test]
    fn names_and_offsets_are_one_to_one() {
        for (i, &(register, offset)) in NAMES.iter().enumerate() {
            assert_eq!(by_name(&register.to_lowercase()), Some(offset));
            assert_eq!(name(offset), Some(register));
            assert!(offset % 4 == 0 && offset < SIZE);
            assert!(NAMES.iter().skip(i + 1).all(|&(_, other)| other > offset), "{register}");
        }
    }

    /// Cplant's table, whole; where Linux has other offsets, a binary of the time agrees with these.
    #[test]
    fn the_offsets_are_the_lanai_4s() {
        let expected: &[(u32, &[&str])] = &[
            (0x00, &["IPF0", "CUR0", "PREV0", "DATA0", "DPF0"]),
            (0x14, &["IPF1", "CUR1", "PREV1", "DATA1", "DPF1"]),
            (0x28, &["ISR", "EIMR", "IT", "RTC", "CKS", "EAR", "LAR", "DMA_CTR"]),
            (0x48, &["RMP", "RML", "SMP", "SML", "SMLT"]),
            (0x60, &["RB", "RH", "RW", "SA", "SB", "SH", "SW", "ST"]),
            (0x80, &["DMA_DIR", "DMA_STS", "TIMEOUT", "MYRINET"]),
            (0x90, &["HW_DBUG", "LED", "VERSION", "WRITE_ENABLE"]),
            (0xFC, &["CLOCK"]),
        ];
        for (first, names) in expected {
            for (offset, register) in (*first..).step_by(4).zip(*names) {
                assert_eq!(by_name(register), Some(offset), "{register}");
            }
        }
        assert_eq!(by_name("dmadir"), Some(0x80));
        for later in ["RMC", "RMW", "SMC", "SMH"] {
            assert_eq!(by_name(later), None, "{later} came with the LANai 5");
        }
    }
}
