//! Peers as the configuration has them, and everything in that which can be wrong, with its line.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use serde::Deserialize;
use spine_client::daemon::protocol::PEERS;
use spine_client::pair_key;
use spine_remote::PairKey;
use toml::Spanned;

use super::{Address, Configured, Peer};

/// Bytes of a peer's name.
const NAME_BYTES: usize = 32;

/// One `[[peer]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    name: Spanned<String>,
    interface: Spanned<String>,
    address: Spanned<String>,
    key: Spanned<PathBuf>,
    next_hop: Option<Spanned<String>>,
    port: Option<Spanned<u16>>,
}

/// What is wrong, and at which byte.
type Fault = (usize, String);

/// The peers, each on one of these interfaces.
///
/// # Errors
/// What is wrong, and at which byte.
pub(crate) fn peers(all: Vec<Raw>, interfaces: &[String]) -> Result<Vec<Configured>, Fault> {
    let mut peers: Vec<Configured> = Vec::with_capacity(all.len());
    for raw in all {
        let at = raw.name.span().start;
        if peers.len() == PEERS {
            return Err((at, format!("at most {PEERS} peers")));
        }
        let peer = one(raw, interfaces, &peers)?;
        peers.push(peer);
    }
    Ok(peers)
}

fn one(raw: Raw, interfaces: &[String], before: &[Configured]) -> Result<Configured, Fault> {
    let name = name(raw.name, before)?;
    let wire = wire(&raw.interface, interfaces)?;
    let at = raw.address.span().start;
    let address = address(&raw.address, raw.next_hop, raw.port)?;
    let mut here = before.iter().filter(|other| other.peer.wire == wire);
    if here.any(|other| other.peer.address == address) {
        return Err((
            at,
            format!("another peer has the address {address} on {}", raw.interface.as_ref()),
        ));
    }
    let place = before.iter().filter(|other| other.peer.wire == wire).count();
    let key = pair_key::from_file(raw.key.as_ref())
        .map_err(|error| (raw.key.span().start, error.to_string()))?;
    Ok(Configured { peer: Peer { name, wire, place, address }, key: PairKey(key) })
}

