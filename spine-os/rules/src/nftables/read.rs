//! What the kernel lists: tables, chains, rules, sets and their elements, as it gives them.

use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attribute, attributes, be32_at, text};

use super::numbers as n;

/// Rules that change under every attempt to read them are read again this often.
const ATTEMPTS: usize = 32;

/// A table, or what lies in one: family and table.
pub(super) type Home = (u8, String);

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) tables: Vec<(Home, bool)>,
    pub(super) chains: Vec<ListedChain>,
    pub(super) rules: Vec<ListedRule>,
    pub(super) sets: Vec<ListedSet>,
}

#[derive(Debug)]
pub(super) struct ListedChain {
    pub(super) home: Home,
    pub(super) name: String,
    /// Number and priority.
    pub(super) hook: Option<(u32, i32)>,
    /// Names, and whether it is the name's beginning only; `None` is a way of naming that is not known.
    pub(super) devices: Vec<Option<(String, bool)>>,
    pub(super) drops: bool,
}

#[derive(Debug)]
pub(super) struct ListedRule {
    pub(super) home: Home,
    pub(super) chain: String,
    pub(super) handle: u64,
    /// The list of expressions, as attributes.
    pub(super) expressions: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct ListedSet {
    pub(super) home: Home,
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) key_length: usize,
    /// The lengths of the fields of a concatenation with ranges.
    pub(super) fields: Vec<usize>,
    /// What kind of object a map of objects leads to.
    pub(super) object: Option<u32>,
    pub(super) elements: Vec<Element>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
    pub(super) flags: u32,
    pub(super) data: Option<Data>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Value(Vec<u8>),
    /// Code, and where it leads.
    Verdict(i32, String),
}

/// All of one generation.
pub(super) fn listing(socket: &mut NetlinkSocket) -> Result<Listing, NetlinkError> {
    for _ in 0..ATTEMPTS {
        let before = generation(socket)?;
        let listing = once(socket);
        if generation(socket)? == before {
            return listing;
        }
    }
    Err(NetlinkError::Unstable { what: "nftables rules" })
}

/// The number that every change counts up.
pub(super) fn generation(socket: &mut NetlinkSocket) -> Result<u32, NetlinkError> {
    const ID: u16 = 1;
    let number = |raw: Raw<'_>| {
        let body = (raw.kind == n::NEW_GENERATION).then_some(raw.payload)?;
        find(body, ID).and_then(|value| be32_at(value, 0))
    };
    let all = [0; n::HEADER_BYTES];
    let found = socket.get("nftables generation", n::GET_GENERATION, &all, number)?;
    Ok(found.first().copied().unwrap_or(0))
}

fn once(socket: &mut NetlinkSocket) -> Result<Listing, NetlinkError> {
    let all = [0; n::HEADER_BYTES];
    let tables = socket.dump("nftables tables", n::GET_TABLE, &all, table)?;
    let chains = socket.dump("nftables chains", n::GET_CHAIN, &all, chain)?;
    let rules = socket.dump("nftables rules", n::GET_RULE, &all, rule)?;
    let mut sets = socket.dump("nftables sets", n::GET_SET, &all, set)?;
    sets.retain(|set| is_ours(set.home.0));
    for set in &mut sets {
        let mut request = vec![set.home.0, 0, 0, 0];
        request.extend(name(n::element::TABLE, &set.home.1));
        request.extend(name(n::element::SET, &set.name));
        let lists = socket.dump("nftables elements", n::GET_ELEMENT, &request, elements)?;
        set.elements = lists.into_iter().flatten().collect();
    }
    Ok(Listing { tables, chains, rules, sets })
}

/// Families of which packets are carried.
pub(super) fn is_ours(family: u8) -> bool {
    matches!(family, n::INET | n::IPV4 | n::IPV6 | n::NETDEV)
}

