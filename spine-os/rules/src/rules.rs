//! All rules of a network namespace at one time, and what they keep.

use std::sync::Arc;

use spine_nic::netlink::socket::NetlinkError;
use spine_nic::netlink::wire::Raw;

use crate::answers::{self, Reasons};
use crate::ipsec::{self, Policies};
use crate::ipset::IpSets;
use crate::link::Link;
use crate::model::{Hook, PerFamily, Program};
use crate::packets::{Family, Kept, Packets};
use crate::programs::Programs;
use crate::region::Region;
use crate::traffic_control::TrafficControl;
use crate::walk::{self, Ends, Walked, Way};
use crate::{legacy, nftables, policy_rules, report};

/// The kernel's rules as they were when they were read.
#[derive(Debug, Default)]
pub struct Rules {
    program: Program,
    traffic_control: TrafficControl,
    ipsec: Policies,
    reach: nftables::Reach,
    polled: Polled,
    /// What could not be read, and why: whatever it says may concern every packet.
    unread: PerFamily<Vec<String>>,
}

/// What the kernel does not announce.
#[derive(Debug, Default, PartialEq, Eq)]
struct Polled {
    ipsets: IpSets,
    tables: PerFamily<legacy::Tables>,
    programs: Programs,
}

/// What changes are to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What may concern [`Rules::forwarded`].
    Forwarding,
    /// What may concern [`Rules::delivered`].
    Delivery,
}

/// The rules cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// No way to ask the kernel.
    #[error("the kernel's rules cannot be asked for: {0}")]
    Netlink(#[from] NetlinkError),
}

impl Rules {
    /// Reads all there are in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`RulesError`]. What the kernel refuses to say is none: then nothing is certain, and everything is kept.
    pub fn read() -> Result<Self, RulesError> {
        let mut rules = Self::default();
        rules.read_polled();
        let Self { program, polled, .. } = &mut rules;
        match nftables::add(program, &polled.ipsets) {
            Ok(reach) => rules.reach = reach,
            Err(error) => rules.not_read("nftables rules", &error, [Family::V4, Family::V6]),
        }
        for family in [Family::V4, Family::V6] {
            let Self { program, polled, .. } = &mut rules;
            legacy::add(program, family, polled.tables.of(family), &polled.ipsets);
        }
        for (family, number) in [(Family::V4, libc::AF_INET), (Family::V6, libc::AF_INET6)] {
            match policy_rules::ask_for_marks(number) {
                Ok(asks) => *rules.program.routes_by_mark.of_mut(family) = asks,
                Err(error) => rules.not_read("policy rules", &error, [family]),
            }
        }
        match TrafficControl::read() {
            Ok(control) => rules.traffic_control = control,
            Err(error) => rules.not_read("tc", &error, [Family::V4, Family::V6]),
        }
        match Policies::read() {
            Ok(policies) => rules.ipsec = policies,
            Err(error) => rules.not_read("IPsec policies", &error, [Family::V4, Family::V6]),
        }
        Ok(rules)
    }

    fn read_polled(&mut self) {
        self.polled.ipsets = IpSets::read().unwrap_or_else(|error| {
            // A look-up in what is not known may find anything.
            tracing::debug!(%error, "ipsets are not read");
            IpSets::default()
        });
        for family in [Family::V4, Family::V6] {
            match legacy::read(family) {
                Ok(tables) => *self.polled.tables.of_mut(family) = tables,
                Err(error) => {
                    let why = format!(
                        "tables of the old iptables cannot be read: {error} (root or CAP_DAC_READ_SEARCH lets them be read)"
                    );
                    self.unread.of_mut(family).push(why);
                }
            }
        }
        self.polled.programs = Programs::read();
    }

    /// Whether a notification of nftables tells of something that can concern a purpose.
    pub(crate) fn is_concerned(&self, raw: Raw<'_>, purpose: Purpose) -> bool {
        let hooks: &[Hook] = match purpose {
            Purpose::Forwarding => {
                &[Hook::Ingress, Hook::Prerouting, Hook::Forward, Hook::Postrouting, Hook::Egress]
            }
            Purpose::Delivery => &[Hook::Ingress, Hook::Prerouting, Hook::Input],
        };
        self.reach.concerns(raw, hooks)
    }

    /// Whether what the kernel does not announce is still as it was read. What cannot be read is not.
    pub(crate) fn is_as_polled(&self) -> bool {
        let Polled { ipsets, tables, programs } = &self.polled;
        // Where there was no set, no rule looks into one.
        (ipsets.is_empty() || IpSets::read().is_ok_and(|now| now == *ipsets))
            && [Family::V4, Family::V6].into_iter().all(|family| match legacy::read(family) {
                Ok(now) => now == *tables.of(family),
                Err(_) => !self.unread.of(family).is_empty(),
            })
            && Programs::read() == *programs
    }

