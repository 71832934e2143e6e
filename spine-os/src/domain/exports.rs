//! The domains that extensions export to each other, as the linker is shown them.
//!
//! Which extensions are on an adapter, and whom the policy lets link against which, the application
//! knows (or its daemon); the linker only looks a name up here. An extension is loaded after those it is
//! linked against, so what it exports itself can be reached by none of them: calls go round in no circle.
//! [`Exports::is_reached`] checks that again, because a replacement comes later than its importers.

use spine_abi::declaration::DomainDeclaration;
use spine_abi::image::Image;

/// What is loaded on one adapter, and granted or not to one extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exports {
    domains: Vec<Exported>,
}

/// One domain that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exported {
    declaration: Vec<u8>,
    /// The domains its extension was linked against itself.
    links: Vec<String>,
    granted: bool,
}

impl Exports {
    /// No domains: for extensions that are linked against the runtime's only.
    pub const fn none() -> Self {
        Self { domains: Vec::new() }
    }

    /// Adds what an image exports, granted; an image that exports nothing adds nothing. One with the same
    /// domain's name takes the place of the one before.
    #[must_use]
    pub fn with(self, image: &Image<'_>) -> Self {
        let links = image.links.iter().map(|link| link.name().to_owned()).collect();
        match image.manifest.exports() {
            Some(declaration) => self.with_domain(&declaration, links, true),
            None => self,
        }
    }

    /// Adds a domain: its declaration, the names of those that its extension is linked against, and
    /// whether it is granted.
    #[must_use]
    pub fn with_domain(
        mut self,
        declaration: &DomainDeclaration<'_>,
        links: Vec<String>,
        granted: bool,
    ) -> Self {
        self.domains.retain(|known| known.name() != declaration.name());
        let declaration = declaration.as_bytes().to_vec();
        self.domains.push(Exported { declaration, links, granted });
        self
    }

    /// All of it, for the linker in another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for known in &self.domains {
            let links = u8::try_from(known.links.len()).unwrap_or(u8::MAX);
            bytes.extend_from_slice(&[u8::from(known.granted), links]);
            bytes.extend_from_slice(&known.declaration);
            for link in known.links.iter().take(usize::from(links)) {
                bytes.push(u8::try_from(link.len()).unwrap_or(u8::MAX));
                bytes.extend(link.bytes().take(usize::from(u8::MAX)));
            }
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut exports, mut left) = (Self::none(), bytes);
        while let [granted, count, rest @ ..] = left {
            let (declaration, mut rest) = DomainDeclaration::parse_first(rest).ok()?;
            let mut links = Vec::new();
            for _ in 0..*count {
                let (length, more) = rest.split_first()?;
                let (name, more) = more.split_at_checked(usize::from(*length))?;
                links.push(String::from_utf8(name.to_vec()).ok()?);
                rest = more;
            }
            exports = exports.with_domain(&declaration, links, *granted == 1);
            left = rest;
        }
        left.is_empty().then_some(exports)
    }

    /// The domain of this name, and whether it is granted.
    pub(crate) fn find(&self, name: &str) -> Option<(DomainDeclaration<'_>, bool)> {
        let known = self.domains.iter().find(|known| known.name() == name)?;
        Some((known.declaration()?, known.granted))
    }

    /// The names of those granted.
    pub(crate) fn granted(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().filter(|known| known.granted).map(Exported::name)
    }

    /// Whether calls to interfaces of `from` can come to those of `to`.
    pub(crate) fn is_reached(&self, from: &str, to: &str) -> bool {
        let mut seen = vec![from];
        let mut next = 0;
        while let Some(name) = seen.get(next).copied() {
            if name == to {
                return true;
            }
            next += 1;
            for link in self.links(name) {
                if !seen.contains(&link.as_str()) {
                    seen.push(link);
                }
            }
        }
        false
    }

    /// How many extensions a call to an interface of `name` is in at one time, at most; `limit` where it
    /// is that or more.
    pub(crate) fn depth(&self, name: &str, limit: usize) -> usize {
        if limit <= 1 {
            return limit;
        }
        let below = self.links(name).iter().map(|link| self.depth(link, limit - 1));
        1 + below.max().unwrap_or(0)
    }

    fn links(&self, name: &str) -> &[String] {
        self.domains.iter().find(|known| known.name() == name).map_or(&[], |known| &known.links)
    }
}

impl Exported {
    fn declaration(&self) -> Option<DomainDeclaration<'_>> {
        DomainDeclaration::parse(&self.declaration).ok()
    }

    fn name(&self) -> &str {
        self.declaration().map_or("", |declaration| declaration.name())
    }
}

#[cfg(test)]
mod tests {
    use spine_abi::declaration::{InterfaceDeclaration, Signature, build, length};

    use super::*;

    /// `(domain, what its extension is linked against)`, all granted.
    fn exports(domains: &[(&str, &[&str])]) -> Exports {
        let call = InterfaceDeclaration { name: "call", signature: Signature::new(&[], None) };
        domains.iter().fold(Exports::none(), |exports, (name, links)| {
            let bytes: [u8; length(1)] = build(name, &[call]);
            let links = links.iter().map(|link| (*link).to_owned()).collect();
            exports.with_domain(&DomainDeclaration::parse(&bytes).unwrap(), links, true)
        })
    }

    #[test]
    fn calls_are_followed_through_every_link() {
        let exports = exports(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &[]), ("d", &["c"])]);
        assert!(exports.is_reached("a", "c") && exports.is_reached("a", "a"));
        assert!(!exports.is_reached("c", "a") && !exports.is_reached("unknown", "a"));
        assert_eq!(exports.depth("a", 9), 4);
        assert_eq!(exports.depth("c", 9), 1);
        assert_eq!(exports.depth("a", 2), 2, "not beyond the limit");
    }

    #[test]
    fn a_circle_is_followed_once() {
        let exports = exports(&[("a", &["b"]), ("b", &["a"])]);
        assert!(exports.is_reached("a", "b"));
        assert!(!exports.is_reached("a", "c"));
        assert_eq!(exports.depth("a", 5), 5);
    }

    #[test]
    fn everything_survives_the_way_to_another_process() {
        let all = exports(&[("a", &["b", "c"]), ("b", &[])]);
        let bytes = all.to_bytes();
        assert_eq!(Exports::from_bytes(&bytes), Some(all));
        assert_eq!(Exports::from_bytes(&[]), Some(Exports::none()));
        for cut in 1..bytes.len() {
            let found = Exports::from_bytes(&bytes[..cut]);
            assert!(found.is_none_or(|found| found.granted().count() == 1), "cut at {cut}");
        }
    }

    #[test]
    fn a_name_is_one_domains() {
        let twice = exports(&[("a", &["b"]), ("a", &[])]);
        assert_eq!(twice.granted().collect::<Vec<_>>(), ["a"]);
        assert!(!twice.is_reached("a", "b"), "the later one");
    }
}
