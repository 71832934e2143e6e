//! Extensions that call each other: who is linked against whom on this adapter, and what that means when
//! one comes, goes or fails.
//!
//! The linker has checked all of it once. An image is an allegation here: that what it was linked against
//! is there and is declared the same, byte by byte, that calls go in no circle and not too deep, and that a
//! domain has one exporter, is checked again when the extension is installed. An extension that others
//! are linked against is not unloaded because somebody asks for it; when it is struck out, or whoever
//! owns it goes, they go with it, and their applications are told.

use spine_abi::limits::NESTING;
use spine_abi::notice::Offence;
use spine_abi::{Nanos, Notice};

use super::{Adapter, Installed};
use crate::extension::{Instance, LoadError};
use crate::id::{ExtensionId, FifoId};
use crate::message::Ending;

/// The extensions of an adapter, by place.
type Table = [Option<Installed>];

impl Adapter {
    /// Finds the extensions that an instance was linked against; it is to be at `own`.
    ///
    /// # Errors
    /// [`LoadError::Domain`], [`LoadError::DomainTaken`], [`LoadError::Circle`].
    pub(super) fn find_links(&self, instance: &Instance, own: u16) -> Result<Vec<u16>, LoadError> {
        let adapter = || self.out.nic.name().to_owned();
        let others = || installed(&self.extensions).filter(|(place, _)| *place != own);
        let taken = instance.exports().and_then(|domain| {
            let same = |it: &Installed| {
                it.instance.exports().is_some_and(|known| known.name() == domain.name())
            };
            let (_, by) = others().find(|(_, it)| same(it))?;
            Some((domain.name().to_owned(), by.instance.name().to_owned()))
        });
        let name = || instance.name().to_owned();
        if let Some((domain, by)) = taken {
            return Err(LoadError::DomainTaken { domain, name: name(), by, adapter: adapter() });
        }
        let mut places = Vec::new();
        for link in instance.links() {
            let found = others().find(|(_, it)| it.instance.exports() == Some(link));
            let Some((place, _)) = found else {
                let domain = link.name().to_owned();
                return Err(LoadError::Domain { name: name(), domain, adapter: adapter() });
            };
            places.push(place);
        }
        let circle = reach(&self.extensions, &places).contains(&own);
        if circle || depth(&self.extensions, &places, NESTING) > NESTING {
            return Err(LoadError::Circle { name: name(), adapter: adapter(), limit: NESTING });
        }
        Ok(places)
    }

    /// Tells every extension with links whom its calls can come to. To be called when one was put in or
    /// took another's place.
    pub(super) fn relink(&mut self) {
        for place in 0..self.extensions.len() {
            let Some(Some(one)) = self.extensions.get(place) else { continue };
            if one.instance.is_linked() {
                let links: Vec<u16> = one.instance.link_places().collect();
                let reach = reach(&self.extensions, &links);
                if let Some(Some(one)) = self.extensions.get_mut(place)
                    && !one.instance.reaches(&reach)
                {
                    one.instance.set_reach(&reach);
                }
            }
        }
    }

    /// One of the extensions that are linked against the one at `place`.
    pub(super) fn importer(&self, place: u16) -> Option<(u16, &Instance)> {
        let needs = |it: &Installed| it.instance.link_places().any(|link| link == place);
        let (importer, one) = installed(&self.extensions).find(|(_, it)| needs(it))?;
        Some((importer, &one.instance))
    }

    /// Refuses if others are linked against an extension.
    ///
    /// # Errors
    /// [`LoadError::Needed`].
    pub(super) fn needed(&self, ExtensionId(place): ExtensionId) -> Result<(), LoadError> {
        let Some((_, by)) = self.importer(place) else { return Ok(()) };
        let one = self.extensions.get(usize::from(place)).and_then(Option::as_ref);
        Err(LoadError::Needed {
            name: one.map_or_else(String::new, |it| it.instance.name().to_owned()),
            by: by.name().to_owned(),
            adapter: self.out.nic.name().to_owned(),
        })
    }

    /// Unloads an extension for what it did, and tells its applications.
    pub(super) fn retire(&mut self, extension: u16, offence: Offence, strikes: u32) {
        let place = self.extensions.get(usize::from(extension)).and_then(Option::as_ref);
        let Some(installed) = place else { return };
        let last = installed.instance.last_stop();
        tracing::warn!(
            extension = installed.instance.name(),
            number = extension,
            user = installed.instance.user().0,
            adapter = self.out.nic.name(),
            strikes,
            handler = last.map(|stop| stop.handler.0),
            last = last.map(|stop| stop.text()),
            "unloaded an extension: its handlers {}",
            offence.text()
        );
        self.out.counters.unloaded += 1;
        // Who runs the adapter is told of all of them.
        let mut applications = self.remove(extension).unwrap_or_default();
        applications.retain(|application| *application != FifoId::OWN);
        applications.push(FifoId::OWN);
        self.notify(&applications, Notice::Unloaded { extension, offence, strikes });
    }

