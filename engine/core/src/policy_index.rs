//! Policies of one direction and if_id, found without looking at all of them.
//!
//! Tuple space search: policies whose selectors have the same pair of prefix lengths stand in one
//! hash table by their masked addresses. A lookup asks one table per pair of lengths in use, the
//! one with the best priority first, and stops when no other can have a better one. Policies with
//! the same addresses are a chain; a long one is split again in the same way by protocol, ports,
//! link and mark. Everything is a persistent map, so that a snapshot costs nothing and a change
//! costs the same at any size. A few policies, as most interfaces have, are a list: maps would take
//! several times the memory of the policies themselves.

use std::net::IpAddr;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::policy::{masked, Flow, Policy};
use crate::policy_chain::{matches, Chain};

/// IPv6, source prefix length, destination prefix length.
type Lengths = (bool, u8, u8);
/// Rank of a policy: priority, then position.
type Rank = (u32, u64);

#[derive(Clone, Default)]
struct Table {
    chains: HashTrieMapSync<(IpAddr, IpAddr), Chain>,
    /// How many there are of each priority, to know the best.
    priorities: RedBlackTreeMapSync<u32, u32>,
}

/// Policies up to which a walk costs less than maps.
const FEW: usize = 8;

/// Policies of one direction and if_id.
#[derive(Clone)]
pub enum PolicyIndex {
    /// Those of the same addresses stand together, in the order in which they are tried.
    Few(Arc<[Arc<Policy>]>),
    Many(Arc<Tables>),
}

/// All tables of one direction and if_id.
#[derive(Clone, Default)]
pub struct Tables {
    by_lengths: HashTrieMapSync<Lengths, Table>,
    /// Tables in order of their best priority.
    order: RedBlackTreeMapSync<(u32, Lengths), ()>,
}

impl Default for PolicyIndex {
    fn default() -> Self {
        PolicyIndex::Few(Arc::default())
    }
}

fn lengths(policy: &Policy) -> Lengths {
    let selector = &policy.selector;
    (
        selector.source.is_ipv6(),
        selector.source_prefix,
        selector.destination_prefix,
    )
}

fn place(policy: &Policy) -> (IpAddr, IpAddr) {
    let selector = &policy.selector;
    (
        masked(selector.source, selector.source_prefix),
        masked(selector.destination, selector.destination_prefix),
    )
}

fn rank(policy: &Policy) -> Rank {
    (policy.priority, policy.position)
}

/// Where a policy stands among a few.
fn standing(policy: &Policy) -> (Lengths, (IpAddr, IpAddr), Rank) {
    let among_equals = (policy.priority, policy.order);
    (lengths(policy), place(policy), among_equals)
}

fn same_addresses(one: &Policy, other: &Policy) -> bool {
    lengths(one) == lengths(other) && place(one) == place(other)
}

impl PolicyIndex {
    pub fn is_empty(&self) -> bool {
        match self {
            PolicyIndex::Few(list) => list.is_empty(),
            PolicyIndex::Many(tables) => tables.by_lengths.is_empty(),
        }
    }

    pub fn insert(&mut self, policy: Arc<Policy>) {
        match self {
            PolicyIndex::Few(list) if list.len() < FEW => {
                let here = standing(&policy);
                let at = list.partition_point(|other| standing(other) < here);
                let (before, after) = list.split_at(at);
                let all = before.iter().chain([&policy]).chain(after);
                *list = all.cloned().collect();
            }
            PolicyIndex::Few(list) => {
                let mut tables = Tables::default();
                for one in list.iter().cloned().chain([policy]) {
                    tables.insert(one);
                }
                *self = PolicyIndex::Many(Arc::new(tables));
            }
            PolicyIndex::Many(tables) => Arc::make_mut(tables).insert(policy),
        }
    }

    pub fn remove(&mut self, policy: &Policy) {
        match self {
            PolicyIndex::Few(list) => {
                let here = standing(policy);
                let others = list.iter().filter(|other| standing(other) != here);
                *list = others.cloned().collect();
            }
            PolicyIndex::Many(tables) => Arc::make_mut(tables).remove(policy),
        }
    }

    /// The policy of the best rank that matches flow and mark.
    pub fn find(&self, flow: &Flow, mark: u32) -> Option<&Arc<Policy>> {
        let list = match self {
            PolicyIndex::Few(list) => list,
            PolicyIndex::Many(tables) => return tables.find(flow, mark),
        };
        let mut best: Option<&Arc<Policy>> = None;
        let mut last: Option<&Arc<Policy>> = None;
        for policy in list.iter().filter(|policy| matches(policy, flow, mark)) {
            // Of those with the same addresses only the first counts.
            if last.is_none_or(|last| !same_addresses(last, policy)) {
                last = Some(policy);
                if best.is_none_or(|best| rank(policy) < rank(best)) {
                    best = Some(policy);
                }
            }
        }
        best
    }
}

