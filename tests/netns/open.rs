//! One interface, one answer: router, daemon and video client open it in the same mode, or refuse it with the
//! same sentence.

use std::time::Duration;

use spine_tests::process::Finished;
use spine_tests::{Daemon, Namespace, Report, Topology, daemon, need_namespaces, router, video};

const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of interface, and what every program is to make of it.
struct Case {
    name: &'static str,
    /// What comes between `ip link add NAME` and the pair's other end.
    ours: &'static str,
    kind: Kind,
    /// Options of all three programs.
    options: &'static [&'static str],
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Kind {
    Veth,
    Bridge,
}

#[derive(Clone, Copy)]
enum Expected {
    /// This mode.
    Opened(&'static str),
    /// A sentence with these words.
    Refused(&'static str),
}

use Expected::{Opened, Refused};

const CASES: &[Case] = &[
    Case {
        name: "a veth",
        ours: "mtu 1500",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "the longest MTU of a small frame",
        ours: "mtu 1774",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "the longest MTU of a large frame",
        ours: "mtu 3390",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "one byte more",
        ours: "mtu 3391",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "jumbo frames",
        ours: "mtu 9000",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "several queues",
        ours: "mtu 1500 numrxqueues 4 numtxqueues 4",
        kind: Kind::Veth,
        options: &[],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "generic, asked for",
        ours: "mtu 1500",
        kind: Kind::Veth,
        options: &["--xdp-mode", "generic"],
        expected: Opened("af_xdp generic"),
    },
    Case {
        name: "copies, asked for",
        ours: "mtu 1500",
        kind: Kind::Veth,
        options: &["--xdp-mode", "copy"],
        expected: Opened("af_xdp copy"),
    },
    Case {
        name: "no copies, where the driver cannot",
        ours: "mtu 1500",
        kind: Kind::Veth,
        options: &["--xdp-mode", "zero-copy"],
        expected: Refused("cannot do without copies"),
    },
    Case {
        name: "a driver without XDP",
        ours: "",
        kind: Kind::Bridge,
        options: &[],
        expected: Opened("af_xdp generic"),
    },
    Case {
        name: "a driver without XDP, where nothing else will do",
        ours: "",
        kind: Kind::Bridge,
        options: &["--xdp-mode", "native"],
        expected: Refused("its driver has no XDP in this mode"),
    },
];

/// The interfaces of a case, two because a router needs two, and gone with this value.
struct Pair<'a> {
    namespace: &'a Namespace,
}

const NAMES: [&str; 2] = ["one", "two"];

impl<'a> Pair<'a> {
    fn new(namespace: &'a Namespace, case: &Case) -> Self {
        let pair = Self { namespace };
        for name in NAMES {
            let ours = case.ours;
            match case.kind {
                Kind::Veth => {
                    namespace.ip(&format!(
                        "link add {name} {ours} type veth peer name {name}-far {ours}"
                    ));
                    namespace.ip(&format!("link set {name}-far up"));
                }
                Kind::Bridge => drop(namespace.ip(&format!("link add {name} type bridge"))),
            }
            namespace.ip(&format!("link set {name} up"));
        }
        pair
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for name in NAMES {
            self.namespace.ip(&format!("link delete {name}"));
        }
    }
}

/// What a program made of it: the mode, or its last words.
type Answer = Result<String, String>;

fn refused(finished: &Finished) -> Answer {
    assert!(!finished.status.success(), "it was neither ready nor failed: {}", finished.stderr);
    Err(finished.stderr.lines().last().unwrap_or_default().to_owned())
}

fn of_router(namespace: &Namespace, case: &Case) -> Answer {
    let options = [&["--nic", "xdp", "--duration", "0.1"], case.options].concat();
    let finished = router::run_to_end(namespace, &NAMES, &options);
    if finished.status.success() {
        Ok(Report::parse(&finished.stdout).mode(NAMES[0]))
    } else {
        refused(&finished)
    }
}

fn of_daemon(namespace: &Namespace, case: &Case) -> Answer {
    let Refused(_) = case.expected else {
        let daemon = Daemon::start_on(namespace, &NAMES, "", case.options);
        let adapters = daemon.client().adapters().unwrap_or_else(|error| panic!("{error}"));
        return Ok(adapters[0].mode.clone());
    };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let key = folder.path().join("key").to_string_lossy().into_owned();
    let socket = folder.path().join("socket").to_string_lossy().into_owned();
    let files = ["--socket", &socket, "--key", &key];
    let interfaces = ["--iface", NAMES[0], "--iface", NAMES[1]];
    refused(&daemon::run_to_end(namespace, &[&files, &interfaces, case.options].concat()))
}

fn of_video(namespace: &Namespace, case: &Case) -> Answer {
    let options = format!(
        "--iface {} --port 5004 --format UYVY --size 64x48 --backend xdp --headless --json --duration 0.1 {}",
        NAMES[0],
        case.options.join(" ")
    );
    let finished = video::run_to_end(namespace, &options, PATIENCE);
    if finished.status.success() {
        Ok(video::Statistics::parse(&finished.stdout).text("mode").to_owned())
    } else {
        refused(&finished)
    }
}

/// What is wrong with a program's answer, if something is.
fn fault(case: &Case, program: &str, answer: &Answer) -> Option<String> {
    let right = match (case.expected, answer) {
        (Opened(mode), Ok(found)) => found == mode,
        (Refused(words), Err(sentence)) => sentence.contains(words),
        _ => false,
    };
    (!right).then(|| format!("{}: {program}: {answer:?}", case.name))
}

#[test]
fn three_programs_give_the_same_answer_for_the_same_interface() {
    let _alone = need_namespaces!();
    let net = Topology::star(&[]);
    let mut wrong = Vec::new();
    for case in CASES {
        let pair = Pair::new(net.router(), case);
        for (program, answer) in [
            ("spine-router", of_router(net.router(), case)),
            ("spined", of_daemon(net.router(), case)),
            ("spine-video", of_video(net.router(), case)),
        ] {
            wrong.extend(fault(case, program, &answer));
        }
        drop(pair);
    }
    assert_eq!(wrong, [""; 0]);
}
