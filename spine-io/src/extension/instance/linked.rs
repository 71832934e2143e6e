//! What an instance has to do with others: the domain it exports, those it was linked against, and the stores
//! that are lent for an entry ([`link`](crate::extension::link)).

use spine_abi::declaration::DomainDeclaration;

use super::Instance;
use crate::extension::link::Lent;

impl Instance {
    /// The declaration of the domain that it exports.
    pub(crate) fn exports(&self) -> Option<DomainDeclaration<'_>> {
        DomainDeclaration::parse(self.exports.as_deref()?).ok()
    }

    /// The domains of other extensions that it was linked against, as they were declared then.
    pub(crate) fn links(&self) -> impl Iterator<Item = DomainDeclaration<'_>> {
        let links = self.store.data().links.iter();
        links.filter_map(|link| DomainDeclaration::parse(&link.declaration).ok())
    }

    /// The places of the extensions that export them.
    pub(crate) fn link_places(&self) -> impl Iterator<Item = u16> {
        self.store.data().links.iter().map(|link| link.place)
    }

    /// Whether it was linked against others.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }

    /// Says where the extensions are that it was linked against, in the order of its links.
    pub(crate) fn set_links(&mut self, places: &[u16]) {
        for (link, place) in self.store.data_mut().links.iter_mut().zip(places) {
            link.place = *place;
        }
    }

    /// Says which extensions its calls can come to, the links of links included.
    pub(crate) fn set_reach(&mut self, places: &[u16]) {
        let store = &self.store;
        self.spares = places.iter().map(|place| Lent::vacant(store, *place)).collect();
    }

    /// Whether it was told so already.
    pub(crate) fn reaches(&self, places: &[u16]) -> bool {
        self.spares.iter().map(|lent| lent.place).eq(places.iter().copied())
    }

    /// Takes what is to be exchanged for the stores of those it can call, to be given back by
    /// [`set_rack`](Self::set_rack); and the other way round after its entry.
    pub(crate) fn take_spares(&mut self) -> Vec<Lent> {
        std::mem::take(&mut self.spares)
    }

    /// As [`take_spares`](Self::take_spares).
    pub(crate) fn set_spares(&mut self, spares: Vec<Lent>) {
        self.spares = spares;
    }

    /// Has these to call.
    pub(crate) fn set_rack(&mut self, rack: Vec<Lent>) {
        self.store.data_mut().rack = rack;
    }

    /// Has nobody to call any more.
    pub(crate) fn take_rack(&mut self) -> Vec<Lent> {
        std::mem::take(&mut self.store.data_mut().rack)
    }

    /// Lends its store for the vacant one, or takes it back for that.
    pub(crate) fn exchange(&mut self, lent: &mut Lent) {
        std::mem::swap(&mut self.store, &mut lent.store);
    }

    /// How often it trapped when others called it, since the last call.
    pub(crate) fn take_traps(&mut self) -> u64 {
        std::mem::take(&mut self.store.data_mut().traps)
    }
}
