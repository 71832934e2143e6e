//! Whether policy rules (`ip rule`) ask for marks.
//!
//! Where none does, a mark that a firewall gives leads no packet another way.

use netlink_sys::protocols::NETLINK_ROUTE;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attributes};

const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// struct fib_rule_hdr.
const HEADER_BYTES: usize = 12;
const FRA_FWMARK: u16 = 10;
const FRA_FWMASK: u16 = 16;

/// Whether one of a family's rules does.
pub(crate) fn ask_for_marks(family: i32) -> Result<bool, NetlinkError> {
    let mut socket = NetlinkSocket::open(NETLINK_ROUTE)?;
    let mut header = [0; HEADER_BYTES];
    header[0] = u8::try_from(family).unwrap_or_default();
    let asks = |raw: Raw<'_>| {
        let body = (raw.kind == RTM_NEWRULE).then(|| raw.payload.get(HEADER_BYTES..))??;
        Some(attributes(body).any(|(kind, _)| matches!(kind, FRA_FWMARK | FRA_FWMASK)))
    };
    match socket.dump("policy rules", RTM_GETRULE, &header, asks) {
        Ok(rules) => Ok(rules.contains(&true)),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error),
    }
}
