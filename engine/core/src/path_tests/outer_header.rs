//! What the outer header tells: type of service, ECN, DF, and what to do when the path is too narrow.

use super::*;
use crate::checksum;
use crate::path_mtu::Paths;

#[test]
fn congestion_passes_as_rfc_6040_says() {
    // Inner, outer: what is delivered; None is dropped. RFC 6040, figure 4.
    for (inner, outer, delivered) in [
        (0, 0, Some(0)),
        (0, 2, Some(0)),
        (0, 1, Some(0)),
        (0, 3, None),
        (2, 0, Some(2)),
        (2, 2, Some(2)),
        (2, 1, Some(1)),
        (2, 3, Some(3)),
        (1, 0, Some(1)),
        (1, 2, Some(1)),
        (1, 1, Some(1)),
        (1, 3, Some(3)),
        (3, 0, Some(3)),
        (3, 2, Some(3)),
        (3, 1, Some(3)),
        (3, 3, Some(3)),
    ] {
        for version in [4, 6] {
            let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
            let mut octets = packet(version);
            if version == 4 {
                octets[1] = 0xb8 | inner;
                modes::identify(&mut octets[..20], 0);
            } else {
                octets[0] = 0x6b;
                octets[1] = 0x80 | inner << 4;
            }
            let (mut packets, _) = pair.seal(&octets);
            assert_eq!(
                packets[0].0.tos,
                0xb8 | inner,
                "both are copied on the way out"
            );
            packets[0].0.tos = outer;
            let found = pair
                .open(&packets)
                .first()
                .map(|one| crate::ecn::type_of_service(one));
            assert_eq!(
                found,
                delivered.map(|ecn: u8| 0xb8 | ecn),
                "{inner} in {outer}"
            );
            if let Some(one) = pair.inbound.inners.first() {
                assert_eq!(one.length, octets.len());
            }
        }
    }
}

#[test]
fn what_congestion_changes_makes_no_wrong_checksum_right() {
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    for (change, expected) in [(0, 0xffff), (0x0100, 0xfeff)] {
        let mut octets = packet(4);
        octets[1] = 1;
        modes::identify(&mut octets, 0);
        let sum = u16::from_be_bytes([octets[10], octets[11]]).wrapping_sub(change);
        octets[10..12].copy_from_slice(&sum.to_be_bytes());
        let before = checksum::fold(checksum::sum(&octets[..20], 0)).to_be();
        let (mut packets, _) = pair.seal(&octets);
        packets[0].0.tos |= 3;
        let delivered = pair.open(&packets);
        assert_eq!(delivered[0][1], 3);
        let after = checksum::fold(checksum::sum(&delivered[0][..20], 0)).to_be();
        assert_eq!((before, after), (expected, expected));
    }
}

#[test]
fn flags_of_an_sa_change_what_is_copied() {
    let make = |flags, extra_flags| {
        move || SaConfig {
            flags: XFRM_STATE_ESN | flags,
            extra_flags,
            ..config(Mode::Tunnel, 1, V4.0, V4.1)
        }
    };
    let marked = |tos: u8| {
        let mut octets = packet(4);
        octets[1] = tos;
        modes::identify(&mut octets[..20], 0);
        octets
    };
    let mut pair = Pair::new(vec![ends(make(0, XFRM_SA_XFLAG_DONT_ENCAP_DSCP))]);
    assert_eq!(pair.seal(&marked(0xba)).0[0].0.tos, 2);
    let mut pair = Pair::new(vec![ends(make(XFRM_STATE_NOECN, 0))]);
    let (mut packets, _) = pair.seal(&marked(0xba));
    assert_eq!(packets[0].0.tos, 0xb8);
    packets[0].0.tos = 3;
    assert_eq!(pair.open(&packets)[0][1], 0xba);
    let mut pair = Pair::new(vec![ends(make(XFRM_STATE_DECAP_DSCP, 0))]);
    let (mut packets, _) = pair.seal(&marked(0xba));
    packets[0].0.tos = 0x28;
    assert_eq!(pair.open(&packets)[0][1], 0x2a);
    for (flags, df) in [(0, true), (XFRM_STATE_NOPMTUDISC, false)] {
        let mut pair = Pair::new(vec![ends(make(flags, 0))]);
        assert_eq!(pair.seal(&packet(4)).0[0].0.df, df);
    }
    let mut pair = Pair::new(vec![ends(make(0, 0))]);
    let mut octets = packet(4);
    octets[6] = 0;
    modes::identify(&mut octets[..20], 0);
    assert!(!pair.seal(&octets).0[0].0.df);
}

#[test]
fn what_a_path_does_not_take_goes_back_to_its_sender() {
    for (outer, mtu, udp) in [(V4, 1400, false), (V4, 1401, true), (V6, 1500, true)] {
        let make = || SaConfig {
            encapsulation: if udp { IN_UDP } else { Encapsulation::Esp },
            ..config(Mode::Tunnel, 1, outer.0, outer.1)
        };
        let mut pair = Pair::new(vec![ends(make)]);
        pair.outbound
            .ask(Paths::new(Box::new(move |_, _| Some(mtu))));
        for version in [4, 6] {
            let (packets, answer) = pair.seal(&tcp(version, 1, 0x10, &[7; 1450]));
            assert!(packets.is_empty());
            let answer = answer.unwrap();
            let parsed = ip::parse(&answer).unwrap();
            let body = &answer[parsed.transport..];
            assert_eq!(body[..2], if version == 4 { [3, 4] } else { [2, 0] });
            let told = u32::from_be_bytes(body[4..8].try_into().unwrap()) as usize;
            let payload = |length: usize| length - if version == 4 { 52 } else { 72 };
            let overhead = if outer == V4 { 20 } else { 40 } + if udp { 8 } else { 0 };
            let (packets, _) = pair.seal(&tcp(version, 1, 0x10, &vec![7; payload(told)]));
            assert!(packets[0].1.len() + overhead <= mtu as usize);
            assert!(packets[0].1.len() + overhead > mtu as usize - 4);
            let (packets, answer) = pair.seal(&tcp(version, 1, 0x10, &vec![7; payload(told) + 1]));
            assert!(packets.is_empty() && answer.is_some());
        }
        let mut may_be_cut = tcp(4, 1, 0x10, &[7; 1450]);
        may_be_cut[6] = 0;
        modes::identify(&mut may_be_cut, 9);
        let (packets, answer) = pair.seal(&may_be_cut);
        assert_eq!((packets.len(), answer), (1, None));
        assert!(!packets[0].0.df);
    }
    // IPv6 must take 1280 octets: they are cut outside.
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    pair.outbound.ask(Paths::new(Box::new(|_, _| Some(1000))));
    let (packets, answer) = pair.seal(&tcp(6, 1, 0x10, &[7; 1280 - 72]));
    assert_eq!((packets.len(), answer), (1, None));
    let (packets, answer) = pair.seal(&tcp(6, 1, 0x10, &[7; 1281 - 72]));
    assert!(packets.is_empty());
    assert_eq!(answer.unwrap()[44..48], 1280u32.to_be_bytes());
    assert_eq!(pair.drops(), []);
}
