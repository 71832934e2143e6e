//! The names of other rooms in a source text.

use std::collections::BTreeSet;

/// The source without comments, string literals kept, and without what is compiled for tests only: this
/// project puts `#[cfg(test)]` before the tests at the end of a file, or before one item or line.
pub(crate) fn product(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if code.starts_with("#[cfg(test)]") {
            skip_item(&mut lines);
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Goes past one item: to its semicolon, or to the brace that closes it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut depth = 0_i32;
    for line in lines {
        let opened = i32::try_from(line.matches('{').count()).unwrap_or(0);
        let closed = i32::try_from(line.matches('}').count()).unwrap_or(0);
        depth += opened - closed;
        let ended = line.trim_end().ends_with([';', '}', ',']);
        if depth <= 0 && ended {
            return;
        }
    }
}

/// The first names of all paths that begin with `prefix::`, those in braces included.
pub(crate) fn after(prefix: &str, source: &str) -> BTreeSet<String> {
    let start = format!("{prefix}::");
    let mut found = BTreeSet::new();
    for (at, _) in source.match_indices(&start) {
        let before = source[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &source[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(outermost(list)),
            None => found.extend(first_name(rest)),
        }
    }
    found
}

/// The name a text begins with.
fn first_name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first names of a list's entries, up to the brace that closes it; what is in braces of its own belongs to
/// the entry before them.
fn outermost(list: &str) -> Vec<String> {
    let (mut depth, mut entry, mut found) = (0, String::new(), Vec::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.extend(first_name(std::mem::take(&mut entry).trim())),
            c if depth == 0 => entry.push(c),
            _ => {}
        }
    }
    found.extend(first_name(entry.trim()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, source: &str) -> Vec<String> {
        after(prefix, source).into_iter().collect()
    }

    #[test]
    fn paths_and_lists_of_paths_are_seen() {
        let source =
            "use crate::one::Thing;\nuse crate::{two::{A, B}, three};\nlet x = crate::four::y();";
        assert_eq!(names("crate", source), ["four", "one", "three", "two"]);
    }

    #[test]
    fn another_crate_s_name_that_ends_alike_is_not() {
        assert!(names("crate", "use mycrate::one; use a::crate::two;").is_empty());
    }

    #[test]
    fn comments_and_tests_do_not_count() {
        let source = "// use crate::one;\nuse crate::two;\n#[cfg(test)]\nuse crate::three;\n#[cfg(test)]\nmod tests {\n \
                      fn f() {\n use crate::four;\n }\n}\nuse crate::five;\n";
        assert_eq!(names("crate", &product(source)), ["five", "two"]);
    }
}
