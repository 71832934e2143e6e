//! Sets and maps, as keys that bytes are compared with.
//!
//! A set that packets update may hold any key a moment later. One whose elements expire only ever has fewer than were read,
//! until a notification says that more were added.

use std::sync::Arc;

use super::numbers as n;
use super::read::{Data, Element, ListedSet};
use crate::model::{Key, Keys};

/// A set, or a map with what its keys lead to.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) key_length: usize,
    pub(super) keys: Keys,
    /// In the order of the keys.
    pub(super) data: Vec<Option<Data>>,
    /// What kind of object it leads to.
    pub(super) object: Option<u32>,
}

pub(super) fn set(listed: &ListedSet) -> Set {
    let fields = Arc::new(fields(listed));
    let is_interval = listed.flags & n::set::IS_INTERVAL != 0 && listed.fields.len() < 2;
    let (catch_all, plain): (Vec<_>, Vec<_>) =
        listed.elements.iter().partition(|element| element.flags & n::element::CATCH_ALL != 0);
    let mut keys = match is_interval {
        true => intervals(&plain, listed.key_length, &fields),
        false => plain
            .into_iter()
            .map(|element| {
                let last = element.end.clone().unwrap_or_else(|| element.key.clone());
                let key = Key { first: element.key.clone(), last, fields: Arc::clone(&fields) };
                (key, element.data.clone())
            })
            .collect(),
    };
    // Last: it holds for what no other key does.
    keys.extend(catch_all.into_iter().map(|element| {
        let (first, last) = (vec![0; listed.key_length], vec![0xff; listed.key_length]);
        (Key { first, last, fields: Arc::clone(&fields) }, element.data.clone())
    }));
    let (keys, data) = keys.into_iter().unzip();
    Set {
        key_length: listed.key_length,
        keys: Keys {
            keys: Arc::new(keys),
            others: listed.flags & n::set::BY_PACKETS != 0,
            expire: listed.flags & n::set::HAS_TIMEOUTS != 0,
        },
        data,
        object: listed.object,
    }
}

/// Position and length of the parts of a key; each starts at a multiple of four bytes.
fn fields(listed: &ListedSet) -> Vec<(usize, usize)> {
    if listed.fields.is_empty() {
        return vec![(0, listed.key_length)];
    }
    let mut at = 0;
    let place = |length: &usize| {
        let place = (at, *length);
        at += length.next_multiple_of(4);
        place
    };
    listed.fields.iter().map(place).collect()
}

/// Ranges from a list of their first elements, and of those that end them.
fn intervals(
    elements: &[&Element],
    length: usize,
    fields: &Arc<Vec<(usize, usize)>>,
) -> Vec<(Key, Option<Data>)> {
    let mut sorted = elements.to_vec();
    let ends = |element: &Element| element.flags & n::element::INTERVAL_END != 0;
    sorted.sort_by(|a, b| a.key.cmp(&b.key).then(ends(b).cmp(&ends(a))));
    let mut found = Vec::new();
    let mut open: Option<&Element> = None;
    let close = |found: &mut Vec<_>, open: Option<&Element>, last: Vec<u8>| {
        let Some(start) = open else { return };
        let key = Key { first: start.key.clone(), last, fields: Arc::clone(fields) };
        found.push((key, start.data.clone()));
    };
    for element in sorted {
        // The element at which a range ends is not in it any more; the next range may begin there.
        if let Some(last) = before(&element.key) {
            close(&mut found, open.take(), last);
        }
        match &element.end {
            Some(end) => close(&mut found, Some(element), end.clone()),
            None if ends(element) => {}
            None => open = Some(element),
        }
    }
    close(&mut found, open, vec![0xff; length]);
    found
}

/// The value before this one, as bytes are compared.
pub(super) fn before(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = value.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            return Some(bytes);
        }
    }
    None
}

/// The value after this one.
pub(super) fn after(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = value.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (more, carry) = byte.overflowing_add(1);
        *byte = more;
        if !carry {
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: u8, flags: u32) -> Element {
        Element { key: vec![0, key], end: None, flags, data: None }
    }

    fn listed(flags: u32, elements: Vec<Element>) -> ListedSet {
        ListedSet {
            home: (n::IPV4, "t".to_owned()),
            name: "s".to_owned(),
            flags,
            key_length: 2,
            fields: Vec::new(),
            object: None,
            elements,
        }
    }

    #[test]
    fn ranges_end_before_what_ends_them() {
        // As the kernel lists them: the last first, and an end at zero.
        let elements = vec![
            element(200, 0),
            element(40, n::element::INTERVAL_END),
            element(30, 0),
            element(20, n::element::INTERVAL_END),
            element(10, 0),
            element(0, n::element::INTERVAL_END),
        ];
        let set = set(&listed(n::set::IS_INTERVAL, elements));
        let ranges: Vec<_> =
            set.keys.keys.iter().map(|key| (key.first.clone(), key.last.clone())).collect();
        assert_eq!(
            ranges,
            [
                (vec![0, 10], vec![0, 19]),
                (vec![0, 30], vec![0, 39]),
                (vec![0, 200], vec![0xff, 0xff])
            ]
        );
        assert!(!set.keys.others && !set.keys.expire);
    }

    #[test]
    fn a_key_for_all_others_comes_last() {
        let elements = vec![element(0, n::element::CATCH_ALL), element(7, 0)];
        let set = set(&listed(n::set::BY_PACKETS, elements));
        let first: Vec<_> = set.keys.keys.iter().map(|key| key.first.clone()).collect();
        assert_eq!(first, [[0, 7], [0, 0]]);
        assert_eq!(set.keys.keys[1].last, [0xff, 0xff]);
        assert!(set.keys.others);
    }
}
