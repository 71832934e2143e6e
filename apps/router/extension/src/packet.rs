//! What the second and the third step need of a packet that may be forwarded, of either family.

#[cfg(not(feature = "lc-trie"))]
pub(crate) use spine_fib::Half;
#[cfg(feature = "lc-trie")]
pub(crate) use spine_fib::lc_trie::Half;
use spine_fib::{Load, NextHop};
use spine_sdk::ChecksumRequest;

/// A packet of which the first step has found nothing that speaks against forwarding it.
pub(crate) trait Packet {
    /// Bytes of the IP packet; the frame may be longer (padding).
    fn total_length(&self) -> u16;
    /// The group of its destination.
    fn group<Region: Load>(&self, half: &Half<'_, Region>) -> u16;
    /// The number of its flow; `prefix` is where ports are read, if they are needed.
    fn flow_hash(&self, prefix: &[u8]) -> u32;
    /// What remains to be done for the transport checksum, if its sender left it to a network card.
    ///
    /// Such a sender (Linux's CHECKSUM_PARTIAL) leaves the sum over the pseudo-header in the field, and on a
    /// virtual wire no card ever completes it. A finished checksum may by chance equal that sum: then
    /// completing it yields the same checksum again, so being wrong does no harm.
    fn partial_checksum(&self, prefix: &[u8]) -> Option<ChecksumRequest>;
    /// Takes a hop from it, and writes the link-layer addresses of the next hop.
    fn rewrite(&self, prefix: &mut [u8], hop: &NextHop);
}
