//! What is said when the router begins: what was taken, what was not and why, and where one can ask for more.
//!
//! What keeps packets is said by those who find it; here is what remains to be said once.

use std::path::Path;

use super::View;
use super::facts::Facts;
use super::routes::{RouteCount, Walk};
use crate::ownership::few;

pub(super) fn sentences(view: &View<'_>, facts: &dyn Facts, path: Option<&Path>) -> Vec<String> {
    let mut count = RouteCount::default();
    // Nothing waits for this loop yet.
    Walk::over_all().go_on(view, usize::MAX, |route| count.count(&route));
    let mut said = vec![format!("forwards on {}: {count}", interfaces(view))];
    if !view.noted.is_empty() {
        said.push(few(view.noted.iter().cloned().collect(), "; "));
    }
    let seen = match facts.taps().is_empty() {
        true => {
            "tcpdump and flow exporters on these interfaces do not see what the adapters forward"
        }
        false => {
            "tcpdump and flow exporters on these interfaces do not see what the adapters forward: \
             `spine-router capture` shows it"
        }
    };
    said.push(seen.to_owned());
    said.push(match path {
        Some(path) => {
            format!("`spine-router show` and `explain` are answered at {}", path.display())
        }
        None => {
            "nobody can ask this router anything: there is no folder for its socket (--control)"
                .to_owned()
        }
    });
    said
}

/// "wan (af_xdp copy) and lan (af_xdp copy)".
fn interfaces(view: &View<'_>) -> String {
    let modes = view
        .adapters
        .iter()
        .map(|adapter| adapter.statistics().map(|counted| counted.mode).unwrap_or_default());
    let with_mode = |(name, mode): (&String, String)| format!("{name} ({mode})");
    let all: Vec<String> = view.names.iter().zip(modes).map(with_mode).collect();
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}
