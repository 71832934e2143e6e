//! The classifier on real interfaces: veths in network namespaces that end with their thread.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::{env, io, str};

use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, SocketType, sockopt};
use spine_abi::HandlerNumber;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const STATION: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Runs a test in a thread with a network namespace and a veth (`near`, `far`) of its own, or says why
/// not.
fn in_namespace(test: impl FnOnce() + Send) {
    let run = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            ip("link set lo up");
            ip("link add near type veth peer name far address 02:00:00:00:00:02");
            ip("link set near up");
            ip("link set far up");
            test();
        }
        Err(error) => println!("skipped: a network namespace needs CAP_SYS_ADMIN: {error}"),
    };
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip can be run");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// What iproute2 says is attached to `far`.
fn seen_by_ip() -> String {
    let output = Command::new("ip").args(["-d", "link", "show", "dev", "far"]).output();
    String::from_utf8(output.expect("ip can be run").stdout).expect("ip speaks UTF-8")
}

fn load() -> Option<Classifier> {
    match Classifier::load() {
        Ok(classifier) => Some(classifier),
        Err(error) if nix::unistd::geteuid().is_root() => panic!("{error}"),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn attaches_in_the_mode_asked_for_and_is_gone_when_dropped() {
    for (mode, as_ip_says_it) in
        [(AttachMode::Native, " xdp "), (AttachMode::Generic, " xdpgeneric ")]
    {
        in_namespace(|| {
            let Some(mut classifier) = load() else { return };
            let ifindex = classifier.attach("far", mode).expect("a veth takes it");
            assert!(seen_by_ip().contains(as_ip_says_it), "{mode}: {}", seen_by_ip());
            let id = classifier.occupant(ifindex).expect("it is there");
            assert!(seen_by_ip().contains(&format!("prog/xdp id {id} ")), "{}", seen_by_ip());

            drop(classifier);
            assert!(!seen_by_ip().contains("xdp"), "{mode}: {}", seen_by_ip());
        });
    }
}

#[test]
fn one_classifier_serves_several_interfaces_and_leaves_them_one_by_one() {
    in_namespace(|| {
        let Some(mut classifier) = load() else { return };
        let far = classifier.attach("far", AttachMode::Native).unwrap();
        let near = classifier.attach("near", AttachMode::Generic).unwrap();
        // The one where the driver is asked for tags has a program of its own, over the same maps.
        assert!(classifier.occupant(far).is_some() && classifier.occupant(near).is_some());
        assert!(classifier.sees_tags(far) && !classifier.sees_tags(near));
        classifier.detach(far).unwrap();
        assert_eq!(classifier.occupant(far), None);
        assert!(classifier.occupant(near).is_some());
        classifier.detach(far).expect("detaching twice is no error");
        classifier.attach("far", AttachMode::Generic).expect("it can come back in another mode");
        ip("link del near");
        classifier.detach(near).expect("an interface that is gone is no error");
    });
}

#[test]
fn a_taken_interface_is_refused_after_a_second_and_its_program_named() {
    in_namespace(|| {
        let (Some(mut first), Some(mut second)) = (load(), load()) else { return };
        let ifindex = first.attach("far", AttachMode::Native).unwrap();
        let id = first.occupant(ifindex).unwrap();
        for mode in [AttachMode::Native, AttachMode::Generic] {
            let start = Instant::now();
            let error = second.attach("far", mode).expect_err("it is taken");
            assert!(start.elapsed() >= PATIENCE);
            assert!(matches!(error, AttachError::Occupied { program, .. } if program == id));
            assert!(error.to_string().contains(&format!("program id {id}")), "{error}");
        }
        assert_eq!(first.occupant(ifindex), Some(id), "the first is still there");
        // It leaves while the other waits.
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(200));
                drop(first);
            });
            second.attach("far", AttachMode::Native).expect("it is free within a second");
        });
    });
}

