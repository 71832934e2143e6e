//! Lines of a script: read all of them before anything runs.
//!
//! A line is a command and its words, separated by blanks or commas. What follows `#`, `;` or `//` is a comment. Commands and
//! names are the same in upper and lower case. Every mistake is reported with the file and the line.

use lanai_model::board::control;
use lanai_model::config::Config;
use lanai_model::cpu::Width;
use lanai_model::time::Time;

use super::blocks::Block;
use super::place::Place;
use super::statement::{Check, Line, Relation, Space, Statement};
use super::value;
use super::wire::Wire;

/// How many events `trace on` keeps without a number.
const TRACE_EVENTS: usize = 1000;
/// The most it keeps.
const MOST_TRACE_EVENTS: u32 = 10_000_000;

/// All lines of `text`, or what is wrong with the first bad one.
pub(super) fn parse(name: &str, text: &str, sram: u32) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let text = without_comment(text);
        let words: Vec<&str> =
            text.split([' ', '\t', '\r', ',']).filter(|word| !word.is_empty()).collect();
        let Some((&command, rest)) = words.split_first() else { continue };
        let statement = Reader { sram, text }
            .statement(&command.to_ascii_lowercase(), rest)
            .map_err(|problem| format!("{name}:{number}: {problem}"))?;
        lines.push(Line { number, statement });
    }
    Ok(lines)
}

fn without_comment(line: &str) -> &str {
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let end = ["#", ";", "//"].iter().filter_map(|mark| line.find(mark)).min();
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

/// What is needed to make sense of a line.
struct Reader<'a> {
    sram: u32,
    text: &'a str,
}

