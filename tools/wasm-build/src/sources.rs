//! Which files a module was made of: from the dependency file that cargo writes beside it.
//!
//! It has the form of a Makefile rule: `target: source source`, with `\ ` for a space in a name. It
//! lists the sources of the package and of every path dependency, but not their manifests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The sources in the dependency file `text`, and the manifests above them up to the workspace's.
pub(crate) fn watched(text: &str) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for source in sources(text) {
        for folder in source.ancestors().skip(1) {
            let manifest = folder.join("Cargo.toml");
            if manifest.is_file() {
                files.insert(manifest);
            }
            let lock = folder.join("Cargo.lock");
            if lock.is_file() {
                files.insert(lock);
                break;
            }
        }
        files.insert(source);
    }
    files
}

fn sources(text: &str) -> impl Iterator<Item = PathBuf> {
    // A space behind a backslash belongs to the name: taken out before splitting, put back after.
    let rules = text.lines().filter_map(|line| line.split_once(": "));
    let names = rules.flat_map(|(_, names)| {
        let names = names.replace("\\ ", "\0");
        names.split_whitespace().map(|name| name.replace('\0', " ")).collect::<Vec<_>>()
    });
    names.map(|name| Path::new(&name).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_with_spaces_stay_whole() {
        let text = "/t/x.wasm: /a/src/main.rs /with\\ space/src/lib.rs\n\n/a/src/main.rs:\n";
        let found: Vec<_> = sources(text).collect();
        assert_eq!(found, [Path::new("/a/src/main.rs"), Path::new("/with space/src/lib.rs")]);
    }

    #[test]
    fn manifests_up_to_the_workspace_are_watched_and_nothing_above() {
        let outside = std::env::temp_dir().join(format!("spine-watched-{}", std::process::id()));
        let root = outside.join("workspace");
        let package = root.join("group/package");
        fs::create_dir_all(package.join("src")).unwrap();
        let files = ["Cargo.toml", "workspace/Cargo.toml", "workspace/Cargo.lock"];
        for file in files {
            fs::write(outside.join(file), "").unwrap();
        }
        fs::write(package.join("Cargo.toml"), "").unwrap();
        let source = package.join("src/main.rs");
        let found = watched(&format!("/t/x.wasm: {}", source.display()));
        fs::remove_dir_all(&outside).unwrap();
        let expected =
            [root.join("Cargo.lock"), root.join("Cargo.toml"), package.join("Cargo.toml"), source];
        assert!(found.iter().eq(expected.iter().collect::<BTreeSet<_>>()), "{found:?}");
    }
}
