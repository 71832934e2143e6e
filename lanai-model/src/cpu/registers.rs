//! The register file and the two contexts.
//!
//! r0 and r1 are the constants 0 and !0. On the LANai 4, r3 is the status word (flags and context), r28 and r29 the other
//! context's status and pc, r30 the interrupt mask and r31 the interrupt register; a switch of contexts reverses the order
//! of r4 to r27, so that r4 of one context is r27 of the other \[SRC\]. v11 has none of these: its flags, and the interrupt
//! bits that a board may still raise, live in places of the file that no instruction can name.

use super::alu::FLAGS;
use super::decode::PC;
use super::{Context, Isa};

/// The status bit that says which context runs: 0 system, 1 user. Instructions cannot change it.
pub const STATUS_USER: u32 = 1 << 4;

pub(super) const STATUS: u8 = 3;
pub(super) const OTHER_STATUS: u8 = 28;
pub(super) const OTHER_PC: u8 = 29;
pub(super) const MASK: u8 = 30;
pub(super) const INTERRUPTS: u8 = 31;

/// Where a value goes that lands in no register.
pub(super) const NOWHERE: u8 = 63;

/// Where v11 keeps its flags, ISR and IMR.
const HIDDEN: u8 = 32;

#[derive(Clone, Debug)]
pub(super) struct Registers {
    file: [u32; 64],
    status: u8,
    interrupts: u8,
    mask: u8,
}

impl Registers {
    /// All zeros but the constants: what the hardware leaves undefined is the same in every run.
    pub(super) fn new(isa: Isa) -> Self {
        let mut registers = match isa {
            Isa::V11 => Registers {
                file: [0; 64],
                status: HIDDEN,
                interrupts: HIDDEN + 1,
                mask: HIDDEN + 2,
            },
            Isa::Lanai4 => {
                Registers { file: [0; 64], status: STATUS, interrupts: INTERRUPTS, mask: MASK }
            }
        };
        registers.file[1] = u32::MAX;
        if isa == Isa::Lanai4 {
            registers.set(OTHER_STATUS, STATUS_USER);
        }
        registers
    }

    #[inline(always)]
    pub(super) fn get(&self, register: u8) -> u32 {
        self.file[usize::from(register & 63)]
    }

    /// Stores without side effects; the constants stay.
    #[inline(always)]
    pub(super) fn set(&mut self, register: u8, value: u32) {
        let place = if register < 2 { NOWHERE } else { register & 63 };
        self.file[usize::from(place)] = value;
    }

    /// Whether a write to the register only stores: the pc jumps, and the LANai 4 has more with effects.
    #[inline(always)]
    pub(super) fn is_plain<const FOUR: bool>(register: u8) -> bool {
        let plain: u32 = if FOUR { 0x0fff_ffff & !(1 << PC | 1 << STATUS) } else { !(1 << PC) };
        plain >> (register & 31) & 1 != 0
    }

    /// The pc as instructions read it.
    #[inline(always)]
    pub(super) fn set_visible_pc(&mut self, value: u32) {
        self.file[usize::from(PC)] = value;
    }

    /// Flags, and on the LANai 4 the context.
    pub(super) fn status(&self) -> u32 {
        self.get(self.status)
    }

    /// The same, for who knows the set.
    #[inline(always)]
    pub(super) fn flags<const FOUR: bool>(&self) -> u32 {
        self.get(if FOUR { STATUS } else { HIDDEN })
    }

    #[inline(always)]
    pub(super) fn set_flags<const FOUR: bool>(&mut self, flags: u32) {
        let index = usize::from(if FOUR { STATUS } else { HIDDEN });
        self.file[index] = self.file[index] & !FLAGS | flags;
    }

    pub(super) fn context(&self) -> Context {
        if self.status() & STATUS_USER == 0 { Context::System } else { Context::User }
    }

    pub(super) fn interrupts(&self) -> u32 {
        self.get(self.interrupts)
    }

    pub(super) fn set_interrupts(&mut self, bits: u32) {
        self.set(self.interrupts, bits);
    }

    pub(super) fn mask(&self) -> u32 {
        self.get(self.mask)
    }

    /// Exchanges the contexts' status words, pcs and register orders; `resume` is where this one goes on later, and the
    /// answer is where the other one goes on now.
    pub(super) fn switch_context(&mut self, resume: u32) -> u32 {
        let other_pc = self.get(OTHER_PC);
        self.set(OTHER_PC, resume);
        self.file.swap(usize::from(STATUS), usize::from(OTHER_STATUS));
        self.file[4..28].reverse();
        other_pc
    }
}
