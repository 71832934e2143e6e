//! What can be asked, and what is answered: one line of JSON each.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::coverage::Coverage;
use super::explain::Explanation;
use super::listing::{InterfaceRow, Neighbours};
use super::routes::{LIMIT, Routes};
use crate::report::Report;

/// Bytes of a question, at most.
pub const ASK_BYTES: usize = 4096;

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Whose packets are, and why.
    Coverage,
    /// What the routes mean.
    Routes {
        /// Those in this prefix alone.
        #[serde(default)]
        prefix: Option<Ipv4Net>,
        /// So many of them, at most.
        #[serde(default = "limit")]
        limit: usize,
    },
    /// The machines on the links.
    Neighbours,
    /// The router's interfaces.
    Interfaces,
    /// What was counted.
    Counters,
    /// The same as OpenMetrics has it.
    Metrics,
    /// What becomes of a packet.
    Explain {
        /// The packet, as people write it.
        packet: String,
    },
    /// The packets themselves, from now on.
    Capture {
        /// Those of these interfaces; none: of all.
        #[serde(default)]
        interfaces: Vec<String>,
        /// Bytes of each packet, at most.
        #[serde(default = "snap_bytes")]
        snap_bytes: usize,
    },
}

const fn limit() -> usize {
    LIMIT
}

const fn snap_bytes() -> usize {
    spine_abi::limits::FRAME_BYTES
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Ask::Coverage`].
    Coverage(Box<Coverage>),
    /// To [`Ask::Routes`].
    Routes(Routes),
    /// To [`Ask::Neighbours`].
    Neighbours(Neighbours),
    /// To [`Ask::Interfaces`].
    Interfaces(Vec<InterfaceRow>),
    /// To [`Ask::Counters`].
    Counters(Box<Report>),
    /// To [`Ask::Metrics`].
    Metrics(String),
    /// To [`Ask::Explain`].
    Explain(Box<Explanation>),
    /// To [`Ask::Capture`]: the interfaces whose packets follow, in pieces that begin with their length in four bytes, the lowest
    /// first. After a piece of no bytes comes [`Shown`] as one line.
    Capture(Vec<String>),
    /// Why there is none.
    Refused(String),
}

/// What a capture came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Packets that were shown.
    pub packets: u64,
    /// Packets that were lost, because what was shown before had not been read.
    pub missed: u64,
}

/// Reads a question.
///
/// # Errors
/// A sentence.
pub(super) fn parse(line: &[u8]) -> Result<Ask, String> {
    serde_json::from_slice(line)
        .map_err(|error| format!("not a question: {error}; for one, {{\"ask\":\"coverage\"}} is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_lines_of_json_and_anything_else_is_answered_with_a_sentence() {
        assert_eq!(parse(br#"{"ask":"coverage"}"#), Ok(Ask::Coverage));
        let prefix = "10.0.0.0/8".parse().ok();
        assert_eq!(
            parse(br#"{"ask":"routes","prefix":"10.0.0.0/8"}"#),
            Ok(Ask::Routes { prefix, limit: LIMIT })
        );
        for bad in [
            &b"show me"[..],
            b"",
            b"{}",
            br#"{"ask":"everything"}"#,
            br#"{"ask":"routes","prefix":"10.0.0.0/33"}"#,
            br#"{"ask":"explain"}"#,
            br#"{"ask":"routes","limit":-1}"#,
            b"\xff\xfe",
        ] {
            let sentence = parse(bad).expect_err("no question");
            assert!(sentence.starts_with("not a question: "), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
        let ask = Ask::Capture { interfaces: vec!["a".to_owned()], snap_bytes: 64 };
        let text = serde_json::to_vec(&ask).expect("text");
        assert_eq!(parse(&text), Ok(ask));
    }
}
