//! Reading a trace.

use std::path::Path;

use serde::Deserialize;

/// What an adapter did.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    /// What it shows.
    pub(crate) title: String,
    /// The names of the kinds of events.
    pub(crate) kinds: Vec<String>,
    /// Start and length in microseconds, kind, message.
    pub(crate) events: Vec<(f64, f64, usize, u64)>,
}

/// Reads the runs in a file.
///
/// # Errors
/// A sentence: which file, and what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Vec<Run>, String> {
    let name = path.display();
    let text = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let runs: Vec<Run> = serde_json::from_slice(&text).map_err(|error| {
        format!("{name} is not a trace: {error}; make one with spine-bench lanai --trace")
    })?;
    if runs.is_empty() {
        return Err(format!("{name} holds no runs"));
    }
    for run in &runs {
        if let Some(event) = run.events.iter().find(|event| event.2 >= run.kinds.len()) {
            let kinds = run.kinds.len();
            return Err(format!("{name} has an event of kind {} and {kinds} kinds", event.2));
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Result<Vec<Run>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_trace_is_read_and_what_is_none_is_refused_with_a_reason() {
        let good = r#"[{"title":"t","kinds":["a"],"events":[[0.5,2.0,0,7]]}]"#;
        assert_eq!(reading(good).unwrap()[0].events, [(0.5, 2.0, 0, 7)]);
        for (text, why) in [
            ("", "not a trace"),
            ("[]", "no runs"),
            (r#"[{"title":"t","kinds":["a"],"events":[[0,1,1,0]]}]"#, "kind 1"),
        ] {
            let error = reading(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
