//! nftables: everything the kernel has of it, as chains of rules.
//!
//! Asked of the kernel itself (NETLINK_NETFILTER): the rules are there whether `nft` is installed or not. iptables-nft is
//! the same to the kernel. The table with which AF_PACKET keeps packets from the kernel is this process's own, and left out.
//! So are the families of bridges and of ARP: a packet that is routed between our interfaces does not pass them.

mod concern;
mod expressions;
mod numbers;
mod read;
mod sets;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use netlink_sys::protocols::NETLINK_NETFILTER;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{attributes, be32_at, text};
use spine_nic::open::table_name;

pub(crate) use self::concern::Reach;
use self::expressions::Surroundings;
use self::numbers as n;
use self::read::{Home, ListedChain, Listing};
use self::sets::Set;
use crate::ipset::IpSets;
use crate::model::{Base, Chain, Device, Hook, PerFamily, Program, Rule, Step};
use crate::xtables::{self, Info};

/// The multicast group that announces changes.
pub(crate) const GROUP: u32 = 7;

/// Adds what the kernel has, and says from where what of it is reached.
///
/// # Errors
/// [`NetlinkError`], with nothing added.
pub(crate) fn add(program: &mut Program, ipsets: &IpSets) -> Result<Reach, NetlinkError> {
    let mut socket = NetlinkSocket::open(NETLINK_NETFILTER)?;
    let mut listing = read::listing(&mut socket)?;
    let own: Home = (n::NETDEV, table_name());
    listing.chains.retain(|chain| chain.home != own);
    listing.rules.retain(|rule| rule.home != own);
    Ok(translate(&listing, ipsets, program))
}

fn translate(listing: &Listing, ipsets: &IpSets, program: &mut Program) -> Reach {
    let dormant: Vec<&Home> =
        listing.tables.iter().filter(|(_, dormant)| *dormant).map(|(home, _)| home).collect();
    let mut names = Names { sets: HashMap::new(), list: Vec::new(), chains: HashMap::new() };
    for listed in &listing.sets {
        names.sets.insert((&listed.home, &listed.name), names.list.len());
        names.list.push(sets::set(listed));
    }
    for listed in listing.chains.iter().filter(|chain| read::is_ours(chain.home.0)) {
        names.chains.insert((&listed.home, &listed.name), program.chains.len());
        program.chains.push(chain(listed, dormant.contains(&&listed.home)));
    }
    let mut used: HashMap<usize, BTreeSet<usize>> = HashMap::new();
    for listed in &listing.rules {
        let Some(&number) = names.chains.get(&(&listed.home, &listed.chain)) else { continue };
        let place = Arc::clone(&program.chains[number].place);
        let mut around = Around {
            names: &names,
            used: RefCell::default(),
            home: &listed.home,
            place: &place,
            ipsets,
            tracks: &mut program.tracks,
        };
        let steps = expressions::steps(&listed.expressions, &mut around);
        used.entry(number).or_default().extend(around.used.into_inner());
        let name = format!("rule handle {}", listed.handle).into();
        program.chains[number].rules.push(Rule { name, steps });
    }
    Reach::of(program, listing, &names.chains, &used)
}

fn chain(listed: &ListedChain, is_dormant: bool) -> Chain {
    let (family, table) = &listed.home;
    let word = match *family {
        n::INET => "inet",
        n::IPV4 => "ip",
        n::IPV6 => "ip6",
        _ => "netdev",
    };
    let base = listed.hook.filter(|_| !is_dormant).map(|(number, priority)| Base {
        hook: hook(*family, number),
        priority,
        drops: listed.drops,
        devices: devices(listed),
    });
    Chain {
        place: format!("nftables chain {word} {table} {}", listed.name).into(),
        v4: *family != n::IPV6,
        v6: *family != n::IPV4,
        base,
        rules: Vec::new(),
    }
}

/// The interfaces that a chain hangs on; all, where that is not known.
fn devices(listed: &ListedChain) -> Option<Vec<Device>> {
    let device = |device: &Option<(String, bool)>| {
        device.clone().map(|(name, is_prefix)| match is_prefix {
            true => Device::Prefix(name),
            false => Device::Named(name),
        })
    };
    match listed.devices.is_empty() {
        true => None,
        false => listed.devices.iter().map(device).collect(),
    }
}

fn hook(family: u8, number: u32) -> Hook {
    match (family, number) {
        (n::NETDEV, 0) | (n::INET, 5) => Hook::Ingress,
        (n::NETDEV, 1) => Hook::Egress,
        (n::NETDEV, _) => Hook::Elsewhere,
        (_, 0) => Hook::Prerouting,
        (_, 1) => Hook::Input,
        (_, 2) => Hook::Forward,
        (_, 4) => Hook::Postrouting,
        _ => Hook::Elsewhere,
    }
}

/// What a rule may name.
struct Names<'a> {
    sets: HashMap<(&'a Home, &'a String), usize>,
    list: Vec<Set>,
    chains: HashMap<(&'a Home, &'a String), usize>,
}

struct Around<'a> {
    names: &'a Names<'a>,
    /// Sets that the rule looks into.
    used: RefCell<BTreeSet<usize>>,
    home: &'a Home,
    place: &'a Arc<str>,
    ipsets: &'a IpSets,
    tracks: &'a mut PerFamily<Option<String>>,
}

impl Surroundings for Around<'_> {
    fn set(&self, name: &str) -> Option<(usize, &Set)> {
        let number = *self.names.sets.get(&(self.home, &name.to_owned()))?;
        self.used.borrow_mut().insert(number);
        Some((number, &self.names.list[number]))
    }

    fn mapped(&self, number: usize) -> Option<&Set> {
        self.names.list.get(number)
    }

    fn chain(&self, name: &str) -> Option<usize> {
        self.names.chains.get(&(self.home, &name.to_owned())).copied()
    }

    fn compat(&mut self, what: &str, data: &[u8], steps: &mut Vec<Step>) {
        const NAME: u16 = 1;
        const REVISION: u16 = 2;
        const INFO: u16 = 3;
        let find = |wanted| attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
        let name = find(NAME).map(text).unwrap_or_default();
        let info = Info {
            name: &name,
            revision: find(REVISION).and_then(|value| be32_at(value, 0)).unwrap_or(0),
            bytes: find(INFO).unwrap_or_default(),
            is_ipv6: self.home.0 == n::IPV6,
        };
        let tracks = match what {
            "match" => xtables::add_match(info, self.ipsets, steps),
            _ => xtables::add_target(info, steps),
        };
        if tracks {
            self.tracks(None);
        }
    }

    fn tracks(&mut self, ipv6: Option<bool>) {
        let family = self.home.0;
        let why = || self.place.to_string();
        if family != n::IPV6 && ipv6 != Some(true) {
            self.tracks.v4.get_or_insert_with(why);
        }
        if family != n::IPV4 && ipv6 != Some(false) {
            self.tracks.v6.get_or_insert_with(why);
        }
    }
}
