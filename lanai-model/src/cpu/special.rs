//! Registers with effects, the two contexts, interrupts, and the stop at a word that is none.

use super::alu;
use super::decode::PC;
use super::execute::{Cpu, NO_LANDING};
use super::registers::{INTERRUPTS, MASK, OTHER_PC, OTHER_STATUS, STATUS, STATUS_USER};
use super::{Context, State};

impl Cpu {
    /// Decides whether something is to be looked at before the next instruction.
    pub(super) fn look(&mut self) {
        let interrupt =
            self.context() == Context::User && self.registers.interrupts() & self.imr() != 0;
        self.attention = interrupt || self.state != State::Running;
    }

    /// A write to the pc, or on the LANai 4 to r3 or r28 to r31.
    pub(super) fn write_special(&mut self, register: u8, value: u32) {
        let context = self.registers.status() & STATUS_USER;
        match register {
            PC => self.jump(value),
            STATUS => self.registers.set(STATUS, value & alu::FLAGS | context),
            OTHER_STATUS => {
                let other = context ^ STATUS_USER;
                self.registers.set(OTHER_STATUS, value & alu::FLAGS | other);
            }
            OTHER_PC => {
                // The other context begins anew: what it was about to do when it was interrupted is no more.
                self.parked = NO_LANDING;
                self.registers.set(OTHER_PC, value & !0b11);
            }
            MASK => {
                self.registers.set(MASK, value);
                self.look();
            }
            INTERRUPTS => self.isr_written = Some(value),
            _ => {}
        }
    }

    /// Takes the interrupt unless the pc is in a delay slot; returns its cycles.
    pub(super) fn interrupt(&mut self) -> u32 {
        if self.next != self.pc.wrapping_add(4) {
            return 0;
        }
        self.parked = std::mem::replace(&mut self.landing, NO_LANDING);
        self.switch_context();
        self.cost.interrupt
    }

    /// To the other context, where a load may be on its way still.
    pub(super) fn punt(&mut self) {
        self.land();
        self.switch_context();
        if self.context() == Context::User {
            self.loading = std::mem::replace(&mut self.parked, NO_LANDING);
        }
    }

    fn switch_context(&mut self) {
        let other = self.registers.switch_context(self.pc);
        self.set_pc(other);
        self.look();
    }

    /// Stays at an illegal word.
    pub(super) fn stop(&mut self, address: u32, word: u32) {
        self.set_pc(address);
        self.state = State::Illegal { address, word };
        self.attention = true;
    }
}
