//! Packets that wait for an SA which somebody was asked for, a few for each policy.
//!
//! The kernel drops them (`xfrm_lookup_with_ifid` with no flags); here the first packets of a
//! connection arrive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::device::Device;

/// Reads held for one policy, and by one worker.
const MOST_OF_POLICY: usize = 8;
const MOST: usize = 256;
const MOST_OCTETS: usize = 4 << 20;

/// A read of a device, header and all.
pub struct HeldRead {
    pub device: Arc<Device>,
    pub octets: Vec<u8>,
}

/// What one worker holds, by the index of the policy.
#[derive(Default)]
pub struct Held {
    reads: BTreeMap<u32, VecDeque<HeldRead>>,
    count: usize,
    octets: usize,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// Keeps a copy of a read; false if there is no more room for it.
    pub fn keep(&mut self, policy: u32, device: &Arc<Device>, read: &[u8]) -> bool {
        let queue = self.reads.entry(policy).or_default();
        if queue.len() == MOST_OF_POLICY
            || self.count == MOST
            || self.octets + read.len() > MOST_OCTETS
        {
            if queue.is_empty() {
                self.reads.remove(&policy);
            }
            return false;
        }
        queue.push_back(HeldRead {
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
        std::mem::take(&mut self.reads)
            .into_values()
            .flatten()
            .collect()
    }
}
