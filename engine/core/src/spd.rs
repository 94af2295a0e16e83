//! The security policy database (RFC 4301, 4.4.1) as the control thread keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::policy::{Direction, Mark, Policy};

/// What identifies a policy besides its index; the selector with every octet of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    pub direction: Direction,
    pub selector: [u8; 56],
    pub if_id: u32,
    pub mark: Mark,
}

impl PolicyKey {
    pub fn of(policy: &Policy) -> PolicyKey {
        PolicyKey {
            direction: policy.direction,
            selector: policy.told.selector,
            if_id: policy.if_id,
            mark: policy.mark,
        }
    }
}

/// All policies, in the order of their positions.
#[derive(Default)]
pub struct Spd {
    policies: BTreeMap<u64, Arc<Policy>>,
    by_index: HashMap<u32, u64>,
    /// Hash of the identity, and position: a quarter of what a map by identity takes.
    by_key: BTreeSet<(u64, u64)>,
    hasher: RandomState,
    counts: [u32; 3],
    next_index: u32,
    next_position: u64,
    /// When policies with limits of time are looked at next: second and position, both ways.
    deadlines: BTreeSet<(u64, u64)>,
    deadline_of: HashMap<u64, u64>,
    pub hashes: Hashes,
}

/// Bits of an index that hold the direction (`xfrm_policy_id2dir`).
const DIRECTION_MASK: u32 = 7;

/// The direction that an index tells, as a number.
pub fn direction_of(index: u32) -> u32 {
    index & DIRECTION_MASK
}

/// What an insertion has done.
pub struct Inserted {
    pub policy: Arc<Policy>,
    pub replaced: Option<Arc<Policy>>,
}

impl Spd {
    /// Adds a policy, or puts it in place of that of the same identity (`xfrm_policy_insert`). A
    /// replaced one leaves its index. An index that was asked for is given if it is free.
    pub fn insert(&mut self, mut policy: Policy) -> Inserted {
        let key = PolicyKey::of(&policy);
        let replaced = self.find(&key).cloned();
        self.next_position += 1;
        policy.position = self.next_position;
        policy.order = policy.position;
        if let Some(old) = &replaced {
            self.remove(old);
            policy.index = old.index;
            if old.priority == policy.priority {
                policy.order = old.order;
            }
        } else {
            policy.index = self.give_index(policy.direction, policy.index);
        }
        let policy = Arc::new(policy);
        let position = policy.position;
        self.by_key.insert((self.hasher.hash_one(&key), position));
        self.by_index.insert(policy.index, position);
        self.counts[policy.direction as usize] += 1;
        if policy.limits.has_times() {
            // The kernel looks for the first time a second later, whatever the limits.
            self.look_again(position, policy.added + 1);
        }
        self.policies.insert(position, Arc::clone(&policy));
        if replaced.is_none() {
            self.hashes.grow(policy.direction, &self.counts);
        }
        Inserted { policy, replaced }
    }

    /// `xfrm_gen_index()`.
    fn give_index(&mut self, direction: Direction, mut wanted: u32) -> u32 {
        loop {
            let mut index = std::mem::take(&mut wanted);
            if index == 0 {
                index = self.next_index | direction as u32;
                self.next_index = self.next_index.wrapping_add(DIRECTION_MASK + 1);
            }
            if index == 0 {
                index = DIRECTION_MASK + 1;
            }
            if !self.by_index.contains_key(&index) {
                return index;
            }
        }
    }

    /// Puts a changed copy of a policy in the same place.
    pub fn change(&mut self, policy: Policy) -> Arc<Policy> {
        let policy = Arc::new(policy);
        self.policies.insert(policy.position, Arc::clone(&policy));
        policy
    }

    pub fn get(&self, index: u32) -> Option<&Arc<Policy>> {
        self.policies.get(self.by_index.get(&index)?)
    }

    pub fn find(&self, key: &PolicyKey) -> Option<&Arc<Policy>> {
        let hash = self.hasher.hash_one(key);
        self.by_key
            .range((hash, 0)..=(hash, u64::MAX))
            .filter_map(|(_, position)| self.policies.get(position))
            .find(|policy| PolicyKey::of(policy) == *key)
    }

    /// Takes a policy out; false if it is there no more.
    pub fn remove(&mut self, policy: &Policy) -> bool {
        let position = policy.position;
        if self.policies.remove(&position).is_none() {
            return false;
        }
        self.by_index.remove(&policy.index);
        let hash = self.hasher.hash_one(PolicyKey::of(policy));
        self.by_key.remove(&(hash, position));
        self.counts[policy.direction as usize] -= 1;
        if let Some(deadline) = self.deadline_of.remove(&position) {
            self.deadlines.remove(&(deadline, position));
        }
        true
    }

    /// Removes all; false if there was none. What numbers the next policies goes on.
    pub fn flush(&mut self) -> bool {
        let any = !self.policies.is_empty();
        self.policies.clear();
        self.by_index.clear();
        self.by_key.clear();
        self.deadlines.clear();
        self.deadline_of.clear();
        self.counts = [0; 3];
        any
    }

