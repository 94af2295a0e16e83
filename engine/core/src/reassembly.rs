//! Fragments put together again, before a mode that carries no fragments.
//!
//! RFC 791, 3.2 and RFC 8200, 4.5, bounded: so many datagrams, so many octets, and no datagram that
//! waits for longer than so many fragments took to come. The same fragment may come twice; any other
//! overlap ends its datagram, with all that still comes of it (RFC 5722, 3; for IPv4 as well, as
//! `inet_frag_queue_insert()` does).

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::checksum;

/// Datagrams that wait for fragments, and octets of them.
pub const MOST_DATAGRAMS: usize = 64;
pub const MOST_OCTETS: usize = 1 << 20;
/// Fragments of others that may come while one waits.
pub const MOST_AGE: u64 = 1024;
const LONGEST: usize = 65_535;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MOST_EXTENSIONS: usize = 8;
const CE: u8 = 3;

/// What a fragment led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// Others are awaited, or the fragment was lost.
    Waits,
    Whole(Vec<u8>),
}

/// What the fragments of one datagram have in common: addresses, identification, protocol (RFC 791;
/// 0 for IPv6, whose fragments may differ in it).
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    addresses: Vec<u8>,
    identification: u32,
    protocol: u8,
}

/// One fragment, taken apart.
struct Fragment<'a> {
    key: Key,
    /// IP header with what stands before the fragment header, whose place is filled.
    header: Vec<u8>,
    offset: usize,
    more: bool,
    ecn: u8,
    payload: &'a [u8],
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
    /// Oldest first, with the count of fragments at which they began.
    order: VecDeque<(u64, Key)>,
    octets: usize,
    count: u64,
}

