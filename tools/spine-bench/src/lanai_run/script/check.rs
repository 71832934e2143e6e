//! `expect`, `wait` and `run`: what is to be so, now or within a time.

use lanai_model::config::Config;
use lanai_model::cpu::Width;
use lanai_model::time::Time;

use super::super::statement::{Check, Relation, Space, Statement};
use super::super::value;
use super::{Reader, access, fitting};

const USAGE: &str = "expect needs a place and a value, as in `expect DMA_CTR 0` or `expect ISR has HOST_SIG within 20`";
const RUN_UNTIL: &str = "run until needs the longest time, as in `run 100 until ISR has DMA_INT` or `run until ISR has DMA_INT \
                         within 100`";

impl Reader<'_> {
    /// `expect PLACE [RELATION] VALUE [mask MASK] [within TIME]`.
    pub(super) fn expect(&self, width: Width, words: &[&str]) -> Result<Statement, String> {
        // `expect hostmem ADDR BYTES` is `hostmem expect ADDR BYTES`.
        let space = words.first().and_then(|word| match word.to_ascii_lowercase().as_str() {
            "hostmem" | "host" => Some(Space::Host),
            "sram" => Some(Space::Sram),
            _ => None,
        });
        if let (Some(space), Some(rest)) = (space, words.get(1..)) {
            return self.memory(space, &[&["expect"], rest].concat());
        }
        let (check, within) = self.check_within(width, words)?;
        Ok(match within {
            Some(within) => Statement::Wait { within, check },
            None => Statement::Expect(check),
        })
    }

    /// `wait TIME PLACE [RELATION] VALUE [mask MASK]`.
    pub(super) fn wait(&self, words: &[&str]) -> Result<Statement, String> {
        let usage = "wait needs the longest time to wait, then a place and a value as expect does";
        let unit = words.get(1).is_some_and(|word| value::is_unit(word));
        let (within, rest) =
            words.split_at_checked(if unit { 2 } else { 1 }).ok_or_else(|| usage.to_owned())?;
        let within = time(within).map_err(|e| format!("{e}; {usage}"))?;
        Ok(Statement::Wait { within, check: self.check(Width::Word, rest)? })
    }

    /// `run TIME`, `run TIME until CHECK`, `run until CHECK within TIME`.
    pub(super) fn run(&self, words: &[&str]) -> Result<Statement, String> {
        let Some((length, words)) = split_at(words, "until") else {
            return time(words).map(Statement::Run);
        };
        let (check, within) = self.check_within(Width::Word, words)?;
        let within = match (length, within) {
            ([], Some(within)) => within,
            ([_, ..], None) => time(length)?,
            _ => return Err(RUN_UNTIL.to_owned()),
        };
        Ok(Statement::Wait { within, check })
    }

    fn check_within(&self, width: Width, words: &[&str]) -> Result<(Check, Option<Time>), String> {
        match split_at(words, "within") {
            Some((check, within)) => Ok((self.check(width, check)?, Some(time(within)?))),
            None => Ok((self.check(width, words)?, None)),
        }
    }

    fn check(&self, width: Width, words: &[&str]) -> Result<Check, String> {
        let (width, words) = match words.split_first() {
            Some((first, rest)) => match access(&first.to_ascii_lowercase()) {
                Some((false, width)) => (width, rest),
                _ => (width, words),
            },
            None => return Err(USAGE.to_owned()),
        };
        let place = self.place(words.first(), USAGE)?;
        place.check(width, 1, self.sram)?;
        let rest = words.get(1..).unwrap_or(&[]);
        let relation = rest.first().and_then(|word| Relation::by_name(word));
        let rest = if relation.is_some() { rest.get(1..).unwrap_or(&[]) } else { rest };
        let (value, mask) = match rest {
            [value] => match value.split_once('/') {
                Some((value, mask)) => (value, Some(mask)),
                None => (*value, None),
            },
            [value, word, mask] if word.eq_ignore_ascii_case("mask") => (*value, Some(*mask)),
            _ => return Err(USAGE.to_owned()),
        };
        let mask = mask.map_or(Ok(u32::MAX), value::value)?;
        let relation = relation.unwrap_or(Relation::Equal);
        Ok(Check { place, width, relation, value: fitting(value, width)?, mask })
    }
}

/// The words before and after `word`, if it is there.
fn split_at<'a, 'b>(words: &'a [&'b str], word: &str) -> Option<(&'a [&'b str], &'a [&'b str])> {
    let at = words.iter().position(|known| known.eq_ignore_ascii_case(word))?;
    Some((words.get(..at)?, words.get(at + 1..)?))
}

fn time(words: &[&str]) -> Result<Time, String> {
    if words.is_empty() {
        return Err("a time is missing: microseconds, or with ns, us, ms, s, cycles".to_owned());
    }
    value::time(words, Config::default().clock)
}