    /// Policies older than a position, the newest first, as the kernel dumps them.
    pub fn older_than(&self, position: u64) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies
            .range(..position)
            .rev()
            .map(|(_, policy)| policy)
    }

    /// The position that the next policy will have at least: all that there are stand before.
    pub fn end(&self) -> u64 {
        self.next_position + 1
    }

    /// Number of policies of one direction.
    pub fn count(&self, direction: Direction) -> u32 {
        self.counts[direction as usize]
    }

    /// The policies to look at by now, each once.
    pub fn take_due(&mut self, now: u64) -> Vec<Arc<Policy>> {
        let mut due = Vec::new();
        while let Some(&(deadline, position)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            self.deadline_of.remove(&position);
            due.extend(self.policies.get(&position).cloned());
        }
        due
    }

    /// Asks to look at a policy at some second.
    pub fn look_again(&mut self, position: u64, deadline: u64) {
        if let Some(old) = self.deadline_of.insert(position, deadline) {
            self.deadlines.remove(&(old, position));
        }
        self.deadlines.insert((deadline, position));
    }

    /// The second at which something is due.
    pub fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// Figures of the kernel's hash tables, which GETSPDINFO gives and NEWSPDINFO sets. The engine finds
/// policies by other means; it keeps the numbers that a kernel with the same policies would show.
pub struct Hashes {
    /// Of the tables by address, one per direction: a power of two less 1.
    by_address: [u32; 3],
    /// Of the table by index.
    pub by_index: u32,
    /// Prefix lengths from which on a policy is hashed by address: local and remote.
    pub threshold4: [u8; 2],
    pub threshold6: [u8; 2],
}

/// `xfrm_policy_hashmax`.
pub const MOST_BUCKETS: u32 = 1 << 20;

impl Default for Hashes {
    fn default() -> Self {
        Hashes {
            by_address: [7; 3],
            by_index: 7,
            threshold4: [32; 2],
            threshold6: [128; 2],
        }
    }
}

impl Hashes {
    /// `xfrm_hash_resize()`, as if its work were done before the next request.
    fn grow(&mut self, direction: Direction, counts: &[u32; 3]) {
        let too_small = |count: u32, mask: u32| mask + 1 < MOST_BUCKETS && count > mask;
        let which = direction as usize;
        if !too_small(counts[which], self.by_address[which]) {
            return;
        }
        for (mask, count) in self.by_address.iter_mut().zip(counts) {
            if too_small(*count, *mask) {
                *mask = *mask * 2 + 1;
            }
        }
        if too_small(counts.iter().sum(), self.by_index) {
            self.by_index = self.by_index * 2 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::Limits;
    use crate::policy::tests::policy;

    fn one(last: u8) -> Policy {
        policy([10, 0, 0, 1].into(), [10, 0, 0, last].into())
    }

    fn indices(spd: &Spd) -> Vec<u32> {
        spd.older_than(spd.end()).map(|one| one.index).collect()
    }

    #[test]
    fn indices_are_given_as_the_kernel_gives_them() {
        let mut spd = Spd::default();
        let inbound = Policy {
            direction: Direction::In,
            ..one(1)
        };
        assert_eq!(spd.insert(inbound).policy.index, 8, "0 names nothing");
        assert_eq!(spd.insert(one(1)).policy.index, 9);
        let asked = |index, last| Policy { index, ..one(last) };
        assert_eq!(spd.insert(asked(0x101, 2)).policy.index, 0x101);
        assert_eq!(spd.insert(asked(0x101, 3)).policy.index, 17, "taken");
        assert_eq!(spd.insert(asked(0x201, 2)).policy.index, 0x101, "replaced");
        assert_eq!(indices(&spd), [0x101, 17, 9, 8], "newest first");
        assert_eq!(spd.count(Direction::Out), 3);
    }

    #[test]
    fn a_replaced_policy_stands_last_but_keeps_its_order_at_equal_priority() {
        let mut spd = Spd::default();
        let first = spd.insert(one(1)).policy;
        spd.insert(one(2));
        let again = spd.insert(one(1));
        assert_eq!(again.replaced.unwrap().position, first.position);
        assert_eq!(
            (again.policy.position, again.policy.order),
            (3, first.order)
        );
        let lower = Policy {
            priority: 9,
            ..one(1)
        };
        assert_eq!(spd.insert(lower).policy.order, 4);
    }

    #[test]
    fn nothing_is_left_of_what_is_removed() {
        let mut spd = Spd::default();
        let mut timed = one(1);
        timed.limits = Limits {
            hard_add_seconds: 5,
            ..Limits::NONE
        }
        .into();
        timed.added = 100;
        let policy = spd.insert(timed.clone()).policy;
        assert_eq!(spd.deadline(), Some(101));
        assert!(spd.remove(&policy) && !spd.remove(&policy));
        assert_eq!((spd.deadline(), spd.count(Direction::Out)), (None, 0));
        assert!(spd.get(policy.index).is_none() && spd.find(&PolicyKey::of(&policy)).is_none());
        spd.insert(timed);
        assert!(spd.flush() && !spd.flush());
        assert_eq!(spd.deadline(), None);
    }
}
