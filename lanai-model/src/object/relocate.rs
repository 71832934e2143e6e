//! The relocations of EM_LANAI objects.
//!
//! What each number means is LLVM's definition \[SRC\]; compilers emit the branch, high and low ones.

/// A branch's absolute target, in bits 24 to 2 of its word.
const R_LANAI_25: u32 = 3;
/// A constant of 21 bits: five in bits 22 to 18, sixteen in bits 15 to 0.
const R_LANAI_21: u32 = 1;
/// The same with the address's low two bits zero, as the absolute loads and stores want it.
const R_LANAI_21_F: u32 = 2;
/// A word.
const R_LANAI_32: u32 = 4;
/// The high half of an address, in bits 15 to 0.
const R_LANAI_HI16: u32 = 5;
/// The low half of an address, in bits 15 to 0; it is `or`ed in, so that the high half needs no carry.
const R_LANAI_LO16: u32 = 6;

/// `word` with `address` where the relocation of number `kind` puts it.
///
/// # Errors
/// A sentence: the address does not fit, or the number is not known.
pub(super) fn relocate(word: u32, kind: u32, address: u32) -> Result<u32, String> {
    let low = address & 0xffff;
    match kind {
        R_LANAI_25 if address & 0b11 != 0 => {
            Err(format!("a branch to {address:#x}, which is no multiple of 4"))
        }
        R_LANAI_25 if address >> 25 != 0 => {
            Err(format!("a branch to {address:#x}, beyond the 32 MB that branches reach"))
        }
        R_LANAI_25 => Ok(word & !0x01ff_fffc | address),
        R_LANAI_21 | R_LANAI_21_F if address >> 21 != 0 => {
            Err(format!("{address:#x} does not fit into 21 bits"))
        }
        R_LANAI_21 => Ok(word & !0x007c_ffff | address >> 16 << 18 | low),
        R_LANAI_21_F => Ok(word & !0x007c_ffff | address >> 16 << 18 | low & !0b11),
        R_LANAI_32 => Ok(address),
        R_LANAI_HI16 => Ok(word & !0xffff | address >> 16),
        R_LANAI_LO16 => Ok(word & !0xffff | low),
        _ => Err(format!("the relocation number {kind} is unknown (known: 1 to 6)")),
    }
}
