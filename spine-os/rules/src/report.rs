//! Few sets, each with its reason.
//!
//! Whoever goes by them looks at each for every packet, so there are at most [`MOST`]. Where there would be more, they become larger.

use crate::answers::{Reason, Reasons};
use crate::packets::{Family, Kept, Packets};
use crate::region::{self, Region};

/// Sets that are kept on a way, at most.
const MOST: usize = 32;

pub(crate) fn few(family: Family, Reasons { direct, collected, derived }: Reasons) -> Vec<Kept> {
    let all = Packets::all(family);
    let mut merged: Vec<Reason> = Vec::new();
    let mut left = vec![all];
    let most = |reasons: &[Reason]| {
        let sized = reasons.iter().map(|(why, region)| (why.to_string(), region::volume(region)));
        // Of equals the last: what a packet was logged for, not that it was.
        sized.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(why, _)| why)
    };
    let by_rules = most(&direct);
    for (why, region) in direct.into_iter().chain(collected).chain(derived) {
        // What an earlier reason keeps altogether is not said twice.
        let held = |set: &Packets| {
            merged.iter().any(|(_, region)| region.iter().any(|whole| whole.covers(set)))
        };
        let new: Region = region.into_iter().filter(|set| !held(set)).collect();
        if new.is_empty() {
            continue;
        }
        left = region::without_at_least(&left, &new);
        if left.is_empty() {
            // Altogether everything: said with the rule that keeps most of it.
            return vec![Kept { packets: all, why: by_rules.unwrap_or_else(|| why.to_string()) }];
        }
        match merged.iter_mut().find(|(other, _)| *other == why) {
            Some((_, region)) => region::add(region, &new),
            None => merged.push((why, new)),
        }
    }
    widen(&mut merged);
    let mut each = MOST;
    let count =
        |each: usize| merged.iter().map(|(_, region)| region.len().min(each)).sum::<usize>();
    while each > 1 && count(each) > MOST {
        each /= 2;
    }
    for (_, region) in &mut merged {
        region::reduce(region, each);
    }
    if merged.len() > MOST {
        return together(merged);
    }
    let kept = merged.into_iter().flat_map(|(why, region)| {
        region.into_iter().map(move |packets| Kept { packets, why: why.to_string() })
    });
    kept.collect()
}

/// Makes one set of two of the same reason where what lies between is kept anyway: rules are walked with what is left, and what is left
/// of a network when a port has been taken out is a network to whoever keeps the port.
fn widen(reasons: &mut [Reason]) {
    /// Of more sets not all pairs are looked at.
    const WORTH: usize = 256;
    let all: Region = reasons.iter().flat_map(|(_, region)| region.iter().copied()).collect();
    if all.len() > WORTH {
        return;
    }
    let is_kept = |set: &Packets| region::without_at_least(&[*set], &all).is_empty();
    for (_, region) in reasons.iter_mut() {
        let mut a = 0;
        while a < region.len() {
            let wider = |b: usize| {
                let hull = region[a].hull(&region[b]);
                is_kept(&hull).then_some((b, hull))
            };
            match (a + 1..region.len()).find_map(wider) {
                Some((b, hull)) => {
                    region.swap_remove(b);
                    region[a] = hull;
                    region.retain(|set| *set == hull || !hull.covers(set));
                    a = 0;
                }
                None => a += 1,
            }
        }
    }
}

/// More reasons than sets: those are told apart no more.
fn together(merged: Vec<Reason>) -> Vec<Kept> {
    let others = merged.len() - 1;
    let why = merged.first().map(|(why, _)| why.to_string()).unwrap_or_default();
    let mut region: Region = merged.into_iter().flat_map(|(_, region)| region).collect();
    region::reduce(&mut region, MOST);
    let why = format!("{why}, and {others} others");
    region.into_iter().map(|packets| Kept { packets, why: why.clone() }).collect()
}