    fn not_read<const N: usize>(&mut self, what: &str, error: &NetlinkError, of: [Family; N]) {
        if error.is_unsupported() {
            tracing::debug!(what, %error, "not in this kernel");
            return;
        }
        let remedy = if error.is_forbidden() { " (CAP_NET_ADMIN lets them be read)" } else { "" };
        for family in of {
            let why = format!("{what} cannot be read: {error}{remedy}");
            self.unread.of_mut(family).push(why);
        }
    }

    /// Packets of `family` in on `ingress` and out by `egress` that are not certain to be accepted unchanged.
    ///
    /// One set that holds all packets means that the whole way is the kernel's.
    pub fn forwarded(&self, family: Family, ingress: &Link, egress: &Link) -> Vec<Kept> {
        if let Some(unread) = self.unread(family) {
            return unread;
        }
        let (this, other) = self.both_ways(family, ingress, egress);
        let mut reasons = answers::follow(family, &this, &other);
        answers::translated(&self.program, family, &mut reasons);
        self.incoming(family, ingress, &mut reasons);
        self.outgoing(family, egress, &mut reasons);
        let hooks = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
        keep_all(family, self.polled.programs.at(family, &hooks), &mut reasons);
        self.by_ipsec(self.ipsec.forwarded.of(family), &mut reasons);
        self.report(family, reasons)
    }

    /// Packets of `family` for this machine, in on `ingress`, that are not certain to be accepted unchanged.
    pub fn delivered(&self, family: Family, ingress: &Link) -> Vec<Kept> {
        if let Some(unread) = self.unread(family) {
            return unread;
        }
        let walked = self.walk(family, Ends::Delivered(ingress), false);
        let walked = match walked.marks_connections {
            true => self.walk(family, Ends::Delivered(ingress), true),
            false => walked,
        };
        let direct = walked.kept.into_iter().map(|keeps| (keeps.why, keeps.packets)).collect();
        let mut reasons = Reasons { direct, ..Reasons::default() };
        self.incoming(family, ingress, &mut reasons);
        let hooks = [Hook::Prerouting, Hook::Input];
        keep_all(family, self.polled.programs.at(family, &hooks), &mut reasons);
        self.by_ipsec(self.ipsec.delivered.of(family), &mut reasons);
        self.report(family, reasons)
    }

    /// What sees everything that comes in on an interface.
    fn incoming(&self, family: Family, link: &Link, reasons: &mut Reasons) {
        let control = self.traffic_control.of(link.index);
        let filter = control.and_then(|control| control.incoming.of(family).clone());
        keep_all(family, filter, reasons);
        keep_all(family, self.polled.programs.incoming(link.index, &link.name), reasons);
    }

    /// What sees everything that goes out by an interface.
    fn outgoing(&self, family: Family, link: &Link, reasons: &mut Reasons) {
        let control = self.traffic_control.of(link.index);
        let filter = control.and_then(|control| control.outgoing.of(family).clone());
        keep_all(family, filter, reasons);
        keep_all(family, self.polled.programs.outgoing(link.index, &link.name), reasons);
    }

    fn by_ipsec(&self, selected: &Region, reasons: &mut Reasons) {
        if !selected.is_empty() {
            reasons.direct.push((ipsec::WHY.into(), selected.clone()));
        }
    }

    /// What carrying packets of `family` past the kernel costs people on this way, in sentences.
    pub fn notes(&self, family: Family, ingress: &Link, egress: &Link) -> Vec<String> {
        let (this, _) = self.both_ways(family, ingress, egress);
        let note = |(place, rule): (&Arc<str>, &Arc<str>)| {
            format!("{place} counts packets ({rule}): those carried are not counted")
        };
        this.counts.iter().map(note).collect()
    }

    fn both_ways(&self, family: Family, ingress: &Link, egress: &Link) -> (Walked, Walked) {
        let both = |marks| {
            let this = self.walk(family, Ends::Forwarded(ingress, egress), marks);
            let other = self.walk(family, Ends::Forwarded(egress, ingress), marks);
            (this, other)
        };
        // Taken that no connection gets a mark, does one?
        let found = both(false);
        if found.0.marks_connections || found.1.marks_connections { both(true) } else { found }
    }

    fn walk(&self, family: Family, ends: Ends<'_>, connections_have_marks: bool) -> Walked {
        walk::walk(&self.program, Way { family, ends, connections_have_marks })
    }

    fn unread(&self, family: Family) -> Option<Vec<Kept>> {
        let unread = self.unread.of(family);
        let packets = Packets::all(family);
        let kept = unread.iter().map(|why| Kept { packets, why: why.clone() });
        (!unread.is_empty()).then(|| kept.collect())
    }

    fn report(&self, family: Family, mut reasons: Reasons) -> Vec<Kept> {
        let tracks = self.program.tracks.of(family);
        reasons.collected = tracks.as_ref().map(|place| answers::collected(family, place));
        report::few(family, reasons)
    }
}

fn keep_all(family: Family, why: Option<Arc<str>>, reasons: &mut Reasons) {
    reasons.direct.extend(why.map(|why| (why, vec![Packets::all(family)])));
}
