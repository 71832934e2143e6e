//! The interfaces whose adapters forward, in the order of the command line.

use crate::netlink::state::IfIndex;

/// Our interfaces, and the numbers of their adapters: what a next hop calls its `peer`.
///
/// On adapters of one's own the number of an adapter is the position of its interface; a daemon has others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    indices: Vec<IfIndex>,
    numbers: Vec<u16>,
}

impl Interfaces {
    /// Those with these indices, whose adapters are numbered in this order.
    pub fn new(indices: Vec<IfIndex>) -> Self {
        let numbers = (0..).take(indices.len()).collect();
        Self { indices, numbers }
    }

    /// The same interfaces, on adapters with these numbers; those without one are left out.
    #[must_use]
    pub fn on_adapters(mut self, numbers: Vec<u16>) -> Self {
        self.indices.truncate(numbers.len());
        Self { numbers, ..self }
    }

    /// The number of an interface's adapter.
    pub fn adapter(&self, interface: IfIndex) -> Option<u16> {
        let position = self.indices.iter().position(|ours| *ours == interface)?;
        self.numbers.get(position).copied()
    }

    /// Whether the interface is one of ours.
    pub fn contains(&self, interface: IfIndex) -> bool {
        self.indices.contains(&interface)
    }

    /// Their indices, in the order of the command line.
    pub fn indices(&self) -> &[IfIndex] {
        &self.indices
    }

    /// The numbers of their adapters, in the same order.
    pub fn numbers(&self) -> &[u16] {
        &self.numbers
    }
}
