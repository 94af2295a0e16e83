//! The last packets that were dropped, for diagnosis: why, where, between whom. Never payload, never
//! keys: of a packet in clear the IP header and the ports, of ESP what an observer sees as well.
//!
//! Each worker has a ring of its own, so that recording costs an uncontended lock. In a flood only
//! the first of each interval are recorded; the counters count them all, and a reader is told how
//! many it has missed.

use std::collections::VecDeque;
use std::net::IpAddr;
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
    /// Of the newest of them, how many nobody has read.
    unread: usize,
    /// Drops that nobody can read any more, or never could.
    missed: u64,
    /// As many were missed when it was read last.
    told: u64,
}

/// The ring of one worker.
pub struct DropRing {
    ring: Mutex<Ring>,
}

impl DropRing {
    pub fn new() -> DropRing {
        DropRing {
            ring: Mutex::new(Ring {
                drops: VecDeque::new(),
                since: Instant::now(),
                taken: 0,
                unread: 0,
                missed: 0,
                told: 0,
            }),
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
            ring.missed += 1;
            return;
        }
        ring.taken += 1;
        if ring.drops.len() == MOST {
            ring.drops.pop_front();
            if ring.unread == MOST {
                ring.unread -= 1;
                ring.missed += 1;
            }
        }
        ring.unread += 1;
        ring.drops.push_back(make());
    }

    /// All that it holds, the oldest first, and how many were missed since it was read last.
    pub fn read(&self) -> (Vec<Dropped>, u64) {
        let mut ring = self.ring.lock().expect("no holder of the lock panics");
        ring.unread = 0;
        let missed = ring.missed - ring.told;
        ring.told = ring.missed;
        (ring.drops.iter().cloned().collect(), missed)
    }

    /// Drops that were counted and that no reader has seen or can see.
    pub fn missed(&self) -> u64 {
        let ring = self.ring.lock().expect("no holder of the lock panics");
        ring.missed
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
        let (drops, missed) = ring.read();
        assert!(drops.len() <= MOST);
        assert_eq!(drops.len() as u64 + missed, 10_000);
        assert_eq!(ring.read(), (drops, 0));
        assert_eq!(ring.missed(), missed);
    }

    #[test]
    fn what_is_written_over_unread_is_missed_and_nothing_else() {
        let ring = DropRing::new();
        let fill = |count: usize| {
            for _ in 0..count {
                ring.ring.lock().unwrap().taken = 0;
                ring.record(|| Dropped::new("XfrmInNoStates", Way::In, 0));
            }
        };
        fill(MOST + 3);
        assert_eq!(ring.read().1, 3);
        fill(MOST);
        assert_eq!(ring.read().1, 0, "those were read");
        fill(MOST + 2);
        assert_eq!(ring.read().1, 2);
        assert_eq!(ring.missed(), 5);
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
