//! The old iptables, which the kernel keeps apart from nftables.
//!
//! A table exists in a network namespace once someone touched it, and `/proc/net/ip_tables_names` lists those. Only
//! they are asked for, because asking makes a table where there is none. The kernel announces no change.

mod entries;
mod sys;

use std::os::fd::AsFd;
use std::{fs, io};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use self::entries::Layout;
use crate::ipset::IpSets;
use crate::model::Program;
use crate::packets::Family;

/// Of linux/netfilter_ipv4/ip_tables.h; the same for IPv6.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
const NAME_BYTES: usize = 32;
/// struct ipt_getinfo.
const INFO_BYTES: usize = 84;
/// What precedes the entries in struct ipt_get_entries.
const ENTRIES_OFFSET: usize = 40;
/// A table that changes while it is read is read again this often.
const ATTEMPTS: usize = 16;

/// All tables of a family: their names, and what the kernel says of each.
pub(crate) type Tables = Vec<(String, Table)>;

/// What the kernel says of a table, but for what its rules have counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    info: Vec<u8>,
    entries: Vec<u8>,
}

/// Reads the tables of a family.
///
/// # Errors
/// What the kernel, or the list of names, says.
pub(crate) fn read(family: Family) -> io::Result<Tables> {
    let (names, domain, level) = match family {
        Family::V4 => ("ip_tables_names", AddressFamily::Inet, libc::SOL_IP),
        Family::V6 => ("ip6_tables_names", AddressFamily::Inet6, libc::SOL_IPV6),
    };
    let names = match fs::read_to_string(format!("/proc/thread-self/net/{names}")) {
        Ok(names) => names,
        // The kernel has no such thing, or has not loaded it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tables::new()),
        Err(error) => return Err(error),
    };
    if names.trim().is_empty() {
        return Ok(Tables::new());
    }
    let socket = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let layout = Layout::of(family);
    let mut tables = Tables::new();
    for name in names.lines() {
        let get =
            |option, buffer: &mut [u8]| sys::get_option(socket.as_fd(), level, option, buffer);
        tables.push((name.to_owned(), table(&layout, name, get)?));
    }
    Ok(tables)
}

fn table(
    layout: &Layout,
    name: &str,
    get: impl Fn(i32, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Table> {
    let question = |length: usize| {
        let mut buffer = vec![0; length];
        let named = name.len().min(NAME_BYTES - 1);
        buffer[..named].copy_from_slice(&name.as_bytes()[..named]);
        buffer
    };
    for _ in 0..ATTEMPTS {
        let mut info = question(INFO_BYTES);
        get(GET_INFO, &mut info)?;
        let size = entries::size(&info).ok_or(io::ErrorKind::InvalidData)?;
        let mut entries = question(ENTRIES_OFFSET + size);
        let number = u32::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
        entries[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&number.to_ne_bytes());
        match get(GET_ENTRIES, &mut entries) {
            Ok(_) => {
                entries.drain(..ENTRIES_OFFSET);
                entries::clear_counters(layout, &mut entries);
                return Ok(Table { info, entries });
            }
            // It has another size by now.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Adds the chains of tables to a program.
pub(crate) fn add(program: &mut Program, family: Family, tables: &Tables, ipsets: &IpSets) {
    let layout = Layout::of(family);
    for (name, table) in tables {
        entries::add(program, &layout, ipsets, (name, &table.info, &table.entries));
    }
}
