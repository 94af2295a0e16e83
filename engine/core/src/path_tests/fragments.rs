//! Fragments before a mode that carries none.

use super::*;
use crate::netlink::xfrm::AF_INET6;
use crate::reassembly::MOST_DATAGRAMS;

/// The payload of a packet in two fragments of it, the second from `cut` on.
fn fragments(octets: &[u8], cut: usize, id: u8) -> [Vec<u8>; 2] {
    let v4 = octets[0] >> 4 == 4;
    let header = if v4 { 20 } else { 40 };
    let piece = |offset: usize, end: usize, more: bool| {
        let body = &octets[header + offset..header + end];
        let mut piece = octets[..header].to_vec();
        if v4 {
            piece[2..4].copy_from_slice(&(20 + body.len() as u16).to_be_bytes());
            let place = (offset as u16 / 8) | (u16::from(more) << 13);
            piece[6..8].copy_from_slice(&place.to_be_bytes());
            modes::identify(&mut piece, u16::from(id));
        } else {
            piece[4..6].copy_from_slice(&(8 + body.len() as u16).to_be_bytes());
            piece[6] = 44;
            piece.extend([octets[6], 0]);
            piece.extend((offset as u16 | u16::from(more)).to_be_bytes());
            piece.extend([0, 0, 0, id]);
        }
        piece.extend(body);
        piece
    };
    [
        piece(0, cut, true),
        piece(cut, octets.len() - header, false),
    ]
}

fn transport(version: u8) -> Pair {
    let (source, destination) = addresses(version);
    Pair::new(vec![ends(|| {
        config(Mode::Transport, 1, source, destination)
    })])
}

#[test]
fn transport_mode_takes_the_datagram_that_they_are_of() {
    for version in [4, 6] {
        for order in [[0, 1], [1, 0]] {
            let mut pair = transport(version);
            let mut whole = packet(version);
            let pieces = fragments(&whole, 24, 5);
            assert_eq!(pair.seal(&pieces[order[0]]).0.len(), 0);
            let (packets, answer) = pair.seal(&pieces[order[1]]);
            assert_eq!((packets.len(), answer), (1, None));
            if version == 4 {
                // It was cut, so it may be cut.
                whole[6] = 0;
                modes::identify(&mut whole, 0);
            }
            assert_eq!(pair.open(&packets), [whole]);
            assert_eq!(pair.drops(), []);
        }
    }
}

#[test]
fn tunnel_mode_carries_them_as_they_are() {
    for version in [4, 6] {
        let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
        for piece in fragments(&packet(version), 16, 5) {
            assert_eq!(pair.through(&piece), [piece.as_slice()]);
        }
    }
}

#[test]
fn beet_mode_carries_a_fragment_header_of_ipv6() {
    let (source, destination) = addresses(6);
    let make = || SaConfig {
        selector: policy(address(source), address(destination))
            .selector
            .into(),
        selector_family: AF_INET6,
        ..config(Mode::Beet, 1, V6.0, V6.1)
    };
    let mut pair = Pair::new(vec![ends(make)]);
    for piece in fragments(&packet(6), 16, 5) {
        assert_eq!(pair.through(&piece), [piece.as_slice()]);
    }
}

#[test]
fn overlaps_and_endless_fragments_are_refused_and_counted() {
    for version in [4, 6] {
        let mut pair = transport(version);
        let whole = packet(version);
        let [first, _] = fragments(&whole, 16, 5);
        let [longer, rest] = fragments(&whole, 24, 5);
        for piece in [&first, &longer, &rest] {
            assert_eq!(pair.seal(piece), (vec![], None));
        }
        assert_eq!(pair.drops(), [(DropReason::OutStateModeError, 3)]);
        for n in 0..=255u8 {
            let [first, _] = fragments(&whole, 16, n);
            pair.seal(&first);
        }
        let lost = pair.stat.get(DropReason::OutStateModeError) - 3;
        let dropped = pair.device.stats.tx_dropped.load(Relaxed) - 3;
        assert_eq!((lost, dropped), (dropped, lost));
        // That of number 5 had no room in memory: it was refused for good before.
        assert!(lost >= 255 - MOST_DATAGRAMS as u64);
    }
}

#[test]
fn headers_that_belong_before_esp_are_refused() {
    let plain = packet(4);
    let mut options = plain[..20].to_vec();
    options[0] = 0x46;
    let length = plain.len() as u16 + 4;
    options[2..4].copy_from_slice(&length.to_be_bytes());
    options.extend([1, 1, 1, 0]);
    modes::identify(&mut options, 0);
    options.extend(&plain[20..]);
    let plain = packet(6);
    let extended = |kind: u8| {
        let mut octets = plain[..40].to_vec();
        octets[4..6].copy_from_slice(&(plain.len() as u16 - 40 + 8).to_be_bytes());
        octets[6] = kind;
        octets.extend([ip::TCP, 0, 1, 4, 0, 0, 0, 0]);
        octets.extend(&plain[40..]);
        octets
    };
    for (version, octets, passes) in [
        (4, options, false),
        (6, extended(0), false),
        (6, extended(43), false),
        // Destination options travel inside.
        (6, extended(60), true),
    ] {
        let mut pair = transport(version);
        let delivered = pair.through(&octets);
        assert_eq!(delivered.len(), usize::from(passes));
        if passes {
            assert_eq!(delivered, [octets]);
        } else {
            assert_eq!(pair.drops(), [(DropReason::OutStateModeError, 1)]);
        }
    }
}