impl Reader<'_> {
    fn statement(&self, command: &str, words: &[&str]) -> Result<Statement, String> {
        if let Some((write, width)) = access(command) {
            return if write {
                self.write(command, width, words)
            } else {
                self.read(command, width, words)
            };
        }
        match command {
            "ctrl" | "control" => control_bits(words).map(Statement::Control),
            "run" => self.time(words).map(Statement::Run),
            "step" => count(words, 1).map(Statement::Step),
            "expect" | "expect32" => self.check(Width::Word, words).map(Statement::Expect),
            "expect16" => self.check(Width::Half, words).map(Statement::Expect),
            "expect8" => self.check(Width::Byte, words).map(Statement::Expect),
            "wait" => self.wait(words),
            "hostmem" | "host" => self.memory(Space::Host, words),
            "sram" | "mem" => self.memory(Space::Sram, words),
            "link" => Wire::parse(words).map(Statement::Link),
            "trace" => trace(words),
            "pio" => on_off("pio", words).map(Statement::Pio),
            "counters" => nothing_more("counters", words).map(|()| Statement::Counters),
            "echo" => {
                let text = self.text.trim_start();
                let rest = text.get(command.len()..).unwrap_or("");
                Ok(Statement::Echo(rest.trim().to_owned()))
            }
            _ => Err(format!(
                "`{command}` is no command; there are w8 w16 w32 r8 r16 r32 ctrl run step expect wait hostmem sram link trace \
                 pio counters echo"
            )),
        }
    }

    fn place(&self, word: Option<&&str>, usage: &str) -> Result<Place, String> {
        Place::parse(word.ok_or_else(|| usage.to_owned())?, self.sram)
    }

    fn write(&self, command: &str, width: Width, words: &[&str]) -> Result<Statement, String> {
        let usage = format!("{command} needs a place and at least one value");
        let place = self.place(words.first(), &usage)?;
        let values = words.get(1..).unwrap_or(&[]).iter().filter(|word| **word != "=");
        let values =
            values.map(|word| fitting(word, width)).collect::<Result<Vec<u32>, String>>()?;
        if values.is_empty() {
            return Err(usage);
        }
        place.check(width, u32::try_from(values.len()).unwrap_or(u32::MAX), self.sram)?;
        Ok(Statement::Write { place, width, values })
    }

    fn read(&self, command: &str, width: Width, words: &[&str]) -> Result<Statement, String> {
        let place = self.place(words.first(), &format!("{command} needs a place"))?;
        let count = count(words.get(1..).unwrap_or(&[]), 1)?;
        place.check(width, count, self.sram)?;
        if count > self.sram {
            return Err(format!("{count} values are more than the board has memory"));
        }
        Ok(Statement::Read { place, width, count })
    }

    fn time(&self, words: &[&str]) -> Result<Time, String> {
        if words.is_empty() {
            return Err("run needs a time in microseconds".to_owned());
        }
        value::time(words, Config::default().clock)
    }

    fn wait(&self, words: &[&str]) -> Result<Statement, String> {
        let usage =
            "wait needs the most microseconds to wait, then a place and a value as expect does";
        let (within, rest) = words.split_first().ok_or(usage)?;
        let within = self.time(&[within]).map_err(|e| format!("{e}; {usage}"))?;
        Ok(Statement::Wait { within, check: self.check(Width::Word, rest)? })
    }

    fn check(&self, width: Width, words: &[&str]) -> Result<Check, String> {
        let usage = "expect needs a place and a value, as in `expect DMA_CTR 0` or `expect ISR has HOST_SIG`";
        let (width, words) = match words.split_first() {
            Some((first, rest)) => match access(&first.to_ascii_lowercase()) {
                Some((false, width)) => (width, rest),
                _ => (width, words),
            },
            None => return Err(usage.to_owned()),
        };
        let place = self.place(words.first(), usage)?;
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
            _ => return Err(usage.to_owned()),
        };
        let mask = mask.map_or(Ok(u32::MAX), value::value)?;
        Ok(Check {
            place,
            width,
            relation: relation.unwrap_or(Relation::Equal),
            value: fitting(value, width)?,
            mask,
        })
    }

    fn memory(&self, space: Space, words: &[&str]) -> Result<Statement, String> {
        let (name, limit) = match space {
            Space::Sram => ("sram", u64::from(self.sram)),
            Space::Host => ("hostmem", 1 << 32),
        };
        let (command, rest) = words.split_first().ok_or_else(|| super::blocks::usage(name))?;
        let command = command.to_ascii_lowercase();
        if access(&command).is_some() {
            let (place, rest) = rest.split_first().ok_or_else(|| super::blocks::usage(name))?;
            let prefix = if space == Space::Host { "host:" } else { "sram:" };
            let place =
                if place.contains(':') { (*place).to_owned() } else { format!("{prefix}{place}") };
            let words: Vec<&str> =
                std::iter::once(place.as_str()).chain(rest.iter().copied()).collect();
            return self.statement(&command, &words);
        }
        Ok(Statement::Memory { space, block: Block::parse(name, &command, rest, limit)? })
    }
}

/// Whether `command` is w8 to w32 (true) or r8 to r32, and its width.
fn access(command: &str) -> Option<(bool, Width)> {
    Some(match command {
        "w8" => (true, Width::Byte),
        "w16" => (true, Width::Half),
        "w32" => (true, Width::Word),
        "r8" => (false, Width::Byte),
        "r16" => (false, Width::Half),
        "r32" => (false, Width::Word),
        _ => return None,
    })
}

/// A value that fits into `width`, negative ones as two's complement.
fn fitting(word: &str, width: Width) -> Result<u32, String> {
    let value = value::value(word)?;
    let bits = 8 * super::place::size(width);
    let fits = bits == 32 || value >> bits == 0;
    let negative =
        bits < 32 && word.starts_with('-') && value >> (bits - 1) == u32::MAX >> (bits - 1);
    match (fits, negative) {
        (true, _) => Ok(value),
        (false, true) => Ok(value & ((1 << bits) - 1)),
        (false, false) => Err(format!("`{word}` does not fit into {bits} bits")),
    }
}

