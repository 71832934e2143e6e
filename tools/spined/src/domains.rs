//! Domains that extensions export to each other, and whose they are.
//!
//! A domain belongs to the user who loaded its extension. He may link his other extensions against it; for
//! anybody else the policy has a line (`links = ["alice:flow"]`). What a user was allowed when his extension
//! was linked must still be so when it is installed: the domain may be another user's by then.

use spine_abi::declaration::DomainDeclaration;
use spine_abi::image::Image;
use spine_os::domain::Exports;

use crate::extensions::{Extension, Extensions};

/// What an extension exports, and what it was linked against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Linkage {
    /// The declaration of the domain it exports.
    pub(crate) exports: Option<Vec<u8>>,
    /// The names of the domains of others that it calls.
    pub(crate) links: Vec<String>,
}

impl Linkage {
    /// What an image says.
    pub(crate) fn of(image: &Image<'_>) -> Self {
        let exports = image.manifest.exports().map(|domain| domain.as_bytes().to_vec());
        let links = image.links.iter().map(|link| link.name().to_owned()).collect();
        Self { exports, links }
    }

    /// The domain it exports.
    pub(crate) fn domain(&self) -> Option<DomainDeclaration<'_>> {
        DomainDeclaration::parse(self.exports.as_deref()?).ok()
    }
}

/// A domain that is there, and the user it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) user: u32,
    pub(crate) linkage: Linkage,
}

impl Shown {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.linkage.domain().map_or("", |domain| domain.name())
    }
}

/// The domains as the linker is shown them: those of these names are granted, the others are there.
pub(crate) fn exports(shown: &[Shown], granted: &[String]) -> Exports {
    shown.iter().fold(Exports::none(), |exports, one| match one.linkage.domain() {
        Some(domain) => {
            let granted = granted.iter().any(|name| name == domain.name());
            exports.with_domain(&domain, one.linkage.links.clone(), granted)
        }
        None => exports,
    })
}

impl Extensions {
    /// The domains that extensions on an interface export.
    pub(crate) fn shown(&self, wire: usize) -> Vec<Shown> {
        let here = self.after(0).map(|(_, it)| it).filter(|it| it.wire == wire);
        let exporters = here.filter(|it| it.linkage.exports.is_some());
        exporters.map(|it| Shown { user: it.who.user, linkage: it.linkage.clone() }).collect()
    }

    /// Refuses if one of the domains that an extension was linked against is not, any more, that of the user
    /// it was then.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn still(
        &self,
        wire: usize,
        then: &[Shown],
        links: &[String],
    ) -> Result<(), String> {
        let now = self.shown(wire);
        let owner =
            |of: &[Shown], name: &str| of.iter().find(|one| one.name() == name).map(|one| one.user);
        match links.iter().find(|name| owner(&now, name) != owner(then, name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "the domain {name} is not what it was when this extension was linked against it: load it again"
            )),
        }
    }

    /// One that is linked against what another exports.
    pub(crate) fn importer_of(&self, extension: &Extension) -> Option<(u64, &Extension)> {
        let domain = extension.linkage.domain()?;
        self.after(0).find(|(_, it)| {
            it.wire == extension.wire && it.linkage.links.iter().any(|link| link == domain.name())
        })
    }
}
