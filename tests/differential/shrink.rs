//! Making a script that shows a difference as small as it goes: without blocks of lines, then without single ones.

use super::run::{Wire, differences};
use super::script::{Line, Script};

/// Runs that shrinking may take.
const TRIES: usize = 50;

/// A smaller script that shows a difference, too.
pub(crate) fn shrink(script: &Script, wire: Wire) -> Script {
    let mut smallest = script.clone();
    let mut tries = 0;
    let mut block = (script.lines.len() / 2).max(1);
    loop {
        let mut at = 0;
        while at < smallest.lines.len() && tries < TRIES {
            let end = (at + block).min(smallest.lines.len());
            let smaller = without(&smallest, at, end);
            tries += 1;
            if smaller.lines.len() < smallest.lines.len()
                && !differences(&smaller, wire).differences.is_empty()
            {
                smallest = smaller;
            } else {
                at = end;
            }
        }
        if block == 1 || tries >= TRIES {
            return smallest;
        }
        block = (block / 2).max(1);
    }
}

/// Without these lines, but with the beginning of spine-router and the last settling.
fn without(script: &Script, at: usize, end: usize) -> Script {
    let last = script.lines.len() - 1;
    let keep = |(number, line): &(usize, &Line)| {
        !(at..end).contains(number) || **line == Line::Start || *number == last
    };
    let lines = script.lines.iter().enumerate().filter(keep).map(|(_, line)| line.clone());
    Script { lines: lines.collect(), ..*script }
}
