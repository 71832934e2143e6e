//! The queue of orders: who is served next, and how many may wait.
//!
//! Linking takes time, and whoever orders much of it must keep nobody waiting but himself. So root's orders go
//! before those of users whom a grant names, these before strangers', and among users of one standing it goes
//! round: next is who was served longest ago, however many orders he or the others have. The queue is bounded for
//! each user and in all; root has room that others cannot take.
//!
//! Nothing here knows what an order is, or takes time.

use std::collections::HashMap;

use crate::clients::{Standing, Who};

/// Orders that wait, of all users but root; and of one user.
const WAITING: usize = 64;
const WAITING_OF_USER: usize = 8;
/// Orders of root's that may wait beside these.
const OF_ROOT: usize = 32;
/// Users of whom it is known when they were served last: more than can wait.
const REMEMBERED: usize = 4 * WAITING;

/// What waits.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Vec<Waiting<T>>,
    /// Turns taken so far, and in which one each user was served last.
    turn: u64,
    served: HashMap<u32, u64>,
}

#[derive(Debug)]
struct Waiting<T> {
    user: u32,
    standing: Standing,
    order: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), turn: 0, served: HashMap::new() }
    }
}

impl<T> Queue<T> {
    /// Takes one more order of a user.
    ///
    /// # Errors
    /// A sentence: there is no room for it.
    pub(crate) fn push(&mut self, who: &Who, order: T) -> Result<(), String> {
        let root = who.standing == Standing::Root;
        let alike = self.waiting.iter().filter(|it| (it.standing == Standing::Root) == root);
        let most = if root { OF_ROOT } else { WAITING };
        if alike.count() >= most {
            return Err(format!("{most} extensions wait to be linked, and no more can: try again"));
        }
        let same = self.waiting.iter().filter(|it| it.user == who.user).count();
        if !root && same >= WAITING_OF_USER {
            return Err(format!(
                "{same} extensions of {} wait to be linked, and no more can: try again",
                who.name
            ));
        }
        self.waiting.push(Waiting { user: who.user, standing: who.standing, order });
        Ok(())
    }

    /// The order to follow next, of those whose users may have one followed.
    pub(crate) fn next(&mut self, may: impl Fn(u32, Standing) -> bool) -> Option<T> {
        let served = |user: u32| self.served.get(&user).copied().unwrap_or(0);
        let places = 0..self.waiting.len();
        let (at, _) = places
            .zip(&self.waiting)
            .filter(|(_, it)| may(it.user, it.standing))
            .min_by_key(|(at, it)| (it.standing, served(it.user), *at))?;
        let Waiting { user, order, .. } = self.waiting.remove(at);
        self.note(user);
        Some(order)
    }

    /// Forgets orders that nobody waits for.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.waiting.retain(|it| keep(&it.order));
    }

    /// All that wait, with the user of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.waiting.iter().map(|it| (it.user, &it.order))
    }

    /// Notes that a user was served. What is forgotten is what was long ago.
    fn note(&mut self, user: u32) {
        if self.waiting.is_empty() {
            self.served.clear();
        }
        self.turn += 1;
        self.served.insert(user, self.turn);
        if self.served.len() > REMEMBERED
            && let Some(oldest) = self.served.iter().min_by_key(|(_, turn)| **turn)
        {
            let oldest = *oldest.0;
            self.served.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: u32, standing: Standing) -> Who {
        Who { user, name: format!("user {user}"), groups: Vec::new(), standing }
    }

    fn granted(user: u32) -> Who {
        who(user, Standing::Granted)
    }

    /// All orders, in the order in which they are followed.
    fn drained(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next(|_, _| true)).collect()
    }

    #[test]
    fn it_goes_round_however_many_orders_one_has() {
        let mut queue = Queue::default();
        for order in ["a1", "a2", "a3", "a4"] {
            queue.push(&granted(1), order).expect("room");
        }
        assert_eq!(queue.next(|_, _| true), Some("a1"));
        // Two more come while the first one is being served many.
        queue.push(&granted(2), "b1").expect("room");
        queue.push(&granted(2), "b2").expect("room");
        queue.push(&granted(3), "c1").expect("room");
        assert_eq!(drained(&mut queue), ["b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn who_orders_again_at_once_goes_behind_those_who_wait() {
        let mut queue = Queue::default();
        queue.push(&granted(1), "a1").expect("room");
        queue.push(&granted(2), "b1").expect("room");
        queue.push(&granted(2), "b2").expect("room");
        let mut said = Vec::new();
        for again in ["a2", "a3", "a4"] {
            said.extend(queue.next(|_, _| true));
            queue.push(&granted(1), again).expect("room");
        }
        assert_eq!(said, ["a1", "b1", "a2"]);
        assert_eq!(drained(&mut queue), ["b2", "a3", "a4"]);
    }

    #[test]
    fn roots_orders_go_first_and_strangers_last() {
        let mut queue = Queue::default();
        for (user, standing, order) in [
            (9, Standing::Stranger, "stranger"),
            (1, Standing::Granted, "granted"),
            (0, Standing::Root, "root"),
        ] {
            queue.push(&who(user, standing), order).expect("room");
        }
        assert_eq!(queue.next(|user, _| user != 0), Some("granted"), "root's may not be yet");
        assert_eq!(drained(&mut queue), ["root", "stranger"]);
    }

    #[test]
    fn it_is_bounded_for_each_user_and_in_all_and_root_has_room_of_its_own() {
        let mut queue = Queue::default();
        let one = (0..100).filter(|_| queue.push(&granted(1), "a").is_ok()).count();
        assert_eq!(one, WAITING_OF_USER);
        let why = queue.push(&granted(1), "a").expect_err("full");
        assert_eq!(why, "8 extensions of user 1 wait to be linked, and no more can: try again");
        let others = (2..1000).filter(|user| queue.push(&granted(*user), "b").is_ok()).count();
        assert_eq!(one + others, WAITING);
        let root = who(0, Standing::Root);
        let roots = (0..100).filter(|_| queue.push(&root, "root").is_ok()).count();
        assert_eq!(roots, OF_ROOT);
        // What nobody waits for leaves its room.
        queue.retain(|order| *order != "b");
        assert_eq!(queue.iter().count(), one + roots);
        assert!(queue.push(&granted(2), "b").is_ok());
    }

    #[test]
    fn what_it_remembers_of_users_is_bounded() {
        let mut queue = Queue::default();
        queue.push(&granted(u32::MAX), "waits").expect("room");
        for user in 0..10_000 {
            queue.push(&granted(user), "one").expect("room");
            assert_eq!(queue.next(|found, _| found == user), Some("one"));
        }
        assert!(queue.served.len() <= REMEMBERED);
    }
}
