//! Fragments put together again, before a mode that carries no fragments.
//!
//! RFC 791, 3.2 and RFC 8200, 4.5, bounded: so many datagrams, so many octets, and no datagram that
//! waits for longer than so many fragments took to come, or than a time, after which its
//! identification may stand for another. The same fragment may come twice; any other
//! overlap ends its datagram, with all that still comes of it (RFC 5722, 3; for IPv4 as well, as
//! `inet_frag_queue_insert()` does).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::checksum;
use crate::fragment::{Fragment, Key, LONGEST};

/// Datagrams that wait for fragments, and octets of them.
pub const MOST_DATAGRAMS: usize = 64;
pub const MOST_OCTETS: usize = 1 << 20;
/// Fragments of others that may come while one waits.
pub const MOST_AGE: u64 = 1024;
/// net.ipv4.ipfrag_time; of IPv6 no more than the 60 seconds of RFC 8200, 4.5.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
const CE: u8 = 3;

/// What a fragment led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// Others are awaited, or the fragment was lost.
    Waits,
    Whole(Vec<u8>),
}

#[derive(Default)]
struct Datagram {
    /// Payloads by their offset; none overlaps another.
    parts: BTreeMap<usize, Vec<u8>>,
    /// Of the fragment at offset 0.
    header: Option<Vec<u8>>,
    /// Octets of the whole payload, when the last fragment is known.
    length: Option<usize>,
    octets: usize,
    fragments: u64,
    /// Bit n for a fragment with ECN field n.
    ecn: u8,
    /// It is over, and what comes of it is refused.
    refused: bool,
}

/// The datagrams of one worker.
#[derive(Default)]
pub struct Reassembly {
    waiting: HashMap<Key, Datagram>,
    /// Oldest first, with the count of fragments at which they began, and when.
    order: VecDeque<(u64, Instant, Key)>,
    octets: usize,
    count: u64,
}

impl Reassembly {
    /// Takes a fragment; also gives the number of fragments that are lost by that, of whatever
    /// datagram.
    pub fn add(&mut self, packet: &[u8], now: Instant) -> (Added, u64) {
        self.count += 1;
        let mut lost = self.forget_old(now);
        let Some(fragment) = Fragment::parse(packet) else {
            return (Added::Waits, lost + 1);
        };
        if !self.waiting.contains_key(&fragment.key) {
            if self.waiting.len() == MOST_DATAGRAMS {
                lost += self.forget_oldest();
            }
            self.order
                .push_back((self.count, now, fragment.key.clone()));
            self.waiting
                .insert(fragment.key.clone(), Datagram::default());
        }
        let key = fragment.key.clone();
        let Some(datagram) = self.waiting.get_mut(&key) else {
            return (Added::Waits, lost + 1);
        };
        let before = datagram.octets;
        lost += datagram.add(fragment);
        self.octets = self.octets + datagram.octets - before;
        let added = match datagram.whole() {
            None => Added::Waits,
            Some(whole) => {
                let fragments = datagram.fragments;
                self.forget(&key);
                match whole {
                    Ok(packet) => Added::Whole(packet),
                    Err(()) => {
                        lost += fragments;
                        Added::Waits
                    }
                }
            }
        };
        while self.octets > MOST_OCTETS {
            lost += self.forget_oldest();
        }
        (added, lost)
    }

    /// Datagrams that wait, and their octets.
    pub fn held(&self) -> (usize, usize) {
        (self.waiting.len(), self.octets)
    }

    fn forget_old(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        while self.order.front().is_some_and(|(begun, since, _)| {
            self.count - begun > MOST_AGE || now.duration_since(*since) > LONGEST_WAIT
        }) {
            lost += self.forget_oldest();
        }
        lost
    }

    fn forget_oldest(&mut self) -> u64 {
        let Some((_, _, key)) = self.order.pop_front() else {
            self.octets = 0;
            return 0;
        };
        let Some(datagram) = self.waiting.remove(&key) else {
            return 0;
        };
        self.octets -= datagram.octets;
        datagram.fragments
    }

    fn forget(&mut self, key: &Key) {
        self.order.retain(|(_, _, other)| other != key);
        if let Some(datagram) = self.waiting.remove(key) {
            self.octets -= datagram.octets;
        }
    }
}

impl Datagram {
    /// The number of fragments that are lost by that.
    fn add(&mut self, fragment: Fragment) -> u64 {
        let (start, end) = (fragment.offset, fragment.offset + fragment.payload.len());
        if self.refused {
            return 1;
        }
        if self
            .parts
            .get(&start)
            .is_some_and(|part| part == fragment.payload)
            && (fragment.more || self.length == Some(end))
        {
            // It came twice. The copy is lost, but nothing with it.
            return 0;
        }
        let before = self.parts.range(..end).next_back();
        let overlaps = before.is_some_and(|(at, part)| at + part.len() > start || *at >= start);
        let last = self
            .parts
            .last_key_value()
            .map_or(0, |(at, part)| at + part.len());
        let fits = match self.length {
            Some(length) => end <= length && (fragment.more || end == length),
            None => fragment.more || end >= last,
        };
        if overlaps || !fits {
            let lost = self.fragments + 1;
            *self = Datagram {
                refused: true,
                ..Datagram::default()
            };
            return lost;
        }
        if !fragment.more {
            self.length = Some(end);
        }
        if start == 0 {
            self.header = Some(fragment.header);
        }
        self.ecn |= 1 << fragment.ecn;
        self.octets += fragment.payload.len();
        self.fragments += 1;
        self.parts.insert(start, fragment.payload.to_vec());
        0
    }

    /// The whole packet if nothing is missing; an error if its parts do not go together.
    fn whole(&mut self) -> Option<Result<Vec<u8>, ()>> {
        if self.refused || self.length != Some(self.octets) {
            return None;
        }
        let mut packet = self.header.take()?;
        let header = packet.len();
        for part in self.parts.values() {
            packet.extend(part);
        }
        // RFC 3168, 5.3: congestion that one fragment met is the datagram's.
        let met = self.ecn & 1 << CE != 0;
        if packet.len() > LONGEST || met && self.ecn & 1 != 0 {
            return Some(Err(()));
        }
        let length = packet.len();
        if packet[0] >> 4 == 4 {
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            if met {
                packet[1] |= CE;
            }
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&packet[..header], 0));
            packet[10..12].copy_from_slice(&sum);
        } else {
            packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
            if met {
                packet[1] |= CE << 4;
            }
        }
        Some(Ok(packet))
    }
}

#[cfg(test)]
#[path = "reassembly_tests.rs"]
mod tests;
