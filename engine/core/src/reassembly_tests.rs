//! Fragments against the datagrams that they were cut from.

use std::collections::BTreeSet;

use std::sync::LazyLock;

use super::*;
use crate::fragment::FRAGMENT;
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

/// When all of a test happens.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

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
            let (added, _) = reassembly.add(&fragment, *START);
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
            reassembly.add(
                &packet(version, 1, Some((start, end != 32)), 0, &body[start..end]),
                *START,
            )
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
            .add(&packet(4, id, Some((start, more)), 0, body), *START)
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
        assert_eq!(
            reassembly.add(&refused, *START),
            (Added::Waits, 1),
            "{refused:?}"
        );
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
            reassembly.add(&packet(version, 1, Some((0, true)), first, &[1; 8]), *START);
            let second = packet(version, 1, Some((8, false)), second, &[1; 8]);
            match (reassembly.add(&second, *START), expected) {
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
        lost += reassembly.add(&fragment, *START).1;
        let (datagrams, octets) = reassembly.held();
        assert!(datagrams <= MOST_DATAGRAMS && octets <= MOST_OCTETS);
    }
    assert!(came - lost <= MOST_DATAGRAMS as u64);
}

#[test]
fn a_datagram_that_others_overtake_for_long_is_forgotten() {
    let mut reassembly = Reassembly::default();
    let half = |id, start| packet(4, id, Some((start, start == 0)), 0, &[1; 8]);
    reassembly.add(&half(1, 0), *START);
    for n in 0..MOST_AGE {
        let (added, lost) = reassembly.add(&half(2, if n % 2 == 0 { 0 } else { 8 }), *START);
        assert_eq!(lost, 0);
        assert_eq!(matches!(added, Added::Whole(_)), n % 2 == 1);
    }
    assert_eq!(reassembly.held().0, 1);
    assert_eq!(reassembly.add(&half(1, 8), *START), (Added::Waits, 1));
    assert_eq!(reassembly.held(), (1, 8));
}

/// Its identification may be that of another by then (RFC 791, 3.2).
#[test]
fn half_a_datagram_is_forgotten_in_time() {
    let mut reassembly = Reassembly::default();
    let half = |start| packet(4, 1, Some((start, start == 0)), 0, &[1; 8]);
    assert_eq!(reassembly.add(&half(0), *START), (Added::Waits, 0));
    let late = *START + LONGEST_WAIT;
    assert_eq!(reassembly.add(&half(0), late), (Added::Waits, 0));
    let too_late = late + Duration::from_millis(1);
    assert_eq!(reassembly.add(&half(8), too_late), (Added::Waits, 1));
    assert_eq!(reassembly.held(), (1, 8));
    assert!(matches!(
        reassembly.add(&half(0), too_late),
        (Added::Whole(_), 0)
    ));
}