    /// Unloads all that were linked against what was at `place`.
    pub(super) fn retire_importers(&mut self, place: u16) {
        while let Some((importer, _)) = self.importer(place) {
            self.retire(importer, Offence::Orphaned, 0);
        }
    }

    /// Takes back what was lent to an extension for its entry: what those it called have sent leaves, and
    /// those that trapped are remembered.
    pub(super) fn take_back(&mut self, extension: u16) {
        let Some(Some(one)) = self.extensions.get_mut(usize::from(extension)) else { return };
        let mut rack = one.instance.take_rack();
        for lent in &mut rack {
            let Some(Some(callee)) = self.extensions.get_mut(usize::from(lent.place)) else {
                continue;
            };
            callee.instance.exchange(lent);
            self.frames.change(lent.kept, callee.instance.keeps());
            if callee.instance.has_sent() {
                self.out.collect(lent.place, &mut callee.instance);
                self.next_timer = self.next_timer.min(callee.instance.timers().next());
            }
            if callee.instance.take_traps() > 0 {
                self.trapped.push(lent.place);
            }
        }
        if let Some(Some(one)) = self.extensions.get_mut(usize::from(extension)) {
            one.instance.set_spares(rack);
        }
    }

    /// Gives those their strikes that trapped when they were called.
    pub(super) fn blame(&mut self) {
        while let Some(place) = self.trapped.pop() {
            let Some(Some(callee)) = self.extensions.get_mut(usize::from(place)) else { continue };
            self.out.counters.strikes += 1;
            let limit = callee.instance.budget().strikes;
            if callee.strikes.note(Ending::Trapped, limit, self.now) {
                let strikes = callee.strikes.count();
                self.retire(place, Offence::Trapped, strikes);
            }
        }
    }
}

/// An extension about to be entered, with the stores of those it can call; one without links as it is.
#[inline]
pub(super) fn lend(extensions: &mut Table, extension: u16, now: Nanos) -> Option<&mut Installed> {
    let place = usize::from(extension);
    if extensions.get(place)?.as_ref()?.instance.is_linked() {
        lend_stores(extensions, place, now);
    }
    let installed = extensions.get_mut(place)?.as_mut()?;
    installed.instance.timers().set_now(now);
    Some(installed)
}

#[inline(never)]
fn lend_stores(extensions: &mut Table, place: usize, now: Nanos) {
    let Some(Some(one)) = extensions.get_mut(place) else { return };
    let mut rack = one.instance.take_spares();
    for lent in &mut rack {
        if let Some(Some(callee)) = extensions.get_mut(usize::from(lent.place)) {
            lent.kept = callee.instance.keeps();
            callee.instance.timers().set_now(now);
            callee.instance.exchange(lent);
        }
    }
    if let Some(Some(one)) = extensions.get_mut(place) {
        one.instance.set_rack(rack);
    }
}

fn installed(table: &Table) -> impl Iterator<Item = (u16, &Installed)> {
    (0..).zip(table).filter_map(|(place, it)| Some((place, it.as_ref()?)))
}

fn links(table: &Table, place: u16) -> Vec<u16> {
    let one = table.get(usize::from(place)).and_then(Option::as_ref);
    one.map(|it| it.instance.link_places().collect()).unwrap_or_default()
}

/// The places that calls to these can come to, they themselves included.
fn reach(table: &Table, places: &[u16]) -> Vec<u16> {
    let mut reached = places.to_vec();
    reached.dedup();
    let mut next = 0;
    while let Some(place) = reached.get(next).copied() {
        next += 1;
        for link in links(table, place) {
            if !reached.contains(&link) {
                reached.push(link);
            }
        }
    }
    reached
}

/// How many extensions a call of one with these links is in at one time, at most, itself included; more
/// than `limit` is `limit` and one.
fn depth(table: &Table, places: &[u16], limit: usize) -> usize {
    if limit == 0 {
        return 1;
    }
    let below = places.iter().map(|place| depth(table, &links(table, *place), limit - 1));
    1 + below.max().unwrap_or(0)
}
