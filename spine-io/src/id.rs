//! What extensions and FIFOs of one adapter are called by.

/// An extension on one adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtensionId(pub u16);

/// A FIFO of one adapter, and the application behind it. Not used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FifoId {
    pub(crate) place: u16,
    pub(crate) generation: u16,
}

impl FifoId {
    /// That of the process the adapter runs in.
    pub const OWN: Self = Self { place: 0, generation: 0 };
}

/// Whose an extension is: a number that whoever runs the adapter gives, such as a user's. All of a process's own
/// have the same, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct User(pub u32);
