//! Fair shares: of an adapter's time, of its frames, of the queues that lead out of it.
//!
//! **Time**: extensions are served by deficit round robin ([`Share`]), in nanoseconds where the adapter has a clock to
//! measure them by, in fuel where it has none. In each round (a turn of the loop; in a model's time, an event) an
//! extension may use one entry's budget, less the overdraft of rounds before (the last message of an entry may go
//! over), and be stopped once: it forfeits the rest of the round. Nothing is saved up: what is not used for want of
//! messages is gone. So what each of the others adds to a message's way through a round is bounded by the budget of
//! an entry, one worst-case handler and one stop.
//!
//! Where extensions of several users are on one adapter, shares are the users' first ([`Owners`]): all that one
//! has there may use one entry's budget in a round together. Who brings ninety extensions has no more of the
//! adapter than who brings one, and who is idle costs nothing. Adapters on the same processor are turned in turn, a
//! round each, so these bounds add up over them.
//!
//! Why fuel is not enough: it bounds work, and the same work takes six hundred times as long in memory that is cold and
//! kept cold. Four extensions that did so took 89 % of a neighbour's messages and never overdrew their fuel.
//!
//! **Room**: frames, and the queues to the host, to peers and to the kernel, are one pool each that all
//! extensions of an adapter use. An extension may have so many times what is free at the moment
//! ([`Threshold`]; dynamic thresholds, Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2),
//! 1998). Why not a fixed share each? With 128 possible extensions it would be too small for the one that
//! is there. Why not all of it to who comes first? Then a flood takes everything, and the neighbours'
//! messages are lost. So a lone extension gets most of a queue, N greedy ones the same each, and
//! something is left for who comes next: with 4 times what is free, 4/5 for one, 4/(1+4N) for each of N.
//! Whoever wants more loses its own messages, counted under `over_share` (frames: `queue_full`).
//!
//! **Messages** to a handler are bounded by where they come from (`waiting`), so that packets, the
//! application and each peer adapter have room of their own; and an entry may send 128 at most.
//!
//! Left out: the wire. An extension sends no packet that it was not given, so who receives more sends
//! more; shaping that is the application's business.

use std::collections::VecDeque;

use spine_abi::limits::BURST;

use crate::id::User;
use crate::message::Ending;

/// What one extension may still spend in this round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    left: i64,
    round: u64,
    /// Among those of the same owner: what it has spent, and the round in which it was stopped last.
    spent: u64,
    stopped: u64,
}

impl Share {
    /// Starts an entry in the round with this number (never zero, never less than before): says how much may be
    /// spent, which is zero if the round's share is used up or an overdraft is not paid off yet. Every round that has
    /// passed since pays for as much as it would have given.
    pub fn begin(&mut self, entry: u64, round: u64) -> u64 {
        if self.is_new(round) {
            let earned = signed(entry.saturating_mul(round - self.round));
            self.round = round;
            self.left = self.left.min(0).saturating_add(earned).min(signed(entry));
        }
        u64::try_from(self.left).unwrap_or(0)
    }

    /// Whether nothing was asked of it in this round yet.
    fn is_new(&self, round: u64) -> bool {
        self.round != round
    }

    /// Ends an entry in which `used` was spent.
    pub fn end(&mut self, used: u64, ending: Ending) {
        self.left = self.left.saturating_sub(signed(used));
        if ending.is_stop() {
            self.left = self.left.min(0);
        }
    }
}

/// What one user's extensions on an adapter may still spend in this round, together.
#[derive(Debug, Clone, Copy, Default)]
struct Owned {
    owner: User,
    extensions: usize,
    share: Share,
    /// The round in which an extension of his asked last, and the least that any that asked has spent: in it so far,
    /// and in those before.
    round: u64,
    lowest: u64,
    floor: u64,
}

/// The users who have extensions on an adapter.
#[derive(Debug, Default)]
pub struct Owners {
    owned: Vec<Owned>,
    present: usize,
}

