//! No room of these crates leans on one that leans on it, over whatever way.
//!
//! Not here yet, with one circle each: `spined` and `lanai-model`.

use std::path::Path;

use spine_tidy::{circles, rooms};

/// Fails with the circle, and who in it leans on whom.
fn has_no_circle(package: &str) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(package).join("src");
    let rooms = rooms(&src).unwrap_or_else(|error| panic!("{}: {error}", src.display()));
    assert!(rooms.len() > 1, "{package} has {} rooms: is this its folder?", rooms.len());
    let circle = circles(&rooms);
    let ties: Vec<String> = circle
        .iter()
        .flat_map(|room| {
            rooms[room]
                .iter()
                .filter(|on| circle.contains(*on))
                .map(move |on| format!("{room} -> {on}"))
        })
        .collect();
    assert!(circle.is_empty(), "{package}: a circle between rooms, of these: {}", ties.join(", "));
}

#[test]
fn spine_io() {
    has_no_circle("spine-io");
}

#[test]
fn spine_nic() {
    has_no_circle("spine-io/nic");
}

#[test]
fn spine_remote() {
    has_no_circle("spine-io/remote");
}

#[test]
fn spine_ring() {
    has_no_circle("spine-io/ring");
}

#[test]
fn spine_video() {
    has_no_circle("apps/video");
}

#[test]
fn spine_headers() {
    has_no_circle("spine-io/headers");
}

#[test]
fn spine_os() {
    has_no_circle("spine-os");
}

#[test]
fn spine_client() {
    has_no_circle("spine-os/client");
}

#[test]
fn spine_router() {
    has_no_circle("apps/router");
}

#[test]
fn spine_rules() {
    has_no_circle("spine-os/rules");
}