fn count(words: &[&str], default: u32) -> Result<u32, String> {
    match words {
        [] => Ok(default),
        [word] => value::number(word),
        _ => {
            Err(format!("`{}` is too much: at most one number is expected there", words.join(" ")))
        }
    }
}

fn control_bits(words: &[&str]) -> Result<u32, String> {
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

fn trace(words: &[&str]) -> Result<Statement, String> {
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

fn on_off(name: &str, words: &[&str]) -> Result<bool, String> {
    match words {
        [word] if word.eq_ignore_ascii_case("on") => Ok(true),
        [word] if word.eq_ignore_ascii_case("off") => Ok(false),
        _ => Err(format!("{name} takes `on` or `off`")),
    }
}

fn nothing_more(name: &str, words: &[&str]) -> Result<(), String> {
    if words.is_empty() {
        Ok(())
    } else {
        Err(format!("{name} takes nothing more, not `{}`", words.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Relation, Statement, parse};
    use lanai_model::cpu::Width;

    fn one(line: &str) -> Result<Statement, String> {
        parse("test", line, 256 << 10).map(|mut lines| lines.remove(0).statement)
    }

    #[test]
    fn comments_and_blank_lines_are_nothing_and_numbers_of_lines_stay() {
        let lines = parse("t", "# a\n\n  run 1 // b\r\n;c\nRUN, 2\n", 1 << 18).unwrap();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn mistakes_name_the_file_the_line_and_what_is_wrong() {
        let cases = [
            ("wat 1", "`wat` is no command"),
            ("w32 0x100", "at least one value"),
            ("w8 0 256", "does not fit into 8 bits"),
            ("w32 2 1", "not a multiple of 4"),
            ("r32 0x3fffc 2", "beyond 0x40000"),
            ("w32 0x40000 1", "outside the board's memory"),
            ("r32 DMA_CTL", "no place"),
            ("expect ISR", "needs a place and a value"),
            ("expect ISR has", "needs a place and a value"),
            ("run", "needs a time"),
            ("run soon", "not a time"),
            ("ctrl reset", "ctrl takes"),
            ("trace maybe", "trace takes"),
            ("hostmem", "hostmem takes"),
            ("hostmem write 0 0", "two digits"),
            ("link", "link takes"),
            ("wait ISR has HOST_SIG", "not a time"),
            ("counters now", "nothing more"),
        ];
        for (line, expected) in cases {
            let error = parse("s.txt", &format!("run 1\n{line}"), 256 << 10).unwrap_err();
            assert!(error.starts_with("s.txt:2: ") && error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn expectations_take_relations_masks_and_widths() {
        let check = |line| match one(line) {
            Ok(Statement::Expect(check)) => check,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(check("expect ISR has HOST_SIG|DMA_INT").relation, Relation::Has);
        assert_eq!(check("expect 0x100 == 5/0xff").mask, 0xFF);
        assert_eq!(check("expect 0x100 5 mask 15").mask, 15);
        assert_eq!(check("expect8 3 -1").value, 0xFF);
        assert_eq!(check("expect r16 2 7").width, Width::Half);
        assert!(
            Relation::Lacks.holds(4, 3)
                && !Relation::Has.holds(2, 3)
                && Relation::LessOrEqual.holds(3, 3)
        );
    }

    #[test]
    fn control_bits_may_be_written_in_several_ways() {
        for line in ["ctrl reset off int on", "CTRL reset_off, INT-ENABLE", "control 0xA000_0000"] {
            assert_eq!(one(line), Ok(Statement::Control(0xA000_0000)), "{line}");
        }
        assert!(one("ctrl off").is_err() && one("ctrl int").is_err());
    }

    #[test]
    fn echo_keeps_its_text_as_it_is() {
        assert_eq!(
            one("  Echo  Hello,  World # no"),
            Ok(Statement::Echo("Hello,  World".to_owned()))
        );
    }
}
