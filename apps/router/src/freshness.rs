//! Keeps the neighbours in use from going stale.
//!
//! The kernel confirms a neighbour when its own packets go there, and of ours it sees none: after half
//! a minute the entry is stale, and nobody notices when the machine has moved. So a neighbour that the
//! adapters used since the last round, and that is stale, is reported to the kernel as used (NTF_USE);
//! the kernel then probes it in its own time, and announces how that ended; reporting it again
//! meanwhile does no harm. Those nobody uses are left to age.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
};
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};

use crate::netlink::KernelState;
use crate::netlink::state::{IfIndex, nud};

/// Time between rounds; an entry stays reachable for 15 s at least.
pub const INTERVAL: Duration = Duration::from_secs(2);

const RTM_NEWNEIGH: u16 = 28;

/// Of the next hops that lead to neighbours (number, interface, address), the neighbours to report:
/// used, as `take_used` says of the number, and stale.
pub fn to_report(
    state: &KernelState,
    next_hops: impl Iterator<Item = (u16, IfIndex, IpAddr)>,
    mut take_used: impl FnMut(u16) -> bool,
) -> Vec<(IfIndex, IpAddr)> {
    let mut reported: Vec<(IfIndex, IpAddr)> = next_hops
        .filter(|(number, interface, address)| {
            // Asked of all, so that old use is forgotten.
            let used = take_used(*number);
            let neighbour = state.neighbours.get(&(*address, *interface));
            used && neighbour.is_some_and(|neighbour| neighbour.state == nud::STALE)
        })
        .map(|(_, interface, address)| (interface, address))
        .collect();
    reported.sort_unstable();
    reported.dedup();
    reported
}

/// Reports a neighbour as used.
///
/// # Errors
/// [`NetlinkError`]: without CAP_NET_ADMIN, or the entry has gone.
pub fn report(
    requests: &mut NetlinkSocket,
    interface: IfIndex,
    address: IpAddr,
) -> Result<(), NetlinkError> {
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family,
        ifindex: interface,
        flags: NeighbourFlags::Use,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![NeighbourAttribute::Destination(address)];
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    requests.request("use of a neighbour", RTM_NEWNEIGH, 0, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::state::Neighbour;

    #[test]
    fn only_stale_neighbours_in_use_are_reported() {
        let at = |last| IpAddr::from([10, 0, 0, last]);
        let mut state = KernelState::default();
        for (last, nud) in [(1, nud::STALE), (2, nud::STALE), (3, nud::REACHABLE), (4, nud::DELAY)]
        {
            let neighbour = Neighbour { mac: Some([2; 6]), state: nud };
            state.neighbours.insert((at(last), 7), neighbour);
        }
        let hops = [(1, 7, at(1)), (2, 7, at(2)), (3, 7, at(3)), (4, 7, at(4)), (5, 7, at(5))];
        // A second route over the first one's gateway has a next hop of its own.
        let hops = hops.into_iter().chain([(9, 7, at(1))]);
        let mut asked = Vec::new();
        let reported = to_report(&state, hops, |number| {
            asked.push(number);
            number != 2
        });
        assert_eq!(reported, [(7, at(1))]);
        assert_eq!(asked, [1, 2, 3, 4, 5, 9]);
    }
}
