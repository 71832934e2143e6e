//! Who watches our interfaces and will not see what the adapters forward.
//!
//! What AF_XDP takes never reaches the kernel's packet sockets: tcpdump, an intrusion detection system or a flow exporter
//! falls silent, and nothing tells it why. So the router says at its start which sockets there are and where the packets are
//! to be seen. Sockets for one protocol of their own (LLDP, EAPOL) are not meant: those packets stay the kernel's.
//!
//! Left out: sockets that are opened later.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use spine_nic::open::Interface;

/// One line for each socket of this network namespace.
const SOCKETS: &str = "/proc/thread-self/net/packet";
/// What a socket may be bound to that receives IPv4 packets: all protocols, or that one.
const WATCHED: [&str; 2] = ["0003", "0800"];

/// A sentence for people, if somebody watches one of these interfaces, or all there are.
pub(crate) fn sentence(ours: &[Interface]) -> Option<String> {
    // Where it cannot be read there is nothing to say: forwarding does not depend on it.
    let sockets = fs::read_to_string(SOCKETS).unwrap_or_default();
    let mut watchers = watchers(&sockets, ours);
    let names = programs(Path::new("/proc"), &watchers);
    watchers.iter_mut().for_each(|watcher| {
        if let Some(name) = names.get(&watcher.inode) {
            watcher.program.clone_from(name);
        }
    });
    say(&watchers)
}

/// A socket that watches.
#[derive(Debug, PartialEq, Eq)]
struct Watcher {
    /// What it watches, for people.
    on: String,
    inode: String,
    program: String,
}

/// The watchers among the lines of the file: `sk RefCnt Type Proto Iface R Rmem User Inode`.
fn watchers(sockets: &str, ours: &[Interface]) -> Vec<Watcher> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, protocol, interface, running, _, _, inode] = fields.as_slice() else {
            return None;
        };
        let watches = *running == "1" && WATCHED.contains(protocol);
        let on = match *interface {
            "0" => "all interfaces".to_owned(),
            number => {
                let number: u32 = number.parse().ok()?;
                ours.iter().find(|one| one.index == number)?.name.clone()
            }
        };
        let program = "a program".to_owned();
        watches.then(|| Watcher { on, inode: (*inode).to_owned(), program })
    };
    sockets.lines().filter_map(read).collect()
}

/// The programs that have these sockets, as far as we may look, by the sockets' inodes.
fn programs(proc: &Path, watchers: &[Watcher]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if watchers.is_empty() {
        return found;
    }
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let path = process.path();
        for descriptor in fs::read_dir(path.join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let Some(inode) = inode else { continue };
            if watchers.iter().any(|watcher| watcher.inode == inode) {
                let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                let number = process.file_name().to_string_lossy().into_owned();
                found.insert(inode.to_owned(), format!("{} (process {number})", name.trim()));
            }
        }
    }
    found
}

fn say(watchers: &[Watcher]) -> Option<String> {
    let mut who: Vec<String> =
        watchers.iter().map(|one| format!("{} on {}", one.program, one.on)).collect();
    who.sort();
    who.dedup();
    (!who.is_empty()).then(|| {
        format!(
            "{} will not see what the adapters forward: --nic packet shows it to everybody, --capture FILE records it",
            who.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: &str = "\
sk               RefCnt Type Proto  Iface R Rmem   User   Inode
0000000000000000 3      3    0003   0     1 0      0      71
0000000000000000 3      3    0003   2     1 0      0      72
0000000000000000 3      3    0003   9     1 0      0      73
0000000000000000 3      3    88cc   2     1 0      0      74
0000000000000000 3      2    0800   2     0 0      0      75
0000000000000000 3      2    0800   2     1 0      0      76
";

    fn lan() -> Interface {
        let lo = Interface::find(&["lo"]).unwrap().remove(0);
        Interface { index: 2, name: "lan".to_owned(), ..lo }
    }

    #[test]
    fn who_watches_our_interfaces_or_all_is_found_and_others_are_not() {
        let found = watchers(SOCKETS, &[lan()]);
        let found: Vec<(&str, &str)> =
            found.iter().map(|one| (one.on.as_str(), one.inode.as_str())).collect();
        assert_eq!(found, [("all interfaces", "71"), ("lan", "72"), ("lan", "76")]);
        assert_eq!(say(&watchers("", &[lan()])), None);
    }

    #[test]
    fn a_watcher_is_named_by_its_program_where_that_may_be_seen() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("4711");
        fs::create_dir_all(process.join("fd")).unwrap();
        fs::write(process.join("comm"), "tcpdump\n").unwrap();
        std::os::unix::fs::symlink("socket:[72]", process.join("fd/3")).unwrap();
        let names = programs(proc.path(), &watchers(SOCKETS, &[lan()]));
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            [("72".to_owned(), "tcpdump (process 4711)".to_owned())]
        );
    }

    #[test]
    fn all_are_said_in_one_sentence() {
        let watchers = watchers(SOCKETS, &[lan()]);
        assert_eq!(
            say(&watchers).unwrap(),
            "a program on all interfaces, a program on lan will not see what the adapters forward: --nic packet shows it to \
             everybody, --capture FILE records it"
        );
    }
}
