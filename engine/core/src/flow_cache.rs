//! What was found for a flow, kept until the tables change: lookups once per flow and batch.

use std::collections::HashMap;

use crate::policy::Flow;

/// Flows remembered per worker; a flood of new ones empties the cache instead of growing it.
const MOST_FLOWS: usize = 8192;

/// Verdicts by if_id and flow, of one generation of the tables.
pub struct FlowCache<V> {
    verdicts: HashMap<(u32, Flow), V>,
}

impl<V: Clone> FlowCache<V> {
    pub fn new() -> Self {
        FlowCache {
            verdicts: HashMap::new(),
        }
    }

    /// Forgets all, when the tables have changed.
    pub fn clear(&mut self) {
        self.verdicts.clear();
    }

    /// The verdict for a flow, found by `look_up` if it is not known yet.
    pub fn get(&mut self, if_id: u32, flow: &Flow, look_up: impl FnOnce() -> V) -> V {
        if let Some(verdict) = self.verdicts.get(&(if_id, *flow)) {
            return verdict.clone();
        }
        let verdict = look_up();
        self.put(if_id, flow, verdict.clone());
        verdict
    }

    /// Replaces the verdict for a flow.
    pub fn put(&mut self, if_id: u32, flow: &Flow, verdict: V) {
        if self.verdicts.len() == MOST_FLOWS {
            self.verdicts.clear();
        }
        self.verdicts.insert((if_id, *flow), verdict);
    }
}

impl<V: Clone> Default for FlowCache<V> {
    fn default() -> Self {
        Self::new()
    }
}
