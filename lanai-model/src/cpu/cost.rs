//! What instructions cost, in processor cycles.
//!
//! Little is published about the LANai 4's timing, so each figure carries its mark: \[SRC\] read in a public source, \[REC\]
//! recalled, \[DER\] derived. None comes from a measurement of hardware.

/// Clock rate of the LANai 4.x processor, which is the PCI bus's: 33 MHz, 30.3 ns a cycle [SRC: the paper, section 4].
pub const CLOCK_HZ: u64 = 33_000_000;

/// Cycles of each kind of instruction; waits for the SRAM come on top, from [`super::Memory::take_wait_cycles`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Every instruction, delay slots included.
    pub instruction: u32,
    /// v11: more when an instruction reads what the one before it loaded. The LANai 4 has no interlock and never pays.
    pub load_use: u32,
    /// More for a load of a byte or a half word.
    pub sub_word_load: u32,
    /// More for a store of a byte or a half word.
    pub sub_word_store: u32,
    /// An interrupt's switch to the system context, before the system's first instruction.
    pub interrupt: u32,
}

impl Cost {
    /// What the model uses: LANai 4 timing for both instruction sets.
    ///
    /// One instruction a cycle in a pipeline of four stages [SRC: Myricom's LANai 3.0 pages; DER for the 4.x]; one cycle
    /// more for the use of a loaded register [SRC: LLVM's format descriptions]; sub-word accesses as words \[DER\]; one cycle
    /// for the fetch that an interrupt throws away \[DER\].
    pub const RECOMMENDED: Cost =
        Cost { instruction: 1, load_use: 1, sub_word_load: 0, sub_word_store: 0, interrupt: 1 };

    /// An upper bound: the latencies of LLVM's schedule for v11 charged in full (sub-word store 4, store 2, load 2) \[SRC\].
    ///
    /// Stores have no result to wait for, so that real hardware is between the two.
    pub const SCHEDULE: Cost =
        Cost { instruction: 1, load_use: 1, sub_word_load: 1, sub_word_store: 2, interrupt: 1 };
}
