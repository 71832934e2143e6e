//! Builds the LC-trie that the firmware reads (Nilsson and Karlsson, "IP-address lookup using LC-tries", 1999).
//!
//! Routes that contain another route are kept apart: what is left is free of prefixes and becomes the trie, path compressed
//! (`skip`) and level compressed (`branch`: as many bits at once as leave at least half of the children filled).

/// A route: address, length and hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) address: u32,
    pub(crate) length: u32,
    pub(crate) hop: u8,
}

impl Route {
    pub(crate) fn contains(&self, address: u32) -> bool {
        (u64::from(self.address ^ address) >> (32 - self.length)) == 0
    }
}

/// An inner node, or a leaf (`branch` 0, `child` a route).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    pub(crate) branch: u32,
    pub(crate) skip: u32,
    pub(crate) child: usize,
}

/// A route in one of the two tables, and the index of the longest that contains it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) route: Route,
    pub(crate) shorter: Option<usize>,
}

/// The trie and its two tables.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    pub(crate) nodes: Vec<Node>,
    pub(crate) routes: Vec<Entry>,
    pub(crate) shorter: Vec<Entry>,
}

impl Trie {
    /// `routes` are distinct; the order does not matter.
    pub(crate) fn new(routes: &[Route]) -> Trie {
        let mut sorted = routes.to_vec();
        sorted.sort();
        let mut trie = Trie::default();
        for (index, route) in sorted.iter().enumerate() {
            let holder =
                trie.shorter.iter().rposition(|entry: &Entry| entry.route.contains(route.address));
            let entry = Entry { route: *route, shorter: holder };
            // In this order, whatever a route contains comes right behind it.
            match sorted.get(index + 1) {
                Some(next) if route.contains(next.address) => trie.shorter.push(entry),
                _ => trie.routes.push(entry),
            }
        }
        trie.nodes.push(Node::default());
        trie.build(0, 0, trie.routes.len(), 0);
        trie
    }

    /// Makes node `place` of the `count` routes from `first`, which agree in their first `depth` bits.
    fn build(&mut self, depth: u32, first: usize, count: usize, place: usize) {
        if count <= 1 {
            self.nodes[place] = Node { child: first, ..Node::default() };
            return;
        }
        let address = |index: usize| self.routes[index].route.address;
        let skip = (address(first) ^ address(first + count - 1)).leading_zeros() - depth;
        let depth = depth + skip;
        let branch = self.branch(depth, first, count);
        let child = self.nodes.len();
        self.nodes.resize(child + (1 << branch), Node::default());
        self.nodes[place] = Node { branch, skip, child };
        let mut next = first;
        let mut pattern = 0;
        while pattern < 1 << branch {
            let same = (next..first + count)
                .take_while(|index| self.bits(*index, depth, branch) == pattern)
                .count();
            let short = match self.routes.get(next) {
                Some(entry) if same == 1 => branch.saturating_sub(entry.route.length - depth),
                _ => 0,
            };
            if same == 0 {
                let nearest = self.nearest(depth, branch, pattern, first, next, first + count);
                self.nodes[child + pattern as usize].child = nearest;
                pattern += 1;
            } else if short > 0 {
                // A route that ends within these bits answers for all that follow from them.
                for _ in 0..1 << short {
                    self.nodes[child + pattern as usize].child = next;
                    pattern += 1;
                }
                next += 1;
            } else {
                self.build(depth + branch, next, same, child + pattern as usize);
                next += same;
                pattern += 1;
            }
        }
    }

    fn bits(&self, index: usize, depth: u32, count: u32) -> u32 {
        self.routes[index].route.address << depth >> (32 - count)
    }

    /// The most bits whose patterns the routes fill by half.
    fn branch(&self, depth: u32, first: usize, count: usize) -> u32 {
        let mut branch = 1;
        while depth + branch < 32 {
            let wider = branch + 1;
            let mut patterns: Vec<u32> =
                (first..first + count).map(|index| self.bits(index, depth, wider)).collect();
            patterns.dedup();
            if patterns.len() * 2 < 1 << wider {
                break;
            }
            branch = wider;
        }
        branch
    }

    /// Of the routes before and behind an unused pattern, the one that shares more bits with it: only what contains that
    /// one can contain the pattern.
    fn nearest(
        &self,
        depth: u32,
        branch: u32,
        pattern: u32,
        first: usize,
        next: usize,
        end: usize,
    ) -> usize {
        if next == first {
            return next;
        }
        if next == end {
            return next - 1;
        }
        let shared = |index: usize| (self.bits(index, depth, branch) ^ pattern).leading_zeros();
        if shared(next - 1) > shared(next) { next - 1 } else { next }
    }
}
