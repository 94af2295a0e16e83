//! What one side seals the other delivers, in every mode and family, and nothing else.

use super::*;
use crate::modes::BEETPH;
use crate::netlink::xfrm::{AF_INET, AF_INET6};

#[test]
fn a_tunnel_carries_both_families_over_both() {
    for outer in [V4, V6] {
        for version in [4, 6] {
            let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, outer.0, outer.1))]);
            let inner = packet(version);
            assert_eq!(
                pair.through(&inner),
                [inner.as_slice()],
                "IPv{version} over {outer:?}"
            );
            assert_eq!(pair.drops(), []);
            let (there, here) = &pair.sas[0];
            // What stands in the skb when `xfrm_output_one` and `xfrm_input` count it.
            assert_eq!(there.state.octets.load(Relaxed), inner.len() as u64);
            assert_eq!(here.state.octets.load(Relaxed), inner.len() as u64);
        }
    }
}

#[test]
fn transport_mode_keeps_the_addresses_and_the_hop_limit() {
    for version in [4, 6] {
        let addresses = addresses(version);
        for udp in [false, true] {
            let make = || SaConfig {
                encapsulation: if udp { IN_UDP } else { Encapsulation::Esp },
                ..config(Mode::Transport, 1, addresses.0, addresses.1)
            };
            let mut pair = Pair::new(vec![ends(make)]);
            let inner = packet(version);
            let (packets, _) = pair.seal(&inner);
            assert_eq!(packets[0].0.hop_limit, 33);
            assert_eq!(packets[0].0.destination, address(addresses.1));
            assert_eq!(pair.open(&packets), [inner]);
            assert_eq!(pair.drops(), []);
        }
    }
}

#[test]
fn a_nat_on_the_way_spoils_no_checksum_in_transport_mode() {
    let (there, _) = ends(|| SaConfig {
        encapsulation: IN_UDP,
        ..config(Mode::Transport, 1, "10.1.0.1", "10.2.0.2")
    });
    let (_, here) = ends(|| SaConfig {
        encapsulation: IN_UDP,
        ..config(Mode::Transport, 1, "203.0.113.9", "10.2.0.2")
    });
    let mut pair = Pair::new(vec![(there, here)]);
    let (mut packets, _) = pair.seal(&packet(4));
    packets[0].0.source = address("203.0.113.9");
    let delivered = pair.open(&packets);
    let parsed = ip::parse(&delivered[0]).unwrap();
    assert_eq!(parsed.flow.source, address("203.0.113.9"));
    let segment = &delivered[0][20..];
    let pseudo = crate::checksum::pseudo_header(&delivered[0][12..20], &[], ip::TCP, segment.len());
    assert_eq!(
        crate::checksum::fold(crate::checksum::sum(segment, pseudo)),
        0xffff
    );
}

#[test]
fn beet_mode_knows_the_inner_addresses() {
    for outer in [V4, V6] {
        for version in [4, 6] {
            let inner = addresses(version);
            let make = || SaConfig {
                selector: policy(address(inner.0), address(inner.1)).selector.into(),
                selector_family: if version == 4 { AF_INET } else { AF_INET6 },
                ..config(Mode::Beet, 1, outer.0, outer.1)
            };
            let mut pair = Pair::new(vec![ends(make)]);
            let octets = packet(version);
            let (packets, _) = pair.seal(&octets);
            assert_eq!(packets[0].0.destination, address(outer.1));
            let mut delivered = pair.open(&packets);
            if version == 4 && outer == V6 {
                // The header is made from what an IPv6 header tells.
                delivered[0][6] = octets[6];
                modes::identify(&mut delivered[0], 0);
            }
            assert_eq!(delivered, [octets]);
        }
    }
}

#[test]
fn beet_mode_carries_options_behind_a_pseudo_header() {
    for options in [4, 8, 12, 40] {
        let make = || SaConfig {
            selector: policy(address("10.1.0.1"), address("10.2.0.2"))
                .selector
                .into(),
            selector_family: AF_INET,
            ..config(Mode::Beet, 1, V4.0, V4.1)
        };
        let mut pair = Pair::new(vec![ends(make)]);
        let plain = packet(4);
        let mut octets = plain[..20].to_vec();
        octets.extend((0..options).map(|n| if n == 0 { 0x94 } else { n as u8 }));
        octets.extend(&plain[20..]);
        octets[0] = 0x45 + options as u8 / 4;
        let length = octets.len() as u16;
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        let (head, _) = octets.split_at_mut(20 + options);
        modes::identify(head, 0);
        assert_eq!(
            pair.through(&octets),
            [octets.as_slice()],
            "{options} octets"
        );
        assert_eq!(pair.drops(), []);
    }
    let (sa, _) = ends(|| config(Mode::Beet, 1, V4.0, V4.1));
    let received = Received {
        start: 0,
        length: 0,
        source: address(V4.0),
        source_port: 0,
        destination: address(V4.1),
        tos: 0,
        hop_limit: 64,
        identification: 0,
        df: true,
        encapsulated: false,
    };
    for hostile in [
        &[][..],
        &[6, 200, 4, 0],
        &[6, 0, 255, 0],
        &[6, 4, 4, 0, 1, 1, 1, 1],
    ] {
        assert_eq!(
            modes::beet_header(&sa, BEETPH, hostile, &received),
            Err(DropReason::InStateModeError)
        );
    }
}

#[test]
fn traffic_flow_padding_makes_packets_alike() {
    let make = || SaConfig {
        tfc_padding: 1000,
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    };
    let mut pair = Pair::new(vec![ends(make)]);
    let mut lengths = Vec::new();
    for size in [1, 100, 700] {
        let octets = tcp(4, 1, 0x10, &vec![5; size]);
        let (packets, _) = pair.seal(&octets);
        lengths.push(packets[0].1.len());
        assert_eq!(pair.open(&packets), [octets]);
    }
    assert_eq!(lengths, [lengths[0]; 3]);
}

#[test]
fn what_was_changed_on_the_way_is_never_delivered() {
    for mode in [Mode::Tunnel, Mode::Transport, Mode::Beet] {
        let inner = ("10.1.0.1", "10.2.0.2");
        let outer = if mode == Mode::Transport { inner } else { V4 };
        let make = || SaConfig {
            selector: policy(address(inner.0), address(inner.1)).selector.into(),
            selector_family: AF_INET,
            ..config(mode, 1, outer.0, outer.1)
        };
        let mut pair = Pair::new(vec![ends(make)]);
        let (packets, _) = pair.seal(&packet(4));
        for at in 0..packets[0].1.len() {
            let mut changed = packets.clone();
            changed[0].1[at] ^= 0x40;
            assert!(pair.open(&changed).is_empty(), "octet {at}");
            let mut short = packets.clone();
            short[0].1.truncate(at);
            assert!(pair.open(&short).is_empty(), "{at} octets");
        }
        assert_eq!(pair.open(&packets).len(), 1);
        assert!(pair.open(&packets).is_empty(), "it came a second time");
    }
}
