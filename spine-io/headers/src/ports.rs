//! The two ports that TCP and UDP start with alike: enough to tell flows apart.
//!
//! Left out: SCTP, which starts so, too, but whose flows may have several addresses.

use core::borrow::Borrow;

use crate::field::{get, header};
use crate::protocol;

/// Bytes of both.
pub const BYTES: usize = 4;

/// Where the fields are.
pub mod offset {
    /// The port it comes from, 2 bytes.
    pub const SOURCE: usize = 0;
    /// The port it is sent to, 2 bytes.
    pub const DESTINATION: usize = 2;
}

header! {
    /// The start of a TCP or UDP header.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// The port it comes from.
    #[inline(always)]
    pub fn source(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::SOURCE }, _, _>(self.bytes()))
    }

    /// The port it is sent to.
    #[inline(always)]
    pub fn destination(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::DESTINATION }, _, _>(self.bytes()))
    }
}

/// Whether what follows an IP header starts with ports; in a fragment other than the first it does not.
#[inline(always)]
pub const fn starts(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tcp, udp};

    #[test]
    fn ports_are_where_tcp_and_udp_have_them() {
        let udp = udp::Fields { source_port: 0x0102, destination_port: 0x0304, payload: 0 };
        let (ports, _) = Header::split(&[1, 2, 3, 4, 5]).expect("long enough");
        assert_eq!(ports.bytes(), &udp.to_bytes()[..BYTES]);
        assert_eq!((ports.source(), ports.destination()), (0x0102, 0x0304));
        assert_eq!(offset::SOURCE, tcp::offset::SOURCE_PORT);
        assert_eq!(offset::DESTINATION, tcp::offset::DESTINATION_PORT);
        let with_ports = (0..=u8::MAX).filter(|protocol| starts(*protocol));
        assert_eq!(with_ports.collect::<std::vec::Vec<_>>(), [6, 17]);
    }
}
