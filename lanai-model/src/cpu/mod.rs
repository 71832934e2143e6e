//! The processor of the adapter: registers, contexts, cycles.
//!
//! Why it exists: the firmware of an adapter of 1998, and C compiled for one today, run here instruction by instruction,
//! and every instruction costs cycles, so that what the paper measured in microseconds can be counted.
//!
//! The processor knows no board. What it fetches, loads and stores goes through [`Memory`]; interrupt bits are raised and
//! cleared by whoever owns it. There is no clock but the cycles it returns, and no word of memory can make it panic:
//! what it cannot execute stops it in [`State::Illegal`].
//!
//! What it leaves out: the pipeline as such (only what programs see of it: slots, and cycles in [`Cost`]), and the watchdog.
//! What is not published is decided once and marked: (DER) in the text of the module that decides.
//!
//! How a board uses it:
//!
//! ```text
//! let mut cpu = Cpu::new(Isa::Lanai4);  // reset, at address 0, in the system context
//! cpu.raise(DMA_INT);                   // an engine finished: sets ISR bits (`clear` clears them)
//! cpu.isr(); cpu.imr();                 // what the host reads; v11 has no r30/r31 for them, the board maps the ISR
//! let one = cpu.step(&mut board);       // one instruction: its cycles
//! let used = cpu.run(&mut board, 33);   // until 33 cycles are used or Memory::elapsed answers true
//! cpu.register(4); cpu.set_register(4, sp); cpu.pc(); cpu.set_pc(entry); cpu.state(); cpu.context();
//! ```

mod alu;
mod cost;
mod decode;
mod disassemble;
mod execute;
mod flat;
mod op;
mod perform;
mod registers;
mod special;

pub(crate) use decode::PUNT;
pub(crate) use disassemble::{CONDITIONS, OPERATIONS};

pub use alu::{FLAG_C, FLAG_N, FLAG_V, FLAG_Z};
pub use cost::{CLOCK_HZ, Cost};
pub use disassemble::disassemble;
pub use execute::Cpu;
pub use flat::FlatMemory;
pub use registers::STATUS_USER;

/// The two instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// What LLVM's Lanai target emits (`clang --target=lanai`): interlocked loads, one context, no interrupts.
    V11,
    /// The LANai 4 of the paper's adapter: two contexts and `punt`, an exposed load slot, r28 to r31 are APS, APC, IMR
    /// and ISR, no loads into the pc. It has what any LANai 4 had: the second ALU of 4.0 and the sub-word loads of 4.1.
    Lanai4,
}

/// How much of memory one access touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
}

/// HOST_SIG, the only ISR bit that the processor sets by writing it; writing any other bit clears that bit.
pub const HOST_SIG: u32 = 1 << 30;

/// What is behind the processor's bus: SRAM, special registers, nothing.
///
/// Every access answers something: an address where nothing is reads as whatever the board says, and a store there is
/// the board's to ignore and count.
pub trait Memory {
    /// The instruction word at `address`, a multiple of four.
    fn fetch(&mut self, address: u32) -> u32;

    /// Reads `width` at `address`, big-endian, in the low bits of the answer; higher bits are ignored.
    ///
    /// `address` is aligned to `width`: the processor clears the low bits, as a bus without byte lanes for them does.
    fn load(&mut self, address: u32, width: Width) -> u32;

    /// Writes the low `width` bits of `value` at `address`, big-endian, aligned as for [`Memory::load`].
    fn store(&mut self, address: u32, width: Width, value: u32);

    /// Cycles that the accesses since the last call waited for the SRAM, beyond the instruction's own.
    fn take_wait_cycles(&mut self) -> u32 {
        0
    }

    /// What the ISR (now `isr`) becomes when the processor writes `value` to r31.
    ///
    /// The default is the LANai 4's rule: a one clears its bit, except [`HOST_SIG`], which it sets.
    fn isr_write(&mut self, isr: u32, value: u32) -> u32 {
        (isr & !value) | (value & HOST_SIG)
    }

    /// Told after each instruction how many cycles it took; `true` ends [`Cpu::run`] here.
    ///
    /// A board adds the cycles to its own time, so that a load of its real-time clock is exact, and answers `true` when
    /// its next event is due or a store has changed what that is.
    fn elapsed(&mut self, cycles: u32) -> bool {
        let _ = cycles;
        false
    }
}

/// Whether the processor can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It executes instructions.
    Running,
    /// It met a word that its instruction set does not define, and stays there until reset; each step costs one cycle.
    Illegal {
        /// Where the word is.
        address: u32,
        /// The word.
        word: u32,
    },
}

/// Which of the LANai 4's two contexts runs; v11 has the system context only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Context 0, which is not interruptible; reset starts it.
    System,
    /// Context 1; ISR & IMR != 0 switches to the system context.
    User,
}
