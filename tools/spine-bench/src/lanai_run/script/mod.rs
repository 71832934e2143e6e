//! Lines of a script: read all of them before anything runs.
//!
//! A line is a command and its words, separated by blanks or commas. What follows `#`, `;` or `//` is a comment. Commands and
//! names are the same in upper and lower case. Every mistake is reported with the file and the line.

mod check;
mod words;

use lanai_model::cpu::Width;

use super::blocks::Block;
use super::place::Place;
use super::statement::{Line, Space, Statement};
use super::value;
use super::wire::Wire;
use words::{control_bits, trace};

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
            "run" => self.run(words),
            "step" => step(words),
            "expect" | "expect32" => self.expect(Width::Word, words),
            "expect16" => self.expect(Width::Half, words),
            "expect8" => self.expect(Width::Byte, words),
            "wait" => self.wait(words),
            "hostmem" | "host" => self.memory(Space::Host, words),
            "sram" | "mem" => self.memory(Space::Sram, words),
            "link" => Wire::parse(words).map(Statement::Link),
            "trace" => trace(words),
            "pio" => on_off("pio", words).map(Statement::Pio),
            "disasm" | "disassemble" | "list" => self.disassemble(words),
            "cpu" | "regs" | "registers" => {
                nothing_more("cpu", words).map(|()| Statement::Processor)
            }
            "time" => nothing_more("time", words).map(|()| Statement::Time),
            "counters" => nothing_more("counters", words).map(|()| Statement::Counters),
            "echo" => {
                let text = self.text.trim_start();
                let rest = text.get(command.len()..).unwrap_or("");
                Ok(Statement::Echo(rest.trim().to_owned()))
            }
            _ => Err(format!(
                "`{command}` is no command; there are w8 w16 w32 r8 r16 r32 ctrl run step expect wait hostmem sram link trace \
                 disasm cpu time counters pio echo"
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

    fn disassemble(&self, words: &[&str]) -> Result<Statement, String> {
        let place = self.place(words.first(), "disasm needs an address")?;
        let count = count(words.get(1..).unwrap_or(&[]), 16)?;
        place.check(Width::Word, count, self.sram)?;
        match place {
            Place::Sram(address) => Ok(Statement::Disassemble { address, count }),
            _ => Err(format!("{place} is no memory of the board; disasm shows instructions there")),
        }
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

/// `step [COUNT] [show]`.
fn step(words: &[&str]) -> Result<Statement, String> {
    let (words, show) = match words {
        [rest @ .., last] if last.eq_ignore_ascii_case("show") => (rest, true),
        _ => (words, false),
    };
    Ok(Statement::Step { count: count(words, 1)?, show })
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
mod tests;
