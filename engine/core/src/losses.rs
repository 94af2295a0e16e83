//! Where packets that are not sealed are counted and recorded.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::stats::{DropReason, XfrmStat};

/// Where packets that are not sealed are counted and recorded.
#[derive(Clone)]
pub struct Losses {
    stat: Arc<XfrmStat>,
    ring: Arc<DropRing>,
}

impl Losses {
    pub fn new(stat: Arc<XfrmStat>) -> Losses {
        Losses {
            stat,
            ring: Arc::default(),
        }
    }

    pub fn ring(&self) -> Arc<DropRing> {
        Arc::clone(&self.ring)
    }

    /// Packets of one read, which begins with these octets.
    pub fn add(&self, device: &Device, octets: &[u8], packets: u64, reason: Option<DropReason>) {
        if packets == 0 {
            return;
        }
        if let Some(reason) = reason {
            self.stat.add(reason, packets);
        }
        device.stats.tx_errors.fetch_add(packets, Relaxed);
        device.stats.tx_dropped.fetch_add(packets, Relaxed);
        let name = reason.map_or("tx_dropped", DropReason::name);
        self.ring
            .record(|| Dropped::new(name, Way::Out, device.if_id).with_inner(octets));
    }
}