fn name(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// The attribute of this kind, behind the header of a message.
fn find(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    let body = payload.get(n::HEADER_BYTES..)?;
    attributes(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The family and table of a message, whose name is in this attribute.
fn home(payload: &[u8], kind: u16) -> Option<Home> {
    Some((*payload.first()?, text(find(payload, kind)?)))
}

fn number(value: Option<&[u8]>) -> Option<u32> {
    be32_at(value?, 0)
}

fn length(value: Option<&[u8]>) -> Option<usize> {
    usize::try_from(number(value)?).ok()
}

/// What a notification tells of: its table, and the name of the chain or set in it.
pub(super) fn subject(raw: Raw<'_>) -> Option<(Home, String)> {
    // All say the table in the same place.
    let home = home(raw.payload, n::table::NAME)?;
    let name = match raw.kind {
        n::NEW_CHAIN | n::DELETE_CHAIN => n::chain::NAME,
        n::NEW_RULE | n::DELETE_RULE => n::rule::CHAIN,
        n::NEW_ELEMENT | n::DELETE_ELEMENT => n::element::SET,
        _ => return Some((home, String::new())),
    };
    Some((home, find(raw.payload, name).map(text).unwrap_or_default()))
}

/// The number of the hook that a chain of a notification hangs on.
pub(super) fn chain_hook(raw: Raw<'_>) -> Option<u32> {
    let place = find(raw.payload, n::chain::HOOK)?;
    number(attributes(place).find(|(kind, _)| *kind == n::hook::NUMBER).map(|(_, value)| value))
}

pub(super) fn table(raw: Raw<'_>) -> Option<(Home, bool)> {
    let home = (raw.kind == n::NEW_TABLE).then(|| home(raw.payload, n::table::NAME))??;
    let flags = number(find(raw.payload, n::table::FLAGS)).unwrap_or(0);
    Some((home, flags & n::table::DORMANT != 0))
}

pub(super) fn chain(raw: Raw<'_>) -> Option<ListedChain> {
    let home = (raw.kind == n::NEW_CHAIN).then(|| home(raw.payload, n::chain::TABLE))??;
    let name = text(find(raw.payload, n::chain::NAME)?);
    let drops = number(find(raw.payload, n::chain::POLICY)) == Some(0);
    let (mut hook, mut devices) = (None, Vec::new());
    if let Some(place) = find(raw.payload, n::chain::HOOK) {
        let part = |wanted| attributes(place).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
        let priority = number(part(n::hook::PRIORITY)).unwrap_or(0).cast_signed();
        hook = number(part(n::hook::NUMBER)).map(|number| (number, priority));
        devices.extend(part(n::hook::DEVICE).map(|device| Some((text(device), false))));
        let list = part(n::hook::DEVICES).unwrap_or_default();
        devices.extend(attributes(list).map(|(kind, value)| match kind {
            n::hook::DEVICE_NAME => Some((text(value), false)),
            n::hook::DEVICE_PREFIX => Some((text(value), true)),
            _ => None,
        }));
    }
    Some(ListedChain { home, name, hook, devices, drops })
}

fn rule(raw: Raw<'_>) -> Option<ListedRule> {
    let home = (raw.kind == n::NEW_RULE).then(|| home(raw.payload, n::rule::TABLE))??;
    let handle = find(raw.payload, n::rule::HANDLE).and_then(|value| value.first_chunk());
    Some(ListedRule {
        home,
        chain: text(find(raw.payload, n::rule::CHAIN)?),
        handle: handle.map_or(0, |bytes| u64::from_be_bytes(*bytes)),
        expressions: find(raw.payload, n::rule::EXPRESSIONS).unwrap_or_default().to_vec(),
    })
}

fn set(raw: Raw<'_>) -> Option<ListedSet> {
    const OBJECT_TYPE: u16 = 15;
    let home = (raw.kind == n::NEW_SET).then(|| home(raw.payload, n::set::TABLE))??;
    let description = find(raw.payload, n::set::DESCRIPTION).unwrap_or_default();
    let concat = attributes(description).find(|(kind, _)| *kind == n::set::DESCRIPTION_CONCAT);
    let fields = attributes(concat.map(|(_, fields)| fields).unwrap_or_default())
        .filter(|(kind, _)| *kind == n::set::FIELD)
        .filter_map(|(_, field)| {
            length(attributes(field).find(|(kind, _)| *kind == n::set::FIELD_LENGTH).map(|f| f.1))
        });
    Some(ListedSet {
        home,
        name: text(find(raw.payload, n::set::NAME)?),
        flags: number(find(raw.payload, n::set::FLAGS)).unwrap_or(0),
        key_length: length(find(raw.payload, n::set::KEY_LENGTH)).unwrap_or(0),
        fields: fields.collect(),
        object: number(find(raw.payload, OBJECT_TYPE)),
        elements: Vec::new(),
    })
}

/// The elements in one message of a list.
pub(super) fn elements(raw: Raw<'_>) -> Option<Vec<Element>> {
    let list = (raw.kind == n::NEW_ELEMENT).then(|| find(raw.payload, n::element::ELEMENTS))??;
    Some(attributes(list).map(|(_, value)| element(value)).collect())
}

fn element(value: &[u8]) -> Element {
    let mut found = Element { key: Vec::new(), end: None, flags: 0, data: None };
    for (kind, value) in attributes(value) {
        match kind {
            n::element::KEY => found.key = plain(value).unwrap_or_default(),
            n::element::KEY_END => found.end = plain(value),
            n::element::FLAGS => found.flags = be32_at(value, 0).unwrap_or(0),
            n::element::DATA => found.data = data(value),
            _ => {}
        }
    }
    found
}

fn plain(value: &[u8]) -> Option<Vec<u8>> {
    match data(value)? {
        Data::Value(bytes) => Some(bytes),
        Data::Verdict(..) => None,
    }
}

/// A value or a verdict.
pub(super) fn data(value: &[u8]) -> Option<Data> {
    let (kind, value) = attributes(value).next()?;
    match kind {
        n::data::VALUE => Some(Data::Value(value.to_vec())),
        n::data::VERDICT => {
            let part = |wanted| attributes(value).find(|(kind, _)| *kind == wanted).map(|v| v.1);
            let code = number(part(n::data::VERDICT_CODE))?.cast_signed();
            Some(Data::Verdict(code, part(n::data::VERDICT_CHAIN).map(text).unwrap_or_default()))
        }
        _ => None,
    }
}