impl Tables {
    fn insert(&mut self, policy: Arc<Policy>) {
        self.change(&policy.clone(), |table, priority, place| {
            let chain = table.chains.get(&place).cloned().unwrap_or_default();
            table.chains.insert_mut(place, chain.with(policy));
            let count = table.priorities.get(&priority).map_or(1, |count| count + 1);
            table.priorities.insert_mut(priority, count);
        });
    }

    fn remove(&mut self, policy: &Policy) {
        self.change(policy, |table, priority, place| {
            let chain = table.chains.get(&place).cloned().unwrap_or_default();
            let chain = chain.without(policy);
            if chain.is_empty() {
                table.chains.remove_mut(&place);
            } else {
                table.chains.insert_mut(place, chain);
            }
            match table.priorities.get(&priority) {
                Some(&count) if count > 1 => table.priorities.insert_mut(priority, count - 1),
                _ => drop(table.priorities.remove_mut(&priority)),
            }
        });
    }

    fn change(&mut self, policy: &Policy, change: impl FnOnce(&mut Table, u32, (IpAddr, IpAddr))) {
        let lengths = lengths(policy);
        let mut table = self.by_lengths.get(&lengths).cloned().unwrap_or_default();
        if let Some((best, _)) = table.priorities.first() {
            self.order.remove_mut(&(*best, lengths));
        }
        change(&mut table, policy.priority, place(policy));
        match table.priorities.first() {
            None => {
                self.by_lengths.remove_mut(&lengths);
            }
            Some((best, _)) => {
                self.order.insert_mut((*best, lengths), ());
                self.by_lengths.insert_mut(lengths, table);
            }
        }
    }

    fn find(&self, flow: &Flow, mark: u32) -> Option<&Arc<Policy>> {
        let mut best: Option<(Rank, &Arc<Policy>)> = None;
        for ((table_best, lengths), ()) in self.order.iter() {
            if best.is_some_and(|((priority, _), _)| priority < *table_best) {
                break;
            }
            let (v6, source, destination) = *lengths;
            if v6 != flow.source.is_ipv6() || v6 != flow.destination.is_ipv6() {
                continue;
            }
            let place = (
                masked(flow.source, source),
                masked(flow.destination, destination),
            );
            let chain = self
                .by_lengths
                .get(lengths)
                .and_then(|t| t.chains.get(&place));
            if let Some(policy) = chain.and_then(|chain| chain.find(flow, mark)) {
                let rank = rank(policy);
                if best.is_none_or(|(other, _)| rank < other) {
                    best = Some((rank, policy));
                }
            }
        }
        best.map(|(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::policy;
    use crate::policy::Mark;

    fn address(random: u64) -> IpAddr {
        // Few addresses, so that policies overlap.
        IpAddr::from([10, 0, (random >> 8) as u8 & 3, random as u8 & 7])
    }

    fn next(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *state >> 24
    }

    #[test]
    fn it_finds_what_a_walk_over_all_finds() {
        let mut state = 7;
        let mut index = PolicyIndex::default();
        let mut all: Vec<Arc<Policy>> = Vec::new();
        for step in 0..4000u64 {
            let random = next(&mut state);
            if random % 3 == 0 && !all.is_empty() {
                let gone = all.swap_remove(random as usize / 3 % all.len());
                index.remove(&gone);
            } else {
                let mut one = policy(address(random), address(random >> 16));
                one.selector.source_prefix = [0, 8, 24, 32][(random >> 3) as usize % 4];
                one.selector.destination_prefix = [0, 22, 32][(random >> 5) as usize % 3];
                one.selector.protocol = [0, 6, 17][(random >> 7) as usize % 3];
                one.selector.destination_port = (random >> 13) as u16 & 3;
                one.selector.destination_port_mask = [0, 1, 3][(random >> 17) as usize % 3];
                one.selector.ifindex = [0, 0, 5][(random >> 21) as usize % 3];
                one.priority = (random >> 9) as u32 % 5;
                one.position = step;
                one.order = step;
                one.mark = Mark {
                    value: (random >> 11) as u32 & 1,
                    mask: 1,
                };
                let one = Arc::new(one);
                index.insert(Arc::clone(&one));
                all.push(one);
            }
            let random = next(&mut state);
            let flow = Flow {
                source: address(random),
                destination: address(random >> 12),
                protocol: [6, 17, 1][random as usize % 3],
                source_port: 1,
                destination_port: (random >> 9) as u16 & 3,
                ifindex: [0, 5][(random >> 23) as usize % 2],
            };
            let mark = (random >> 20) as u32 & 1;
            let expected = all
                .iter()
                .filter(|one| matches(one, &flow, mark))
                .min_by_key(|one| rank(one));
            let found = index.find(&flow, mark);
            assert_eq!(
                found.map(|one| one.position),
                expected.map(|one| one.position)
            );
        }
        for one in &all {
            index.remove(one);
        }
        assert!(index.is_empty());
    }
}
