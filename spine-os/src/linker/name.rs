//! Names out of a module, made fit to be printed.
//!
//! They were chosen by whoever made the module, and end up on a terminal: control characters are
//! escaped and long names cut. Names that Rust mangled are made readable.

use std::fmt::Write as _;

use rustc_demangle::try_demangle;

/// Characters of a name that are printed.
const SHOWN: usize = 120;

/// The name as people may see it.
pub(crate) fn printable(name: &str) -> String {
    let readable = try_demangle(name).map_or_else(
        |_| name.to_owned(),
        |name| {
            let mut text = String::new();
            // Without the hash that `{}` would append. A hostile name can expand without end.
            let done = write!(Cut(&mut text, SHOWN * 4), "{name:#}");
            if done.is_err() { text + "…" } else { text }
        },
    );
    let mut shown: String = readable.escape_debug().take(SHOWN).collect();
    if readable.escape_debug().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// A text that refuses to grow beyond a number of bytes.
struct Cut<'a>(&'a mut String, usize);

impl std::fmt::Write for Cut<'_> {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        if self.0.len() + part.len() > self.1 {
            return Err(std::fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_short_and_harmless() {
        assert_eq!(printable("_ZN6router7forward17h0123456789abcdefE"), "router::forward");
        assert_eq!(printable("clear\u{1b}[2J\nscreen"), "clear\\u{1b}[2J\\nscreen");
        assert_eq!(printable(&"x".repeat(100_000)).chars().count(), SHOWN + 1);
    }
}
