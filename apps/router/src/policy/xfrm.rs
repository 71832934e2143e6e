//! IPsec policies that forwarded packets are subject to.
//!
//! Numbers and layouts from linux/xfrm.h.

use netlink_sys::protocols::NETLINK_XFRM;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, u16_at};

use super::Obstacle;

/// The multicast group that announces changes of policies.
pub(super) const XFRMNLGRP_POLICY: u32 = 4;

const XFRM_MSG_NEWPOLICY: u16 = 19;
const XFRM_MSG_GETPOLICY: u16 = 21;
/// struct xfrm_userpolicy_id.
const REQUEST_BYTES: usize = 64;
/// Of struct xfrm_userpolicy_info: the family in its selector, and the direction.
const FAMILY_OFFSET: usize = 40;
const DIRECTION_OFFSET: usize = 160;
const DIRECTION_OUT: u8 = 1;
const DIRECTION_FORWARD: u8 = 2;

pub(super) fn obstacles() -> Result<Vec<Obstacle>, NetlinkError> {
    let mut socket = NetlinkSocket::open(NETLINK_XFRM)?;
    let request = [0; REQUEST_BYTES];
    let found = socket.dump("IPsec policies", XFRM_MSG_GETPOLICY, &request, concerns_us)?;
    Ok(match found.len() {
        0 => Vec::new(),
        1 => vec![Obstacle("IPsec policy for forwarded packets (see `ip xfrm policy`)".to_owned())],
        n => vec![Obstacle(format!(
            "{n} IPsec policies for forwarded packets (see `ip xfrm policy`)"
        ))],
    })
}

fn concerns_us(raw: Raw<'_>) -> Option<()> {
    let family = i32::from(u16_at(raw.payload, FAMILY_OFFSET)?);
    let direction = *raw.payload.get(DIRECTION_OFFSET)?;
    let concerns = raw.kind == XFRM_MSG_NEWPOLICY
        && family != libc::AF_INET6
        && matches!(direction, DIRECTION_OUT | DIRECTION_FORWARD);
    concerns.then_some(())
}
