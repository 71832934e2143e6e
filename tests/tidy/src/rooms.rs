//! A crate's rooms as a graph.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::names::{after, product};

/// Which rooms of a crate lean on which, by name.
pub type Rooms = BTreeMap<String, BTreeSet<String>>;

/// Reads the rooms of the crate whose sources are in `src`.
///
/// # Errors
/// A file or folder that cannot be read.
pub fn rooms(src: &Path) -> io::Result<Rooms> {
    let root = fs::read_to_string(src.join("lib.rs"))
        .or_else(|_| fs::read_to_string(src.join("main.rs")))?;
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(src)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, files.entry(name).or_default())?;
        } else if path.extension().is_some_and(|kind| kind == "rs")
            && name != "lib"
            && name != "main"
        {
            files.entry(name).or_default().push(path);
        }
    }
    let exports = exports(&product(&root), files.keys());
    let mut rooms = Rooms::new();
    for (room, paths) in &files {
        let mut leans = BTreeSet::new();
        for path in paths {
            let text = product(&fs::read_to_string(path)?);
            let mut names = after("crate", &text);
            if is_at_the_top(src, path) {
                names.extend(after("super", &text));
            }
            leans.extend(names.iter().filter_map(|name| owner(name, &files, &exports)));
        }
        leans.remove(room);
        rooms.insert(room.clone(), leans);
    }
    Ok(rooms)
}

/// Whether `super` is the crate's root for a file: it is a room's own one.
fn is_at_the_top(src: &Path, path: &Path) -> bool {
    let inside = path.parent() != Some(src);
    !inside
        || path.file_name().is_some_and(|name| name == "mod.rs")
            && path.parent().and_then(Path::parent) == Some(src)
}

/// The room a name belongs to: itself, or where `lib.rs` has it from.
fn owner(
    name: &str,
    files: &BTreeMap<String, Vec<PathBuf>>,
    exports: &BTreeMap<String, String>,
) -> Option<String> {
    if files.contains_key(name) { Some(name.to_owned()) } else { exports.get(name).cloned() }
}

/// What the root exports from which room.
fn exports<'a>(root: &str, rooms: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for room in rooms {
        for statement in root.split(';').map(str::trim) {
            let Some(path) = statement.strip_prefix("pub use ") else { continue };
            let path = path.trim_start_matches("self::");
            if path.strip_prefix(room.as_str()).is_some_and(|rest| rest.starts_with("::")) {
                let names = path.split(|c: char| !c.is_alphanumeric() && c != '_');
                exports.extend(
                    names
                        .filter(|name| !name.is_empty())
                        .map(|name| (name.to_owned(), room.clone())),
                );
            }
        }
    }
    exports
}

/// All sources below a folder but those of tests.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, into)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
    Ok(())
}

/// The rooms that lean on themselves over whatever way.
pub fn circles(rooms: &Rooms) -> BTreeSet<String> {
    rooms.keys().filter(|room| reach(rooms, room).contains(*room)).cloned().collect()
}

/// All that a room leans on, directly or by way of others.
fn reach(rooms: &Rooms, room: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![room.to_owned()];
    while let Some(room) = next.pop() {
        let on = rooms.get(&room).into_iter().flatten();
        next.extend(on.filter(|on| found.insert((*on).clone())).cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Rooms {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(room, on)| ((*room).to_owned(), owned(on))).collect()
    }

    #[test]
    fn a_tower_has_no_circle() {
        assert!(circles(&graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    }

    #[test]
    fn a_circle_is_found_and_what_merely_hangs_on_it_is_not() {
        let rooms = graph(&[
            ("top", &["a"]),
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["a", "low"]),
            ("low", &[]),
        ]);
        let found: Vec<String> = circles(&rooms).into_iter().collect();
        assert_eq!(found, ["a", "b", "c"]);
    }
}
