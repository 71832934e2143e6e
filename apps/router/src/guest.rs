//! A guest: another application in this process that shares the adapters with the router.
//!
//! Its extensions run on the same adapters, beside the router's, and get the packets to UDP ports that it
//! names; everything else is forwarded as ever. Adapters run the images of one linker, so the guest brings it.
//! A port is claimed at one address, never at any: what is only passing through is the router's.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use spine_io::Machine;
use spine_nic::open::PortClaim;
use spine_os::linker::Linker;

/// Why a guest cannot begin: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GuestError(pub String);

/// What a guest does when there are adapters.
pub type Begin<'a> = Box<dyn FnOnce(&Arc<Machine>) -> Result<Vec<PortClaim>, GuestError> + 'a>;

/// Who shares a router's adapters. All of it is called in the router's thread.
pub struct Guest<'a> {
    /// Links the extensions of both.
    pub linker: &'a Linker,
    /// Called once, when the adapters run and before the router has said a word to its extension: loads the
    /// guest's own, and answers which packets they want. What extensions send to the host from then on
    /// is read by the router.
    pub begin: Begin<'a>,
    /// Called once, when packets are forwarded.
    pub ready: Box<dyn FnOnce() + 'a>,
    /// Readable when it is to end.
    pub end: BorrowedFd<'a>,
}

impl<'a> Guest<'a> {
    /// Nobody: the router is alone.
    pub fn none(linker: &'a Linker, ready: impl FnOnce() + 'a, end: BorrowedFd<'a>) -> Self {
        Self { linker, begin: Box::new(|_| Ok(Vec::new())), ready: Box::new(ready), end }
    }
}
