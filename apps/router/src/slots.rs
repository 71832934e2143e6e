//! Numbers for things that several users share: the same thing, the same number.

use std::collections::HashMap;
use std::hash::Hash;

/// Interns keys as numbers from a fixed range, with a count of users each.
#[derive(Debug)]
pub struct Slots<K> {
    by_key: HashMap<K, u16>,
    used: HashMap<u16, (K, usize)>,
    free: Vec<u16>,
    next: u16,
    limit: u16,
}

impl<K: Clone + Eq + Hash> Slots<K> {
    /// Numbers from `first` to below `limit`.
    pub fn new(first: u16, limit: u16) -> Self {
        let (by_key, used) = (HashMap::new(), HashMap::new());
        Self { by_key, used, free: Vec::new(), next: first, limit }
    }

    /// One more user of `key`: its number, and whether it is new; `None` when all are taken.
    pub fn acquire(&mut self, key: &K) -> Option<(u16, bool)> {
        if let Some(&number) = self.by_key.get(key) {
            if let Some((_, users)) = self.used.get_mut(&number) {
                *users += 1;
            }
            return Some((number, false));
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.next < self.limit => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.by_key.insert(key.clone(), number);
        self.used.insert(number, (key.clone(), 1));
        Some((number, true))
    }

    /// How many users a number has.
    pub fn users(&self, number: u16) -> usize {
        self.used.get(&number).map_or(0, |(_, users)| *users)
    }

    /// One user less: the key, if that was the last.
    pub fn release(&mut self, number: u16) -> Option<K> {
        let (_, users) = self.used.get_mut(&number)?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let (key, _) = self.used.remove(&number)?;
        self.by_key.remove(&key);
        self.free.push(number);
        Some(key)
    }

    /// Gives the number another key, if it has one user and the key no number yet.
    pub fn rename(&mut self, number: u16, key: &K) -> Option<K> {
        if self.by_key.contains_key(key) {
            return None;
        }
        let (old, users) = self.used.get_mut(&number)?;
        if *users != 1 {
            return None;
        }
        let old = std::mem::replace(old, key.clone());
        self.by_key.remove(&old);
        self.by_key.insert(key.clone(), number);
        Some(old)
    }

    /// The numbers in use with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &K)> {
        self.used.iter().map(|(number, (key, _))| (*number, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shared_counted_and_used_again() {
        let mut slots = Slots::new(2, 4);
        assert_eq!(slots.acquire(&'a'), Some((2, true)));
        assert_eq!(slots.acquire(&'a'), Some((2, false)));
        assert_eq!(slots.acquire(&'b'), Some((3, true)));
        assert_eq!(slots.acquire(&'c'), None, "all taken");
        assert_eq!(slots.rename(2, &'c'), None, "two users");
        assert_eq!(slots.release(2), None);
        assert_eq!(slots.rename(2, &'b'), None, "has a number");
        assert_eq!(slots.rename(2, &'c'), Some('a'));
        assert_eq!(slots.release(2), Some('c'));
        assert_eq!(slots.acquire(&'d'), Some((2, true)));
    }
}
