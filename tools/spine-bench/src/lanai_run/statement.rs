//! What a line of a script can say.

use lanai_model::cpu::Width;
use lanai_model::time::Time;

use super::blocks::Block;
use super::place::Place;
use super::wire::Wire;

/// A statement with the number of its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) statement: Statement,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statement {
    /// w8, w16, w32.
    Write { place: Place, width: Width, values: Vec<u32> },
    /// r8, r16, r32.
    Read { place: Place, width: Width, count: u32 },
    /// Bits of the control register.
    Control(u32),
    /// Virtual time passes.
    Run(Time),
    /// So many instructions, each printed if `show`.
    Step { count: u32, show: bool },
    /// Something is to be so now.
    Expect(Check),
    /// Something is to become so within a time.
    Wait { within: Time, check: Check },
    /// A block of memory.
    Memory { space: Space, block: Block },
    /// The link.
    Link(Wire),
    /// Keep the last so many events; 0 is off.
    Trace(usize),
    /// Print them.
    TraceDump,
    /// Forget them.
    TraceClear,
    /// Charge the host for its accesses, or not.
    Pio(bool),
    /// Print instructions in memory.
    Disassemble { address: u32, count: u32 },
    /// Print the processor's registers.
    Processor,
    /// Print the time.
    Time,
    /// Print what was counted.
    Counters,
    /// Print this.
    Echo(String),
}

/// Whose memory a block is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The board's.
    Sram,
    /// The host's.
    Host,
}

/// What is to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) place: Place,
    pub(super) width: Width,
    pub(super) relation: Relation,
    pub(super) value: u32,
    pub(super) mask: u32,
}

/// How a value found is compared with the one expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// All of these bits are set.
    Has,
    /// None of these bits is set.
    Lacks,
}

const RELATIONS: &[(&str, Relation)] = &[
    ("==", Relation::Equal),
    ("=", Relation::Equal),
    ("!=", Relation::NotEqual),
    ("<", Relation::Less),
    ("<=", Relation::LessOrEqual),
    (">", Relation::Greater),
    (">=", Relation::GreaterOrEqual),
    ("has", Relation::Has),
    ("lacks", Relation::Lacks),
];

impl Relation {
    /// The relation that `word` names.
    pub(super) fn by_name(word: &str) -> Option<Self> {
        let known = RELATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        known.map(|&(_, relation)| relation)
    }

    /// How it is written.
    pub(super) fn name(self) -> &'static str {
        RELATIONS.iter().find(|(_, relation)| *relation == self).map_or("?", |(name, _)| name)
    }

    /// Whether it holds.
    pub(super) fn holds(self, found: u32, expected: u32) -> bool {
        match self {
            Self::Equal => found == expected,
            Self::NotEqual => found != expected,
            Self::Less => found < expected,
            Self::LessOrEqual => found <= expected,
            Self::Greater => found > expected,
            Self::GreaterOrEqual => found >= expected,
            Self::Has => found & expected == expected,
            Self::Lacks => found & expected == 0,
        }
    }
}