impl Owners {
    /// One more extension of this user's; his place.
    pub fn add(&mut self, owner: User) -> usize {
        let known = self.owned.iter().position(|owned| owned.owner == owner);
        let gone = || self.owned.iter().position(|owned| owned.extensions == 0);
        let place = known.or_else(gone).unwrap_or(self.owned.len());
        if place == self.owned.len() {
            self.owned.push(Owned { lowest: u64::MAX, ..Owned::default() });
        }
        let owned = &mut self.owned[place];
        if owned.extensions == 0 {
            // Who takes the place of somebody else owes nothing; who comes back owes what he did.
            if owned.owner != owner {
                *owned = Owned { owner, lowest: u64::MAX, ..Owned::default() };
            }
            self.present += 1;
        }
        owned.extensions += 1;
        place
    }

    /// One less of the user at this place.
    pub fn remove(&mut self, place: usize) {
        let Some(owned) = self.owned.get_mut(place) else { return };
        owned.extensions = owned.extensions.saturating_sub(1);
        if owned.extensions == 0 {
            self.present = self.present.saturating_sub(1);
        }
    }

    /// Starts an entry of an extension, whose own share is `own`, of the user at `place`: as [`Share::begin`], and no
    /// more than he has left. Among his, who has spent more than an entry beyond the one that has spent
    /// least waits; who comes, or was idle, has spent as much as that one.
    #[inline]
    pub fn begin(&mut self, place: usize, own: &mut Share, entry: u64, round: u64) -> u64 {
        if self.present < 2 {
            return own.begin(entry, round);
        }
        let Some(owned) = self.owned.get_mut(place) else { return 0 };
        let left = owned.share.begin(entry, round);
        if owned.round != round {
            owned.round = round;
            let asked = std::mem::replace(&mut owned.lowest, u64::MAX);
            let asked = if asked == u64::MAX { 0 } else { asked };
            owned.floor = owned.floor.max(asked);
        }
        own.spent = own.spent.max(owned.floor);
        owned.lowest = owned.lowest.min(own.spent);
        let ahead = own.spent > owned.floor.saturating_add(entry);
        if ahead || own.stopped == round { 0 } else { left }
    }

    /// Ends an entry of an extension of the user at `place`.
    #[inline]
    pub fn end(&mut self, place: usize, own: &mut Share, used: u64, ending: Ending) {
        own.end(used, ending);
        if let Some(owned) = self.owned.get_mut(place) {
            owned.share.end(used, Ending::Finished);
            own.spent = own.spent.saturating_add(used);
            if ending.is_stop() {
                own.stopped = owned.round;
            }
        }
    }
}

fn signed(fuel: u64) -> i64 {
    i64::try_from(fuel).unwrap_or(i64::MAX)
}

/// A bound on what one user may have of a common pool: a multiple of what is free in it.
#[derive(Debug, Clone, Copy)]
pub struct Threshold {
    times: usize,
    per: usize,
}

impl Threshold {
    /// For queues that lead out of the adapter.
    pub const QUEUE: Self = Self { times: 4, per: 1 };
    /// For frames: a quarter of all for one, so that the wire always has some to receive into.
    pub const FRAMES: Self = Self { times: 1, per: 3 };

    /// Whether a user who has `own` may have one more, when `free` are left.
    #[inline]
    pub const fn allows(self, own: usize, free: usize) -> bool {
        own * self.per < free * self.times
    }
}

/// Who has what in a queue that somebody else empties, in the order of its entries.
///
/// An entry that left is known by the queue being shorter. A number that is given to another extension
/// later inherits what its predecessor still has in the queue.
#[derive(Debug, Default)]
pub struct Ledger {
    owners: VecDeque<u16>,
    held: Vec<usize>,
}

impl Ledger {
    /// Whether `owner` may put one more entry into the queue, which has `waiting` of `capacity` now.
    pub fn admits(&mut self, owner: u16, waiting: usize, capacity: usize) -> bool {
        while self.owners.len() > waiting {
            let Some(gone) = self.owners.pop_front() else { break };
            self.held[usize::from(gone)] -= 1;
        }
        let own = self.held.get(usize::from(owner)).copied().unwrap_or(0);
        Threshold::QUEUE.allows(own, capacity.saturating_sub(waiting))
    }

