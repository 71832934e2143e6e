//! Command lines, good and bad.

use spine_nic::open::Mode;

use super::*;
use crate::netlink::state::Link;

fn state() -> KernelState {
    let mut state = KernelState::default();
    for (index, name, mac, kind) in [
        (1, "lo", None, None),
        (2, "left", Some([2; 6]), Some("veth")),
        (3, "right", Some([3; 6]), None),
        (4, "third", Some([4; 6]), None),
    ] {
        let kind = kind.map(str::to_owned);
        let link = Link { name: name.to_owned(), mac, kind, ..Link::default() };
        state.links.insert(index, link);
    }
    state
}

fn parse(line: &str) -> Result<Options, clap::Error> {
    Options::try_parse_from(["spine-router"].into_iter().chain(line.split_whitespace()))
}

#[test]
fn bad_use_is_answered_with_a_sentence() {
    for (name, line, sentence) in [
        ("one interface", "--iface left", "only one interface is given"),
        ("twice", "--iface left --iface left", "interface left is given twice"),
        ("unknown", "--iface left --iface nope", "there is no interface \"nope\""),
        ("loopback", "--iface left --iface lo", "interface lo is not an Ethernet interface"),
        ("core", "--iface left --iface right --cores 0,1023", "core 1023 cannot be used"),
        (
            "extension",
            "--iface left --iface right --extension /nowhere/x --trust /nowhere/k",
            "extension /nowhere/x cannot be read: No such file",
        ),
        (
            "a model's speed",
            "--iface left --iface right --lanai-speed max",
            "--lanai-speed and --lanai-wire are about the model",
        ),
        (
            "a mode of another interface",
            "--iface left --iface right --xdp-mode other=copy",
            "--xdp-mode names other, which no --iface does",
        ),
        (
            "directory",
            "--iface left --iface right --trust /",
            "key file / cannot be read: it is not a file",
        ),
    ] {
        let options = parse(line).expect(name);
        let error = options.check(&state()).expect_err(name).to_string();
        assert!(error.starts_with(sentence), "{name}: {error}");
    }
}

#[test]
fn a_fifo_is_refused_without_waiting_for_a_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for option in ["--trust", "--trust /dev/null --extension"] {
        let line = format!("--iface left --iface right {option} {}", fifo.display());
        let error = parse(&line).expect("fine so far").check(&state()).expect_err("a FIFO");
        assert!(error.to_string().ends_with("it is not a file"), "{error}");
    }
}

#[test]
fn the_parser_refuses_what_no_state_could_make_right() {
    for line in [
        "",
        "--iface left --iface right --duration 0",
        "--iface left --iface right --duration soon",
        "--iface left --iface right --duration -1",
        "--iface left --iface right --duration 1e19",
        "--iface left --iface right --duration 1e10",
        "--iface left --iface right --cores one",
        "--iface left --iface right --extension x",
        "--iface left --iface right --xdp-mode fast",
        "--iface left --iface right --xdp-mode left=fast",
        "--iface left --iface right --nic lanai --lanai-wire lanai",
        "--iface left --iface right --frames 1",
        "--iface left --iface right --nic lanai --lanai-speed slow",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn good_use_is_understood() {
    let options = parse("--iface right --iface left --cores 0 --duration 0.25 --json").expect("ok");
    assert_eq!(options.check(&state()), Ok(vec![3, 2]), "in the order given");
    assert_eq!(options.duration, Some(Duration::from_millis(250)));
    assert!(options.completes_checksums(true));
    assert!(!options.completes_checksums(false), "they come complete");
    let options = parse("--iface right --iface third --nic lanai").expect("ok");
    assert_eq!(options.backend(), (Backend::Auto, Some(Speed::Real)));
    let options =
        parse("--iface right --iface third --nic lanai --lanai-speed max --lanai-wire xdp");
    assert_eq!(options.expect("ok").backend(), (Backend::Xdp, Some(Speed::Max)));
    let options = parse("--iface right --iface third").expect("ok");
    assert_eq!(options.backend(), (Backend::Auto, None));
    assert_eq!(options.modes().of("right"), Mode::Auto);
    let options = parse("--iface right --iface third --xdp-mode copy,third=generic").expect("ok");
    assert!(options.check(&state()).is_ok());
    assert_eq!(options.modes().of("right"), Mode::Copy);
    assert_eq!(options.modes().of("third"), Mode::Generic);
}
