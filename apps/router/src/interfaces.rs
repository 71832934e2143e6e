//! The interfaces the adapters own, in the order of the command line.

use crate::netlink::state::IfIndex;

/// Our interfaces: the position of one is the index of its adapter, and so the `peer` of a next hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces(Vec<IfIndex>);

impl Interfaces {
    /// Those with these numbers, in the order of their adapters.
    pub fn new(indices: Vec<IfIndex>) -> Self {
        Self(indices)
    }

    /// The adapter that owns an interface.
    pub fn adapter(&self, interface: IfIndex) -> Option<u16> {
        let position = self.0.iter().position(|ours| *ours == interface)?;
        u16::try_from(position).ok()
    }

    /// Whether the interface is one of ours.
    pub fn contains(&self, interface: IfIndex) -> bool {
        self.0.contains(&interface)
    }

    /// Their numbers, in the order of their adapters.
    pub fn indices(&self) -> &[IfIndex] {
        &self.0
    }
}