    /// Notes that `owner` put an entry into the queue.
    pub fn note(&mut self, owner: u16) {
        let place = usize::from(owner);
        if self.held.len() <= place {
            self.held.resize(place + 1, 0);
        }
        self.held[place] += 1;
        self.owners.push_back(owner);
    }
}

/// The frames of an adapter that are with its extensions: waiting for them, or kept.
#[derive(Debug)]
pub struct FrameShares {
    total: usize,
    held: usize,
}

impl FrameShares {
    /// None is held of `total`.
    pub fn new(total: usize) -> Self {
        Self { total, held: 0 }
    }

    /// Whether an extension that has `own` may be given one more.
    #[inline]
    pub fn admits(&self, own: usize) -> bool {
        let free = self.total - self.held;
        // One burst for anybody while half is free, however few there are.
        Threshold::FRAMES.allows(own, free) || own < BURST && 2 * free > self.total
    }

    /// How many of them an extension that has `own` may keep: half of what it may have at all, so that
    /// there is room for the messages after which it releases them.
    pub fn may_keep(&self, own: usize) -> usize {
        (self.total - self.held + own) / 8
    }

    /// Notes that an extension that had `before` has `after` now.
    #[inline]
    pub fn change(&mut self, before: usize, after: usize) {
        self.held = (self.held + after).saturating_sub(before).min(self.total);
    }

