//! Domains: what an extension may be linked against (SPINE 3.3.3).
//!
//! A domain is a named set of interfaces; [`spine_abi::interface`] lists them. What is not in a
//! granted domain does not exist for an extension: the linker finds no such symbol. Who may have
//! which domain is the application's decision, its [`Policy`]. Beside the runtime's domains there are those
//! that other extensions export: [`Exports`].

mod exports;

pub use exports::Exports;
use spine_abi::interface::{Domain, Domains, INTERFACES, Interface};

/// The domains that an application lets its extensions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    granted: Domains,
}

impl Policy {
    /// Grants `domains`; `core` is always among them.
    pub const fn grant(domains: Domains) -> Self {
        Self { granted: domains.with(Domain::Core) }
    }

    /// Grants all domains: for extensions that are part of the application.
    pub const fn everything() -> Self {
        Self::grant(Domains::all())
    }

    /// What is granted.
    pub const fn granted(&self) -> Domains {
        self.granted
    }
}

/// The interface `name` in `domain`, whoever may see it.
pub(crate) fn find(domain: Domain, name: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.domain == domain && interface.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_is_always_granted() {
        assert!(Policy::grant(Domains::default()).granted().contains(Domain::Core));
        assert_eq!(
            Policy::grant(Domains::default().with(Domain::Net)).granted().to_string(),
            "core, net"
        );
    }

    #[test]
    fn an_interface_is_found_in_its_own_domain_only() {
        assert_eq!(find(Domain::Host, "send").map(|i| i.parameters.len()), Some(1));
        assert_eq!(find(Domain::Peer, "send").map(|i| i.parameters.len()), Some(2));
        assert_eq!(find(Domain::Core, "send"), None);
    }
}
