//! The numbers of the board, and the switches.

use super::behaviour::behaviour;
use super::{Constant, Mark, Marked};
use crate::cpu::Isa;
use crate::time::{Rate, Time};

/// How much memory the board carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SramSize {
    /// 256 KB.
    K256,
    /// 512 KB.
    K512,
    /// 1 MB: the paper's adapter (section 4).
    M1,
}

impl SramSize {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::K256 => 256 << 10,
            Self::K512 => 512 << 10,
            Self::M1 => 1 << 20,
        }
    }
}

/// The hardware of section 7 that the LANai 4 does not have. All off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// A host DMA engine that follows lists (section 7.2).
    pub chained_dma: bool,
    /// A host DMA engine that skips a constant distance after each row (section 7.2).
    pub strided_dma: bool,
    /// A doorbell region whose writes land in a FIFO in SRAM (section 7.1).
    pub hardware_fifo: bool,
}

/// A board's numbers and switches; [`Config::default`] is the paper's adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Memory on the board.
    pub sram: SramSize,
    /// Which instruction set the processor has.
    pub isa: Isa,
    /// Processor cycles a second.
    pub clock: Rate,
    /// The tick of RTC and IT.
    pub tick: Time,
    /// From the write of DMA_CTR to the first byte on the PCI bus.
    pub dma_start_up: Time,
    /// Host DMA, bytes a second once it runs.
    pub dma_rate: Rate,
    /// What a read of the board costs the host.
    pub pio_read: Time,
    /// What a write to the board costs the host.
    pub pio_write: Time,
    /// The link, bytes a second each way.
    pub link_rate: Rate,
    /// From a byte into a switch to the byte out of it.
    pub switch_latency: Time,
    /// Bytes the board holds of what arrives before it stops the link.
    pub receive_fifo: usize,
    /// Bytes an engine moves between two looks at the rest of the board.
    pub burst: u32,
    /// Whether engines and processor compete for the SRAM.
    pub arbitration: bool,
    /// SRAM accesses a processor cycle, used with `arbitration` only.
    pub sram_accesses_per_cycle: u32,
    /// Section 7's what-ifs.
    pub extra: Extra,
}

macro_rules! marked {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr, $mark:ident, $source:expr;)*) => {
        $($(#[$doc])* const $name: Marked<$type> = Marked { value: $value, mark: Mark::$mark, source: $source };)*

        /// Every constant a board is built from, with its mark.
        #[must_use]
        pub fn constants() -> Vec<Constant> {
            let mut list = vec![$(Constant {
                name: stringify!($name),
                value: show(&$name.value),
                mark: $name.mark,
                source: $name.source,
            }),*];
            list.extend(behaviour());
            list
        }
    };
}

marked! {
    /// Processor clock.
    CLOCK: Rate = Rate::per_second(33_000_000), Paper, "section 4: a 33 MHz LANai processor; one instruction a cycle is derived";
    /// Tick of RTC and IT.
    TICK: Time = Time::from_ns(500), Src, "Cplant timer.h";
    /// Host DMA start-up.
    DMA_START_UP: Time = Time::from_us(1), Rec, "1 to 2 us in the VMMC paper, not found again";
    /// Host DMA bandwidth.
    DMA_RATE: Rate = Rate::per_second(110_000_000), Der, "from 108.4 MB/s = 98 % of the hardware (Princeton TR-570-97)";
    /// Host read over PCI.
    PIO_READ: Time = Time::from_ns(420), Rec, "VMMC paper, not found again";
    /// Host write over PCI.
    PIO_WRITE: Time = Time::from_ns(120), Rec, "VMMC paper, not found again";
    /// Link speed.
    LINK_RATE: Rate = Rate::per_second(160_000_000), Paper, "section 4: a wire rate of 160 MB/s";
    /// Switch latency.
    SWITCH_LATENCY: Time = Time::from_ns(500), Rec, "0.3 to 0.55 us for an 8-port switch, not found again";
    /// Receive FIFO of the link interface.
    RECEIVE_FIFO: usize = 128, Der, "unknown; small, so that the link stops when nobody receives";
    /// Engine burst.
    BURST: u32 = 32, Der, "granularity of the model: eight words of PCI";
    /// SRAM accesses a cycle.
    SRAM_ACCESSES_PER_CYCLE: u32 = 2, Rec, "LBUS at twice the processor clock, not found again";
}

/// A value with its unit, for [`constants`].
fn show(value: &dyn Show) -> String {
    value.show()
}

trait Show {
    fn show(&self) -> String;
}

impl Show for Rate {
    fn show(&self) -> String {
        format!("{} a second", self.get())
    }
}

impl Show for Time {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sram: SramSize::M1,
            isa: Isa::Lanai4,
            clock: CLOCK.value,
            tick: TICK.value,
            dma_start_up: DMA_START_UP.value,
            dma_rate: DMA_RATE.value,
            pio_read: PIO_READ.value,
            pio_write: PIO_WRITE.value,
            link_rate: LINK_RATE.value,
            switch_latency: SWITCH_LATENCY.value,
            receive_fifo: RECEIVE_FIFO.value,
            burst: BURST.value,
            arbitration: false,
            sram_accesses_per_cycle: SRAM_ACCESSES_PER_CYCLE.value,
            extra: Extra::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, constants};
    use crate::config::Mark;

    #[test]
    fn every_constant_says_how_it_is_known() {
        let list = constants();
        assert!(list.len() > 20);
        for constant in &list {
            assert!(!constant.source.is_empty() && !constant.value.is_empty(), "{constant:?}");
        }
        let mark = |name: &str| list.iter().find(|c| c.name == name).map(|c| c.mark);
        assert_eq!(mark("LINK_RATE"), Some(Mark::Paper));
        assert_eq!(mark("DMA_START_UP"), Some(Mark::Rec));
        assert_eq!(mark("CKS"), Some(Mark::Der));
    }

    #[test]
    fn the_default_is_the_papers_adapter() {
        let config = Config::default();
        assert_eq!(config.sram.bytes(), 1 << 20);
        assert_eq!(config.clock.get(), 33_000_000);
        assert!(!config.arbitration && !config.extra.chained_dma);
    }
}