impl Reassembly {
    /// Takes a fragment; also gives the number of fragments that are lost by that, of whatever
    /// datagram.
    pub fn add(&mut self, packet: &[u8]) -> (Added, u64) {
        self.count += 1;
        let mut lost = self.forget_old();
        let Some(fragment) = Fragment::parse(packet) else {
            return (Added::Waits, lost + 1);
        };
        if !self.waiting.contains_key(&fragment.key) {
            if self.waiting.len() == MOST_DATAGRAMS {
                lost += self.forget_oldest();
            }
            self.order.push_back((self.count, fragment.key.clone()));
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

    fn forget_old(&mut self) -> u64 {
        let mut lost = 0;
        while matches!(self.order.front(), Some((begun, _)) if self.count - begun > MOST_AGE) {
            lost += self.forget_oldest();
        }
        lost
    }

    fn forget_oldest(&mut self) -> u64 {
        let Some((_, key)) = self.order.pop_front() else {
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
        self.order.retain(|(_, other)| other != key);
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

impl<'a> Fragment<'a> {
    fn parse(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fragment = match packet.first()? >> 4 {
            4 => Fragment::parse_v4(packet)?,
            6 => Fragment::parse_v6(packet)?,
            _ => return None,
        };
        let length = fragment.payload.len();
        // Only the last may have a length that is no multiple of 8, and none may reach too far.
        let fits = fragment.offset + length <= LONGEST;
        (length > 0 && fits && (!fragment.more || length % 8 == 0)).then_some(fragment)
    }

    fn parse_v4(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fixed = packet.get(..20)?;
        let header = usize::from(fixed[0] & 15) * 4;
        let place = u16::from_be_bytes([fixed[6], fixed[7]]);
        let mut whole = packet.get(..header).filter(|_| header >= 20)?.to_vec();
        whole[6..8].fill(0);
        Some(Fragment {
            key: Key {
                addresses: fixed[12..20].to_vec(),
                identification: u32::from(u16::from_be_bytes([fixed[4], fixed[5]])),
                protocol: fixed[9],
            },
            header: whole,
            offset: usize::from(place & 0x1fff) * 8,
            more: place & 0x2000 != 0,
            ecn: fixed[1] & 3,
            payload: &packet[header..],
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Option<Fragment<'a>> {
        let fixed = packet.get(..40)?;
        // Where the next header is told, and where it begins.
        let (mut told, mut at) = (6, 40);
        for _ in 0..MOST_EXTENSIONS {
            match *packet.get(told)? {
                FRAGMENT => {
                    let [next, _, high, low, a, b, c, d] =
                        <[u8; 8]>::try_from(packet.get(at..at + 8)?).ok()?;
                    let place = u16::from_be_bytes([high, low]);
                    let mut header = packet[..at].to_vec();
                    header[told] = next;
                    return Some(Fragment {
                        key: Key {
                            addresses: fixed[8..40].to_vec(),
                            identification: u32::from_be_bytes([a, b, c, d]),
                            protocol: 0,
                        },
                        header,
                        offset: usize::from(place & 0xfff8),
                        more: place & 1 != 0,
                        ecn: fixed[1] >> 4 & 3,
                        payload: &packet[at + 8..],
                    });
                }
                HOP_BY_HOP | ROUTING | DESTINATION => {
                    told = at;
                    at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ip;
    use crate::offload::segment::tests::tcp;

    const UDP: u8 = 17;

    /// A datagram of IPv4 or IPv6, or a fragment of it.
    fn packet(version: u8, id: u8, place: Option<(usize, bool)>, tos: u8, body: &[u8]) -> Vec<u8> {
        let (offset, more) = place.unwrap_or((0, false));
        if version == 4 {
            let mut header = vec![0x45, tos];
            header.extend((20 + body.len() as u16).to_be_bytes());
            header.extend([0, id]);
            header.extend(((offset as u16 / 8) | (u16::from(more) << 13)).to_be_bytes());
            header.extend([64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            let sum = checksum::finish(checksum::sum(&header, 0));
            header[10..12].copy_from_slice(&sum);
            header.extend(body);
            return header;
        }
        let mut header = vec![0x60 | tos >> 4, tos << 4, 0, 0];
        let extension = if place.is_some() { 8 } else { 0 };
        header.extend((body.len() as u16 + extension).to_be_bytes());
        header.extend([if place.is_some() { FRAGMENT } else { UDP }, 64]);
        header.extend([0x11; 16]);
        header.extend([0x22; 16]);
        if place.is_some() {
            header.extend([UDP, 0]);
            header.extend((offset as u16 | u16::from(more)).to_be_bytes());
            header.extend([0, 0, 0, id]);
        }
        header.extend(body);
        header
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % limit
        }
    }

    /// Datagrams cut at random and shuffled with copies come out whole; with one fragment moved so
    /// that it overlaps they never do.
    #[test]
    fn random_fragments_against_the_datagram_they_were_cut_from() {
        let mut random = Random(11);
        for round in 0..4000 {
            let version = if round % 2 == 0 { 4 } else { 6 };
            let units = 2 + random.below(40);
            let length = units * 8 + random.below(8);
            let body: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            let mut cuts: BTreeSet<usize> = (0..1 + random.below(6))
                .map(|_| 8 * (1 + random.below(units - 1)))
                .collect();
            cuts.insert(0);
            let cuts: Vec<usize> = cuts.into_iter().chain([length]).collect();
            let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
            let hostile = round % 5 == 0;
            if hostile {
                // A piece that is longer at its start than one that is there, or ends inside it.
                let (start, end) = pieces[random.below(pieces.len())];
                let other = if end - start > 8 {
                    (start, start + 8)
                } else if start >= 8 {
                    (start - 8, end)
                } else {
                    (start, 8 * units)
                };
                if other == (start, end) || pieces.contains(&other) {
                    continue;
                }
                pieces.push(other);
            }
            for _ in 0..random.below(3) {
                pieces.push(pieces[random.below(pieces.len())]);
            }
            for at in (1..pieces.len()).rev() {
                pieces.swap(at, random.below(at + 1));
            }
            let mut reassembly = Reassembly::default();
            let mut seen = BTreeSet::new();
            let mut whole = None;
            for (start, end) in pieces {
                let place = Some((start, end != length));
                let fragment = packet(version, 7, place, 0, &body[start..end]);
                let (added, _) = reassembly.add(&fragment);
                seen.insert((start, end));
                if let Added::Whole(datagram) = added {
                    assert!(whole.is_none());
                    whole = Some(datagram);
                    break;
                }
            }
            match whole {
                // It may have been whole before the hostile piece came.
                Some(datagram) => {
                    assert_eq!(datagram, packet(version, 7, None, 0, &body));
                    assert_eq!(reassembly.held(), (0, 0));
                    let mut end = 0;
                    for (from, to) in seen {
                        assert_eq!(from, end, "an overlap was let in");
                        end = to;
                    }
                }
                None => assert!(hostile),
            }
        }
    }

    #[test]
    fn after_an_overlap_nothing_comes_of_the_datagram() {
        for version in [4, 6] {
            let mut reassembly = Reassembly::default();
            let body = [1; 32];
            let mut add = |start: usize, end: usize| {
                reassembly.add(&packet(
                    version,
                    1,
                    Some((start, end != 32)),
                    0,
                    &body[start..end],
                ))
            };
            assert_eq!(add(0, 16), (Added::Waits, 0));
            assert_eq!(add(8, 24), (Added::Waits, 2));
            for (start, end) in [(0, 16), (16, 32), (24, 32)] {
                assert_eq!(add(start, end), (Added::Waits, 1));
            }
        }
    }

    #[test]
    fn a_copy_with_other_octets_and_a_second_end_are_refused() {
        let mut reassembly = Reassembly::default();
        let mut add = |id, start, more, body: &[u8]| {
            reassembly
                .add(&packet(4, id, Some((start, more)), 0, body))
                .1
        };
        assert_eq!(add(1, 0, true, &[1; 8]), 0);
        assert_eq!(add(1, 0, true, &[1; 8]), 0);
        assert_eq!(add(1, 0, true, &[2; 8]), 2);
        assert_eq!(add(2, 16, false, &[1; 4]), 0);
        assert_eq!(add(2, 8, false, &[1; 8]), 2);
        assert_eq!(add(3, 8, false, &[1; 8]), 0);
        assert_eq!(add(3, 24, true, &[1; 8]), 2);
        assert_eq!(add(4, 24, true, &[1; 8]), 0);
        assert_eq!(add(4, 0, false, &[1; 8]), 2);
    }

    #[test]
    fn what_is_no_fragment_is_lost() {
        let mut reassembly = Reassembly::default();
        for refused in [
            tcp(6, 1, 0, b"x"),
            packet(4, 1, Some((0, true)), 0, &[1; 12]),
            packet(4, 1, Some((65_528, false)), 0, &[1; 8]),
            packet(4, 1, Some((8, false)), 0, &[]),
            vec![],
            vec![0x45; 9],
            packet(6, 1, Some((0, true)), 0, &[1; 8])[..47].to_vec(),
        ] {
            assert_eq!(reassembly.add(&refused), (Added::Waits, 1), "{refused:?}");
        }
        assert_eq!(reassembly.held(), (0, 0));
    }

    #[test]
    fn congestion_of_one_fragment_is_that_of_the_datagram() {
        for version in [4, 6] {
            for (first, second, expected) in [
                (0, 0, Some(0)),
                (2, 2, Some(2)),
                (2, 3, Some(3)),
                (3, 1, Some(3)),
                (0, 3, None),
                (3, 0, None),
            ] {
                let mut reassembly = Reassembly::default();
                reassembly.add(&packet(version, 1, Some((0, true)), first, &[1; 8]));
                let second = packet(version, 1, Some((8, false)), second, &[1; 8]);
                match (reassembly.add(&second), expected) {
                    ((Added::Waits, 2), None) => {}
                    ((Added::Whole(datagram), 0), Some(tos)) => {
                        assert_eq!(ip::parse(&datagram).unwrap().tos, tos);
                        assert_eq!(datagram, packet(version, 1, None, tos, &[1; 16]));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn endless_fragments_take_no_more_room_than_there_is() {
        let mut reassembly = Reassembly::default();
        let (mut came, mut lost) = (0, 0);
        for n in 0..3000usize {
            let mut fragment = packet(4, 0, Some((8 * (n % 3), true)), 0, &[1; 32_000]);
            fragment[4..6].copy_from_slice(&(n as u16 / 2).to_be_bytes());
            came += 1;
            lost += reassembly.add(&fragment).1;
            let (datagrams, octets) = reassembly.held();
            assert!(datagrams <= MOST_DATAGRAMS && octets <= MOST_OCTETS);
        }
        assert!(came - lost <= MOST_DATAGRAMS as u64);
    }

    #[test]
    fn a_datagram_that_others_overtake_for_long_is_forgotten() {
        let mut reassembly = Reassembly::default();
        let half = |id, start| packet(4, id, Some((start, start == 0)), 0, &[1; 8]);
        reassembly.add(&half(1, 0));
        for n in 0..MOST_AGE {
            let (added, lost) = reassembly.add(&half(2, if n % 2 == 0 { 0 } else { 8 }));
            assert_eq!(lost, 0);
            assert_eq!(matches!(added, Added::Whole(_)), n % 2 == 1);
        }
        assert_eq!(reassembly.held().0, 1);
        assert_eq!(reassembly.add(&half(1, 8)), (Added::Waits, 1));
        assert_eq!(reassembly.held(), (1, 8));
    }
}
