//! `ctrl` and `trace`: commands whose words are few and fixed.

use lanai_model::board::control;

use super::super::statement::Statement;
use super::super::value;

/// How many events `trace on` keeps without a number.
const TRACE_EVENTS: usize = 1000;
/// The most it keeps.
const MOST_TRACE_EVENTS: u32 = 10_000_000;

/// Bits of the control register, in words or as a number.
pub(super) fn control_bits(words: &[&str]) -> Result<u32, String> {
    let usage =
        "ctrl takes `reset on`, `reset off`, `int enable`, `int disable`, `wake`, or a number";
    if words.is_empty() {
        return Err(usage.to_owned());
    }
    let mut bits = 0;
    // `reset_off` and `reset-off` are `reset off`; a number keeps its underscores.
    let joined = |c| if c == '_' || c == '-' { ' ' } else { c };
    let spaced = |word: &&str| {
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            word.to_ascii_lowercase().chars().map(joined).collect()
        } else {
            (*word).to_owned()
        }
    };
    let text = words.iter().map(spaced).collect::<Vec<String>>().join(" ");
    let mut words = text.split(' ').map(str::to_owned);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default();
        bits |= match word.as_str() {
            "wake" => control::WAKE,
            "reset" => match next().as_str() {
                "on" => control::RESET_ON,
                "off" => control::RESET_OFF,
                other => return Err(format!("`reset {other}`: {usage}")),
            },
            "int" | "interrupt" | "interrupts" => match next().as_str() {
                "enable" | "on" => control::INTERRUPT_ENABLE,
                "disable" | "off" => control::INTERRUPT_DISABLE,
                other => return Err(format!("`int {other}`: {usage}")),
            },
            other => value::number(other).map_err(|_| format!("`{other}`: {usage}"))?,
        };
    }
    Ok(bits)
}

/// What `trace` is to do.
pub(super) fn trace(words: &[&str]) -> Result<Statement, String> {
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["on"] => Ok(Statement::Trace(TRACE_EVENTS)),
        ["on", events] => match value::number(events)? {
            events @ 1..=MOST_TRACE_EVENTS => Ok(Statement::Trace(events as usize)),
            _ => Err(format!("trace keeps 1 to {MOST_TRACE_EVENTS} events")),
        },
        ["off"] => Ok(Statement::Trace(0)),
        ["dump"] => Ok(Statement::TraceDump),
        ["clear"] => Ok(Statement::TraceClear),
        _ => Err("trace takes `on`, `on EVENTS`, `off`, `dump` or `clear`".to_owned()),
    }
}
