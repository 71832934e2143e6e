//! Regions: sets of packets that are more than one box.
//!
//! Whoever walks rules holds two kinds. One is *at least* what it stands for, and where it would grow beyond what is worth
//! keeping, it becomes larger; the other is *at most* what it stands for, and becomes smaller. Each operation says which.

use crate::packets::{Addresses, Packets, Pieces, Ports};

/// Boxes. They may have packets in common.
pub(crate) type Region = Vec<Packets>;

/// As many boxes are worth telling apart; beyond, a region is made coarser in its safe direction.
pub(crate) const MOST: usize = 48;
/// Merging looks at pairs; of more boxes than this, neighbours in their order are merged first.
const PAIRWISE: usize = 128;

/// What both have; at least that.
pub(crate) fn common_at_least(a: &[Packets], b: &[Packets]) -> Region {
    let mut all = common(a, b, usize::MAX);
    limit(&mut all);
    all
}

/// What both have; at most that.
pub(crate) fn common_at_most(a: &[Packets], b: &[Packets]) -> Region {
    common(a, b, MOST)
}

fn common(a: &[Packets], b: &[Packets], most: usize) -> Region {
    let pairs = a.iter().flat_map(|one| b.iter().filter_map(move |other| one.and(other)));
    pairs.take(most).collect()
}

/// What is left of `a` when `b` is taken out; at least that.
pub(crate) fn without_at_least(a: &[Packets], b: &[Packets]) -> Region {
    // What one part of `b` leaves in few boxes is taken out, whatever another part would do.
    let mut left = a.to_vec();
    for out in b {
        if let Some(fewer) = without(&left, out) {
            left = fewer;
        }
    }
    left
}

/// What is left of `a` when `b` is taken out; at most that.
pub(crate) fn without_at_most(a: &[Packets], b: &[Packets]) -> Region {
    let mut left = a.to_vec();
    for out in b {
        match without(&left, out) {
            Some(fewer) => left = fewer,
            None => return Region::new(),
        }
    }
    left
}

/// Without one box, unless that makes too many.
fn without(region: &[Packets], out: &Packets) -> Option<Region> {
    let mut left = Region::with_capacity(region.len());
    for set in region {
        left.extend(set.without(out));
        if left.len() > MOST {
            return None;
        }
    }
    Some(left)
}

/// Whether the two have a packet in common.
pub(crate) fn meet(a: &[Packets], b: &[Packets]) -> bool {
    a.iter().any(|one| b.iter().any(|other| one.and(other).is_some()))
}

/// Adds boxes; what another covers is left out.
pub(crate) fn add(region: &mut Region, more: &[Packets]) {
    for set in more {
        if !region.iter().any(|other| other.covers(set)) {
            region.retain(|other| !set.covers(other));
            region.push(*set);
        }
    }
    limit(region);
}

/// Makes a region coarser only where it has become too fine.
fn limit(region: &mut Region) {
    if region.len() > MOST {
        reduce(region, MOST);
    }
}

/// Makes at most so many boxes of a region, which grows where it must.
pub(crate) fn reduce(region: &mut Region, most: usize) {
    if region.len() < 2 {
        return;
    }
    sort(region);
    if region.len() > PAIRWISE {
        let run = region.len().div_ceil(PAIRWISE);
        *region = region.chunks(run).filter_map(hull).collect();
    }
    join(region);
    if region.len() <= most.max(1) {
        return;
    }
    sort(region);
    // What becoming one with the next in order would add.
    let growth = |region: &[Packets], at: usize| match region.get(at..at + 2) {
        Some([a, b]) => size(&a.hull(b)) - size(a) - size(b),
        _ => f64::INFINITY,
    };
    let mut growths: Vec<f64> = (0..region.len()).map(|at| growth(region, at)).collect();
    while region.len() > most.max(1) {
        let least = growths.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let Some((at, _)) = least.filter(|(at, _)| at + 1 < region.len()) else { break };
        let other = region.remove(at + 1);
        growths.remove(at + 1);
        region[at] = region[at].hull(&other);
        growths[at] = growth(region, at);
        if let Some(before) = at.checked_sub(1) {
            growths[before] = growth(region, before);
        }
    }
}

fn sort(region: &mut Region) {
    region.sort_unstable_by_key(|set| {
        let ports = (set.source_ports, set.destination_ports);
        (set.source, set.destination, ports, set.protocols, set.pieces)
    });
}