fn name(raw: Spanned<String>, before: &[Configured]) -> Result<String, Fault> {
    let at = raw.span().start;
    let name = raw.into_inner();
    let sound = (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !name.bytes().all(|byte| byte.is_ascii_digit());
    if !sound {
        let what = format!(
            "{name:?} is no name for a peer: up to {NAME_BYTES} letters, digits, '-', '_' and '.', and not only digits"
        );
        return Err((at, what));
    }
    if before.iter().any(|other| other.peer.name == name) {
        return Err((at, format!("there are two peers called {name}")));
    }
    Ok(name)
}

fn wire(raw: &Spanned<String>, interfaces: &[String]) -> Result<usize, Fault> {
    interfaces.iter().position(|name| name == raw.as_ref()).ok_or_else(|| {
        let ours = interfaces.join(", ");
        let what = format!("{:?} is none of the interfaces spined owns ({ours})", raw.as_ref());
        (raw.span().start, what)
    })
}

fn address(
    raw: &Spanned<String>,
    next_hop: Option<Spanned<String>>,
    port: Option<Spanned<u16>>,
) -> Result<Address, Fault> {
    let text = raw.as_ref();
    if let Some(theirs) = link_address(text) {
        let unneeded = next_hop.map(|hop| hop.span()).or_else(|| port.map(|port| port.span()));
        return match unneeded {
            None => Ok(Address::Link(theirs)),
            Some(span) => {
                Err((span.start, "a peer on the link has no next hop and no port".to_owned()))
            }
        };
    }
    let to = text.parse::<SocketAddrV4>().ok().filter(|to| {
        let ip = to.ip();
        to.port() > 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
    });
    let to = to.ok_or_else(|| {
        let what = format!(
            "{text:?} is neither the link-layer address of one machine, such as \"02:00:00:00:00:01\", nor its address and UDP port, such as \"192.0.2.7:4040\""
        );
        (raw.span().start, what)
    })?;
    let next_hop = next_hop.map(|hop| {
        let what = format!("{:?} is no link-layer address of one machine", hop.as_ref());
        link_address(hop.as_ref()).ok_or_else(|| (hop.span().start, what))
    });
    let ours = match port {
        Some(port) if *port.as_ref() == 0 => {
            return Err((port.span().start, "no UDP port is 0".to_owned()));
        }
        port => port.map_or_else(|| to.port(), Spanned::into_inner),
    };
    Ok(Address::Udp { to, port: ours, next_hop: next_hop.transpose()? })
}

/// Six bytes of a single machine, as `02:00:00:00:00:01`.
pub(super) fn link_address(text: &str) -> Option<[u8; 6]> {
    let bytes = text.split(':').map(|digits| {
        let one = spine_client::hex::decode(digits)?;
        <[u8; 1]>::try_from(one).ok().map(|[byte]| byte)
    });
    let bytes: [u8; 6] = bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Misuse;

    #[derive(Deserialize)]
    struct File {
        peer: Vec<Raw>,
    }

    fn read(text: &str) -> Result<Vec<Configured>, Fault> {
        let file: File = toml::from_str(text).expect("TOML");
        peers(file.peer, &["left".to_owned(), "right".to_owned()])
    }

    fn key() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pair.key");
        pair_key::create_file(&path).expect("a key");
        let path = path.to_string_lossy().into_owned();
        (folder, path)
    }

    #[test]
    fn peers_are_numbered_on_their_interfaces_and_reached_on_the_link_or_by_udp() {
        let (_folder, key) = key();
        let text = format!(
            "[[peer]]\nname = \"a\"\ninterface = \"right\"\naddress = \"02:00:00:00:00:0A\"\nkey = \"{key}\"\n\
             [[peer]]\nname = \"b\"\ninterface = \"left\"\naddress = \"192.0.2.7:4040\"\nkey = \"{key}\"\n\
             [[peer]]\nname = \"c-3\"\ninterface = \"right\"\naddress = \"192.0.2.8:1\"\nport = 9\n\
             next_hop = \"02:00:00:00:00:01\"\nkey = \"{key}\"\n"
        );
        let found = read(&text).expect("fine");
        let known: Vec<_> = found
            .iter()
            .map(|it| {
                (it.peer.name.as_str(), it.peer.wire, it.peer.place, it.peer.address.to_string())
            })
            .collect();
        let expected = [
            ("a", 1, 0, "02:00:00:00:00:0a".to_owned()),
            ("b", 0, 0, "192.0.2.7:4040".to_owned()),
            ("c-3", 1, 1, "192.0.2.8:1".to_owned()),
        ];
        assert_eq!(known, expected);
        let Address::Udp { port: 9, next_hop: Some([2, 0, 0, 0, 0, 1]), .. } =
            found[2].peer.address
        else {
            panic!("{:?}", found[2].peer)
        };
        let all: Vec<Peer> = found.into_iter().map(|it| it.peer).collect();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(super::super::places(&all, 1, &names(&["c-3"])), Ok(2));
        assert_eq!(super::super::places(&all, 1, &names(&[])), Ok(0));
        let unknown = super::super::places(&all, 1, &names(&["b"])).expect_err("elsewhere");
        assert!(unknown.contains("no peer \"b\" on that interface; it knows a, c-3"), "{unknown}");
    }

    #[test]
    fn what_is_wrong_with_a_peer_is_said_with_its_line() {
        let (folder, key) = key();
        let wide = folder.path().join("wide.key");
        std::fs::copy(&key, &wide).expect("copied");
        let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        std::fs::set_permissions(&wide, open).expect("changed");
        let good = format!(
            "[[peer]]\nname = \"a\"\ninterface = \"left\"\naddress = \"02:00:00:00:00:01\"\nkey = \"{key}\"\n"
        );
        let with = |from: &str, to: &str| good.replace(from, to);
        let wide = wide.to_string_lossy();
        for (text, line, sentence) in [
            (with("\"a\"", "\"17\""), 2, "no name for a peer"),
            (with("\"a\"", "\"a b\""), 2, "no name for a peer"),
            (format!("{good}{good}"), 7, "two peers called a"),
            (format!("{good}{}", with("\"a\"", "\"b\"")), 9, "another peer has the address"),
            (with("left", "middle"), 3, "none of the interfaces spined owns (left, right)"),
            (with("02:00", "03:00"), 4, "neither the link-layer address"),
            (with("02:00:00:00:00:01", "192.0.2.7"), 4, "nor its address and UDP port"),
            (with("02:00:00:00:00:01", "192.0.2.7:0"), 4, "nor its address and UDP port"),
            (with("02:00:00:00:00:01", "224.0.0.1:7"), 4, "nor its address and UDP port"),
            (format!("{good}port = 7\n"), 6, "on the link has no next hop and no port"),
            (with(&key, &wide), 5, "its mode is 0644"),
            (with(&key, "/nowhere"), 5, "/nowhere: No such file"),
        ] {
            let (at, what) = read(&text).expect_err(sentence);
            assert_eq!(crate::cli::line_of(&text, at), line, "{what}");
            assert!(what.contains(sentence), "{what}");
        }
        let udp = with("02:00:00:00:00:01", "192.0.2.7:7");
        let (_, what) = read(&format!("{udp}next_hop = \"x\"\n")).expect_err("no address");
        assert!(what.contains("no link-layer address"), "{what}");
        let sentence = Misuse::Wrong { path: "/etc/f".into(), line: 3, what }.to_string();
        assert!(sentence.starts_with("/etc/f:3: "), "{sentence}");
    }
}
