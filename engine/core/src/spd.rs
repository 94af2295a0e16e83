//! The security policy database (RFC 4301, 4.4.1) as the control thread keeps it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::{Direction, Mark, Policy, Selector};

/// What identifies a policy besides its index.
pub type PolicyKey = (Direction, Selector, u32, Mark);

/// All policies, in the order of their age.
#[derive(Default)]
pub struct Spd {
    by_index: BTreeMap<u32, Arc<Policy>>,
    by_key: HashMap<PolicyKey, u32>,
    last: u32,
    positions: u64,
}

/// Bits of an index that hold the direction (`xfrm_policy_id2dir`).
const DIRECTION_BITS: u32 = 3;

pub fn key_of(policy: &Policy) -> PolicyKey {
    (
        policy.direction,
        policy.selector.clone(),
        policy.if_id,
        policy.mark,
    )
}

impl Spd {
    /// None if its identity is taken. The index is given here.
    pub fn add(&mut self, policy: Policy) -> Option<Arc<Policy>> {
        if self.by_key.contains_key(&key_of(&policy)) {
            return None;
        }
        Some(self.put(policy))
    }

    /// Replaces the policy of the same identity, or adds one, as UPDPOLICY does. A replaced one
    /// keeps its index, and with it its place among those of equal priority.
    pub fn replace(&mut self, policy: Policy) -> Arc<Policy> {
        match self.by_key.get(&key_of(&policy)) {
            None => self.put(policy),
            Some(&index) => {
                let position = self.by_index[&index].position;
                let policy = Arc::new(Policy {
                    index,
                    position,
                    ..policy
                });
                self.by_index.insert(index, Arc::clone(&policy));
                policy
            }
        }
    }

    fn put(&mut self, mut policy: Policy) -> Arc<Policy> {
        self.last = self.last.wrapping_add(1 << DIRECTION_BITS);
        policy.index = self.last | policy.direction as u32;
        self.positions += 1;
        policy.position = self.positions;
        let policy = Arc::new(policy);
        self.by_key.insert(key_of(&policy), policy.index);
        self.by_index.insert(policy.index, Arc::clone(&policy));
        policy
    }

    pub fn get(&self, index: u32) -> Option<&Arc<Policy>> {
        self.by_index.get(&index)
    }

    pub fn find(&self, key: &PolicyKey) -> Option<&Arc<Policy>> {
        self.by_index.get(self.by_key.get(key)?)
    }

    pub fn remove(&mut self, index: u32) -> Option<Arc<Policy>> {
        let policy = self.by_index.remove(&index)?;
        self.by_key.remove(&key_of(&policy));
        Some(policy)
    }

    /// Removes all; gives how many there were.
    pub fn flush(&mut self) -> usize {
        self.by_key.clear();
        std::mem::take(&mut self.by_index).len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_index.values()
    }

    /// Number of policies of one direction.
    pub fn count(&self, direction: Direction) -> u32 {
        self.iter()
            .filter(|policy| policy.direction == direction)
            .count() as u32
    }
}