/// The smallest box with all of them.
fn hull(boxes: &[Packets]) -> Option<Packets> {
    boxes.iter().copied().reduce(|a, b| a.hull(&b))
}

/// Makes one box of two wherever nothing is added by it.
pub(crate) fn join(region: &mut Region) {
    if region.len() > PAIRWISE {
        return;
    }
    loop {
        let before = region.len();
        let mut a = 0;
        while a < region.len() {
            let mut b = a + 1;
            while b < region.len() {
                match together(&region[a], &region[b]) {
                    Some(whole) => {
                        region.swap_remove(b);
                        region[a] = whole;
                    }
                    None => b += 1,
                }
            }
            a += 1;
        }
        if region.len() == before {
            return;
        }
    }
}

/// Roughly how many packets there are; for comparison.
pub(crate) fn volume(region: &[Packets]) -> f64 {
    region.iter().map(size).sum()
}

/// Two boxes as one, if they are one: where they differ in one way only, and leave no gap there.
fn together(a: &Packets, b: &Packets) -> Option<Packets> {
    let differs = [
        a.protocols != b.protocols,
        a.pieces != b.pieces,
        a.source != b.source,
        a.destination != b.destination,
        a.source_ports != b.source_ports,
        a.destination_ports != b.destination_ports,
    ];
    if differs.iter().filter(|differs| **differs).count() > 1 {
        return match (a.covers(b), b.covers(a)) {
            (true, _) => Some(*a),
            (false, true) => Some(*b),
            (false, false) => None,
        };
    }
    let touch = |one: Addresses, other: Addresses| {
        let (low, high) = if one.first <= other.first { (one, other) } else { (other, one) };
        high.first <= low.last.saturating_add(1)
    };
    let ports = |ports: Ports| Addresses { first: ports.first.into(), last: ports.last.into() };
    let whole = touch(a.source, b.source)
        && touch(a.destination, b.destination)
        && touch(ports(a.source_ports), ports(b.source_ports))
        && touch(ports(a.destination_ports), ports(b.destination_ports));
    whole.then(|| a.hull(b))
}

#[expect(clippy::cast_precision_loss, reason = "which of two is larger, roughly")]
fn size(set: &Packets) -> f64 {
    let addresses = |range: Addresses| (range.last - range.first) as f64 + 1.0;
    let ports = |range: Ports| f64::from(range.last - range.first) + 1.0;
    let protocols: u32 = set.protocols.words().iter().map(|word| word.count_ones()).sum();
    let Pieces { whole, pieces } = set.pieces;
    f64::from(protocols)
        * addresses(set.source)
        * addresses(set.destination)
        * ports(set.source_ports)
        * ports(set.destination_ports)
        * f64::from(u8::from(whole) + u8::from(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::{Family, Protocols};

    fn from(first: u128, last: u128) -> Packets {
        Packets { source: Addresses { first, last }, ..Packets::all(Family::V4) }
    }

    #[test]
    fn too_many_boxes_become_fewer_that_hold_them_all() {
        let many: Region = (0..1000).map(|n| from(n * 10, n * 10 + 3)).collect();
        let mut few = many.clone();
        reduce(&mut few, 32);
        assert!(few.len() <= 32, "{}", few.len());
        assert!(many.iter().all(|set| few.iter().any(|whole| whole.covers(set))));
        assert!(!few.iter().any(|whole| whole.covers(&from(0, 10_000))), "still worth something");
    }

    #[test]
    fn neighbours_are_joined_exactly() {
        let mut region = vec![from(0, 3), from(8, 9), from(4, 7)];
        reduce(&mut region, 32);
        assert_eq!(region, [from(0, 9)]);
        let tcp = Packets { protocols: Protocols::one(6), ..from(0, 3) };
        let mut region = vec![tcp, from(4, 7)];
        reduce(&mut region, 32);
        assert_eq!(region.len(), 2, "they differ in two ways");
    }

    #[test]
    fn what_is_too_fine_to_take_out_stays_or_goes_as_is_safe() {
        let all = vec![Packets::all(Family::V4)];
        let many: Region = (0..1000).map(|n| from(n * 10, n * 10 + 3)).collect();
        let left = without_at_least(&all, &many);
        for n in 0..1000 {
            assert!(meet(&left, &[from(n * 10 + 5, n * 10 + 5)]), "{n} was never taken out");
        }
        assert_eq!(without_at_most(&all, &many), []);
    }
}