#[test]
fn what_cannot_be_attached_is_refused_in_a_sentence() {
    in_namespace(|| {
        let Some(mut classifier) = load() else { return };
        let error = classifier.attach("nowhere", AttachMode::Native).unwrap_err();
        assert!(matches!(error, AttachError::NoInterface { .. }), "{error}");
        assert!(error.to_string().contains("\"nowhere\""), "{error}");

        ip("link set near mtu 9000");
        ip("link set far mtu 9000");
        classifier.attach("far", AttachMode::Native).expect("packets may come in several buffers");

        let error = classifier.attach("lo", AttachMode::Native).unwrap_err();
        assert!(error.to_string().contains("no XDP in this mode"), "{error}");
    });
}

/// Live packets from the near end, and which counter each of them moves.
#[test]
fn the_maps_decide_about_live_packets() {
    in_namespace(|| {
        let Some(mut classifier) = load() else { return };
        ip("addr add 10.77.0.1/24 dev near");
        ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
        let ifindex = classifier.attach("far", AttachMode::Native).unwrap();
        let sender = UdpSocket::bind("10.77.0.1:0").unwrap();
        let expect = |classifier: &Classifier, what: &str, counter: Counter| {
            let count = || {
                let counters = classifier.counters().unwrap();
                counters.iter().find(|(found, _)| *found == counter).unwrap().1
            };
            let before = count();
            sender.send_to(b"hello", (STATION, 9)).unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            while count() == before {
                assert!(
                    Instant::now() < deadline,
                    "{what}: {counter:?} does not move: {:?}",
                    classifier.counters()
                );
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(count(), before + 1, "{what}");
        };

        expect(&classifier, "at first", Counter::SwitchedOff);
        classifier.set_enabled(true).unwrap();
        expect(&classifier, "without a port", Counter::NoSocket);
        classifier.set_port_enabled(ifindex, true).expect_err("there is no port");

        let port = Port {
            first_socket: 3,
            queues: 1,
            mac: MAC,
            handler: HandlerNumber(1),
            enabled: true,
            enabled_ipv6: false,
            unfinished_checksums: false,
            ingress: 0,
            first_kept: 0,
            kept: 0,
            again: false,
            longest: u32::MAX,
            first_kept_ipv6: 0,
            kept_ipv6: 0,
        };
        classifier.set_port(ifindex, port).unwrap();
        expect(&classifier, "without a claim", Counter::NotOurs);
        classifier.set_claim(Ipv4Addr::new(10, 77, 0, 0).into(), 24, Ingresses::ALL).unwrap();
        expect(&classifier, "without a socket", Counter::NoSocket);

        let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
        sockopt::set_xdp_rx_ring_size(&socket, 64).unwrap();
        classifier.set_socket(3, &socket).unwrap();
        expect(&classifier, "with all of it", Counter::Claimed);
        classifier.set_port_enabled(ifindex, false).unwrap();
        expect(&classifier, "this interface off", Counter::SwitchedOff);
        classifier.set_port_enabled(ifindex, true).unwrap();
        expect(&classifier, "and on, with all it had", Counter::Claimed);

        classifier.set_claim(STATION.into(), 32, Ingresses::NONE).unwrap();
        expect(&classifier, "a passed host in a claimed network", Counter::NotOurs);
        classifier.remove_claim(STATION.into(), 32).unwrap();
        classifier.remove_claim(STATION.into(), 32).expect("twice is no error");
        expect(&classifier, "claimed again", Counter::Claimed);

        classifier.set_address(STATION.into()).unwrap();
        expect(&classifier, "an address of ours", Counter::Local);
        for (address, what) in
            [(STATION, "a claimed port"), (Ipv4Addr::UNSPECIFIED, "at any address")]
        {
            classifier.claim_port(address, 10, HandlerNumber(40)).unwrap();
            expect(&classifier, "another port of the address", Counter::Local);
            classifier.claim_port(address, 9, HandlerNumber(40)).unwrap();
            expect(&classifier, what, Counter::Claimed);
            classifier.release_port(address, 10).unwrap();
            expect(&classifier, "still claimed", Counter::Claimed);
            let fragments = |classifier: &Classifier| {
                let counters = classifier.counters().unwrap();
                counters.iter().find(|(found, _)| *found == Counter::Fragments).unwrap().1
            };
            let before = fragments(&classifier);
            sender.send_to(&[0; 3000], (STATION, 9)).unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            while fragments(&classifier) < before + 3 {
                assert!(Instant::now() < deadline, "{what}: fragments are not counted");
                thread::sleep(Duration::from_millis(1));
            }
            classifier.release_port(address, 9).unwrap();
            classifier.release_port(address, 9).expect("twice is no error");
            expect(&classifier, "the port given back", Counter::Local);
        }
        for (port, handler) in [(0, HandlerNumber(1)), (9, HandlerNumber::NONE)] {
            let error = classifier.claim_port(STATION, port, handler).unwrap_err();
            assert!(matches!(error, AttachError::NoFlow { .. }), "{error}");
        }
        classifier.remove_address(STATION.into()).unwrap();
        classifier.remove_address(STATION.into()).expect("twice is no error");
        expect(&classifier, "not ours any more", Counter::Claimed);

        drop(socket);
        expect(&classifier, "the socket closed", Counter::NoSocket);
        classifier.set_enabled(false).unwrap();
        expect(&classifier, "switched off", Counter::SwitchedOff);

        let error = classifier.set_socket(spine_xdp_progs::SOCKETS, &sender).unwrap_err();
        assert!(error.to_string().contains("\"sockets\""), "{error}");
        let error = classifier.set_claim(STATION.into(), 33, Ingresses::ALL).unwrap_err();
        assert!(error.to_string().contains("\"claims\""), "{error}");
    });
}

#[test]
fn a_killed_process_leaves_nothing_attached() {
    in_namespace(|| {
        let Some(mut classifier) = load() else { return };
        let ifindex = nix::net::if_::if_nametoindex("far").unwrap();
        for _ in 0..3 {
            let mut holder = spawn("hold far", None);
            let deadline = Instant::now() + Duration::from_secs(10);
            while classifier.occupant(ifindex).is_none() {
                assert!(Instant::now() < deadline, "the other process does not attach");
                assert!(holder.try_wait().unwrap().is_none(), "the other process ended");
                thread::sleep(Duration::from_millis(5));
            }
            holder.kill().expect("SIGKILL");
            classifier.attach("far", AttachMode::Native).expect("free within a second");
            classifier.detach(ifindex).unwrap();
            holder.wait().unwrap();
        }
    });
}

#[test]
fn a_process_without_capabilities_is_told_which_it_needs() {
    let setpriv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: capabilities can only be given up by who has them");
        return;
    }
    let output = spawn("load", Some(&setpriv)).wait_with_output().unwrap();
    let said = str::from_utf8(&output.stdout).unwrap();
    assert!(said.contains("lacks CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW:"), "{said}");
}

/// Runs [`part_of_another_process`] in another process, by way of a command if given.
fn spawn(part: &str, by_way_of: Option<&[&str]>) -> Child {
    let own = env::current_exe().expect("this program has a path");
    let mut command = match by_way_of {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(own);
            command
        }
        _ => Command::new(own),
    };
    let name = format!("{}::part_of_another_process", module_path!().split_once("::").unwrap().1);
    command
        .args(["--exact", &name, "--nocapture"])
        .env("SPINE_TEST_PART", part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be run again")
}

/// Nothing, unless another test has started this process for it.
#[test]
fn part_of_another_process() {
    match env::var("SPINE_TEST_PART").as_deref() {
        Ok("load") => match Classifier::load() {
            Ok(_) => println!("loaded"),
            Err(error) => println!("{error}"),
        },
        Ok("hold far") => {
            let mut classifier = load().expect("the parent could, too");
            classifier.attach("far", AttachMode::Native).expect("it is free");
            // Until killed, or the parent has ended.
            let _ = io::stdin().read_line(&mut String::new());
        }
        _ => {}
    }
}
