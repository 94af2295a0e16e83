//! The last packets that were dropped, for diagnosis: why, where, between whom. Never payload, never
//! keys: of a packet in clear the IP header and the ports, of ESP what an observer sees as well.
//!
//! Each worker has a ring of its own, so that recording costs an uncontended lock. In a flood only
//! the first of each interval are recorded; the counters count them all.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ip;

/// Drops that a ring holds, and that it takes per interval.
const MOST: usize = 512;
const BURST: u32 = 128;
const INTERVAL: Duration = Duration::from_millis(100);
/// The longest header that is kept: IPv6 and the ports.
const HEADER: usize = 44;

/// Which way a dropped packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    In = 1,
    Out = 2,
}

/// A dropped packet. What is not known of it is None or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// A counter's name: of `/proc/net/xfrm_stat`, or of `rtnl_link_stats64` where the kernel counts
    /// nothing else.
    pub reason: &'static str,
    pub way: Way,
    pub if_id: u32,
    /// SPI and low half of the sequence number.
    pub esp: Option<(u32, u32)>,
    /// Source and destination of the outer header.
    pub outer: Option<(IpAddr, IpAddr)>,
    /// Of the inner packet, as far as it is in clear: the header and the ports.
    pub header: Vec<u8>,
}

impl Dropped {
    pub fn new(reason: &'static str, way: Way, if_id: u32) -> Dropped {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Dropped {
            time: since.map_or(0, |since| since.as_nanos() as u64),
            reason,
            way,
            if_id,
            esp: None,
            outer: None,
            header: Vec::new(),
        }
    }

    /// Keeps what may be told of a packet in clear.
    pub fn with_inner(mut self, packet: &[u8]) -> Dropped {
        let Some(parsed) = ip::parse(packet) else {
            return self;
        };
        let ports = match parsed.flow.protocol {
            ip::TCP | ip::UDP if !parsed.fragment => 4,
            // Type and code.
            ip::ICMP | ip::ICMPV6 if !parsed.fragment => 2,
            _ => 0,
        };
        let fixed = if parsed.is_ipv4() { 20 } else { 40 };
        // Options and extension headers stay out.
        self.header = packet[..fixed].to_vec();
        let end = (parsed.transport + ports).min(parsed.length);
        self.header.extend(&packet[parsed.transport.min(end)..end]);
        debug_assert!(self.header.len() <= HEADER);
        self
    }
}

struct Ring {
    drops: VecDeque<Dropped>,
    since: Instant,
    taken: u32,
}

/// The ring of one worker.
pub struct DropRing {
    ring: Mutex<Ring>,
    skipped: AtomicU64,
}

impl DropRing {
    pub fn new() -> DropRing {
        DropRing {
            ring: Mutex::new(Ring {
                drops: VecDeque::new(),
                since: Instant::now(),
                taken: 0,
            }),
            skipped: AtomicU64::new(0),
        }
    }

    /// Records a drop, which is made only if there is room for it in this interval.
    pub fn record(&self, make: impl FnOnce() -> Dropped) {
        let mut ring = self.ring.lock().expect("no holder of the lock panics");
        if ring.since.elapsed() >= INTERVAL {
            ring.since = Instant::now();
            ring.taken = 0;
        }
        if ring.taken == BURST {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        ring.taken += 1;
        if ring.drops.len() == MOST {
            ring.drops.pop_front();
        }
        ring.drops.push_back(make());
    }

    /// All that it holds, the oldest first.
    pub fn drops(&self) -> Vec<Dropped> {
        let ring = self.ring.lock().expect("no holder of the lock panics");
        ring.drops.iter().cloned().collect()
    }

    /// Drops that were counted but not recorded.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

impl Default for DropRing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::segment::tests::tcp;

    #[test]
    fn a_flood_fills_no_memory_and_the_rest_is_counted() {
        let ring = DropRing::new();
        for _ in 0..10_000 {
            ring.record(|| Dropped::new("XfrmInNoStates", Way::In, 0));
        }
        assert!(ring.drops().len() <= MOST);
        assert_eq!(ring.drops().len() as u64 + ring.skipped(), 10_000);
    }

    #[test]
    fn payload_is_never_kept() {
        for version in [4, 6] {
            let packet = tcp(version, 1, 0x10, b"a secret that nobody may read");
            let dropped = Dropped::new("XfrmOutNoStates", Way::Out, 1).with_inner(&packet);
            let fixed = if version == 4 { 20 } else { 40 };
            assert_eq!(dropped.header, packet[..fixed + 4]);
        }
        let whole = Dropped::new("XfrmInHdrError", Way::In, 1).with_inner(b"no packet");
        assert!(whole.header.is_empty());
    }
}
