//! Packets that wait for an SA which somebody was asked for, a few for each policy.
//!
//! The kernel drops them (`xfrm_lookup_with_ifid` without XFRM_LOOKUP_QUEUE); here the first packets
//! of a connection arrive. What finds no room is dropped as the kernel would have dropped it, and
//! counted as XfrmOutNoStates.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::bundle::Missing;
use crate::device::Device;

/// Reads held for one policy, and by one worker.
pub const MOST_OF_POLICY: usize = 8;
pub const MOST: usize = 256;
pub const MOST_OCTETS: usize = 4 << 20;
/// SAs asked for between two changes of the tables.
pub const MOST_ASKED: usize = 1024;

/// A read of a device, header and all.
pub struct HeldRead {
    pub device: Arc<Device>,
    pub octets: Vec<u8>,
}

/// What one worker holds, by the index of the policy, and what it has asked for.
#[derive(Default)]
pub struct Held {
    reads: BTreeMap<u32, VecDeque<HeldRead>>,
    count: usize,
    octets: usize,
    /// Asked for since the tables changed.
    asked: HashSet<Missing>,
    /// Those for which a larval SA was seen: once it is gone, nobody will answer any more.
    answering: HashSet<Missing>,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an SA should be asked for: once between two changes of the tables.
    pub fn asks(&mut self, missing: Missing) -> bool {
        self.asked.len() < MOST_ASKED && self.asked.insert(missing)
    }

    /// Asks again for what is still missing.
    pub fn tables_changed(&mut self) {
        self.asked.clear();
    }

    /// Whether the SA that was on its way is so no more, `larval` telling whether it is now.
    pub fn has_given_up(&mut self, missing: Missing, larval: bool) -> bool {
        if larval {
            if self.answering.len() < MOST_ASKED {
                self.answering.insert(missing);
            }
            return false;
        }
        self.answering.contains(&missing)
    }

    /// Keeps a copy of a read; false if there is no more room for it.
    pub fn keep(&mut self, policy: u32, device: &Arc<Device>, read: &[u8]) -> bool {
        let of_policy = self.reads.get(&policy).map_or(0, VecDeque::len);
        if of_policy == MOST_OF_POLICY
            || self.count == MOST
            || self.octets + read.len() > MOST_OCTETS
        {
            return false;
        }
        self.reads.entry(policy).or_default().push_back(HeldRead {
            device: Arc::clone(device),
            octets: read.to_vec(),
        });
        self.count += 1;
        self.octets += read.len();
        true
    }

    /// All of them, in the order in which those of a policy came.
    pub fn take(&mut self) -> Vec<HeldRead> {
        self.count = 0;
        self.octets = 0;
        let reads = std::mem::take(&mut self.reads);
        reads.into_values().flatten().collect()
    }

    /// After all were tried again: nothing is awaited when nothing waits.
    pub fn settle(&mut self) {
        if self.is_empty() {
            self.answering.clear();
        }
    }
}