    /// Notes that an extension has so many more, which it was allowed.
    #[inline]
    pub fn took(&mut self, frames: usize) {
        self.held += frames;
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_busy_extensions_spend_the_same_whatever_their_messages_cost() {
        // One overdraws by most of an expensive message in each round, the other spends exactly.
        let costs = [90_u64, 7];
        let mut spent = [0_u64; 2];
        let mut shares = [Share::default(); 2];
        for round in 1..=1000 {
            for (share, (cost, total)) in shares.iter_mut().zip(costs.iter().zip(&mut spent)) {
                let allowed = share.begin(100, round);
                let mut used = 0;
                while used < allowed {
                    used += cost;
                }
                share.end(used, Ending::Finished);
                *total += used;
            }
        }
        let difference = spent[0].abs_diff(spent[1]);
        assert!(difference <= 100, "{spent:?}");
    }

    #[test]
    fn cheap_rounds_save_nothing_up() {
        let mut share = Share::default();
        for round in 1..=10 {
            share.begin(100, round);
            share.end(1, Ending::Finished);
        }
        assert_eq!(share.begin(100, 11), 100);
    }

    #[test]
    fn several_entries_in_a_round_share_its_budget_and_a_stop_ends_it() {
        let mut share = Share::default();
        assert_eq!(share.begin(100, 1), 100);
        share.end(30, Ending::Finished);
        assert_eq!(share.begin(100, 1), 70);
        share.end(20, Ending::Trapped);
        assert_eq!(share.begin(100, 1), 0);
        assert_eq!(share.begin(100, 2), 100, "the next round is a new one");
        share.end(130, Ending::OutOfFuel);
        assert_eq!(share.begin(100, 3), 70, "less the overdraft");
    }

    #[test]
    fn an_overdraft_is_paid_off_by_the_rounds_that_pass() {
        let mut share = Share::default();
        assert_eq!(share.begin(100, 1), 100);
        share.end(550, Ending::Finished);
        assert_eq!(share.begin(100, 2), 0);
        assert_eq!(share.begin(100, 4), 0, "450 owed, 300 earned");
        assert_eq!(share.begin(100, 6), 50);
        assert_eq!(share.begin(100, 60), 100, "and nothing is saved up");
    }

    /// Has all of these (an owner, what an entry takes) ask in each round; what each spends.
    fn spend(users: &[(u32, u64)], rounds: u64) -> Vec<u64> {
        let mut owners = Owners::default();
        let places: Vec<_> = users.iter().map(|(owner, _)| owners.add(User(*owner))).collect();
        let mut shares = vec![Share::default(); users.len()];
        let mut spent = vec![0; users.len()];
        for round in 1..=rounds {
            for (at, (_, cost)) in users.iter().enumerate() {
                if owners.begin(places[at], &mut shares[at], 100, round) > 0 {
                    owners.end(places[at], &mut shares[at], *cost, Ending::Finished);
                    spent[at] += cost;
                }
            }
        }
        spent
    }

    #[test]
    fn shares_are_between_users_first_and_then_between_what_each_has() {
        // Four of one user's that overdraw by far, three of which are dearer than the fourth, beside one of another's.
        let spent = spend(&[(7, 1400), (7, 1400), (7, 1400), (7, 100), (8, 100)], 10_000);
        let sevens: u64 = spent[..4].iter().sum();
        assert_eq!(spent[4], 1_000_000, "the other is served in each round");
        assert!(sevens.abs_diff(1_000_000) < 10_000, "{spent:?}");
        let (most, least) = (spent[..4].iter().max().unwrap(), spent[..4].iter().min().unwrap());
        assert!(most - least < 60_000, "{spent:?}");
    }

    #[test]
    fn who_is_alone_has_all_rounds_to_himself() {
        assert_eq!(spend(&[(0, 100), (0, 100)], 100), [10_000, 10_000]);
    }

    #[test]
    fn a_debt_outlives_the_extension_and_not_its_owners_place() {
        let mut owners = Owners::default();
        let (one, other) = (owners.add(User(1)), owners.add(User(2)));
        let mut share = Share::default();
        assert_eq!(owners.begin(one, &mut share, 100, 1), 100);
        owners.end(one, &mut share, 1000, Ending::Finished);
        owners.remove(one);
        assert_eq!(owners.add(User(1)), one);
        assert_eq!(
            owners.begin(one, &mut Share::default(), 100, 2),
            0,
            "loading again pays nothing"
        );
        owners.remove(one);
        assert_eq!(owners.add(User(3)), one, "his place is free");
        assert_eq!(owners.begin(one, &mut Share::default(), 100, 3), 100);
        assert_eq!(owners.begin(other, &mut Share::default(), 100, 3), 100);
    }

    /// Every user takes as much as it may until nobody may have more.
    fn greedy(users: usize, capacity: usize) -> Vec<usize> {
        let (mut queue, mut ledger, mut held) = (0, Ledger::default(), vec![0; users]);
        for round in 0..capacity {
            for (user, held) in (0..).zip(&mut held) {
                if ledger.admits(user, queue, capacity) {
                    ledger.note(user);
                    queue += 1;
                    *held += 1;
                }
            }
            assert!(queue <= capacity, "round {round}");
        }
        held
    }

    #[test]
    fn a_queue_is_shared_evenly_and_never_full_of_a_flood() {
        assert_eq!(greedy(1, 100), [80]);
        assert_eq!(greedy(2, 90), [40, 40]);
        let sixty_four = greedy(64, 2570);
        assert!(sixty_four.iter().all(|held| *held == 40), "{sixty_four:?}");
    }

    #[test]
    fn what_left_the_queue_is_no_longer_held() {
        let mut ledger = Ledger::default();
        for waiting in 0..8 {
            assert!(ledger.admits(7, waiting, 10));
            ledger.note(7);
        }
        assert!(!ledger.admits(7, 8, 10));
        assert!(ledger.admits(3, 8, 10), "a neighbour has room");
        assert!(ledger.admits(7, 4, 10), "four were taken");
    }

    #[test]
    fn one_extension_has_a_quarter_of_the_frames_and_several_leave_some() {
        for extensions in [1, 2, 8, 60] {
            let mut frames = FrameShares::new(1024);
            let mut own = vec![0; extensions];
            for _ in 0..1024 {
                for own in &mut own {
                    if frames.admits(*own) {
                        frames.change(*own, *own + 1);
                        *own += 1;
                    }
                }
            }
            let (least, most) = (own.iter().min().unwrap(), own.iter().max().unwrap());
            assert!(most - least <= 1 || *most <= BURST, "{own:?}");
            assert!(frames.held() < 1024, "{extensions} leave nothing");
            if extensions == 1 {
                assert_eq!(own, [256]);
                assert_eq!(frames.may_keep(256), 128);
            }
        }
    }
}
