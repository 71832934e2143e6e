//! How a number is known.

use core::fmt;

/// How a number is known, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The SPINE paper says it.
    Paper,
    /// Read in a public source file.
    Src,
    /// Read in a stored copy of a vendor's or a paper's page.
    Doc,
    /// Recalled from the literature and not found again: an assumption.
    Rec,
    /// Derived here, or chosen because nothing is known.
    Der,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "PAPER",
            Self::Src => "SRC",
            Self::Doc => "DOC",
            Self::Rec => "REC",
            Self::Der => "DER",
        })
    }
}

/// A constant with its mark and its source.
#[derive(Clone, Copy, Debug)]
pub struct Marked<T> {
    /// The number itself.
    pub value: T,
    /// How it is known.
    pub mark: Mark,
    /// Where from, in a few words.
    pub source: &'static str,
}

/// One line of the list that [`super::constants`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The name of the field or of the behaviour.
    pub name: &'static str,
    /// The value with its unit.
    pub value: String,
    /// How it is known.
    pub mark: Mark,
    /// Where from.
    pub source: &'static str,
}
