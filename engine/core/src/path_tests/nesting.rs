//! Packets in packets: what was verified on the way in, and in which order they come.

use super::*;
use crate::checksum;
use crate::path_mtu::Paths;
use crate::policy::Action;

/// Tunnels one in another, the outermost last.
fn nested(depth: u32) -> Vec<(Arc<Sa>, Arc<Sa>)> {
    (1..=depth)
        .map(|n| {
            ends(|| {
                config(
                    Mode::Tunnel,
                    n,
                    &format!("192.0.{n}.1"),
                    &format!("192.0.{n}.2"),
                )
            })
        })
        .collect()
}

/// Policies of one if_id, instead of those of the pair.
fn policies_of(if_id: u32, direction: Direction, templates: &[Template]) -> Vec<Arc<Policy>> {
    policies(direction, templates)
        .iter()
        .map(|one| {
            Arc::new(Policy {
                if_id,
                ..Policy::clone(one)
            })
        })
        .collect()
}

/// A tunnel of interface 8 inside one of interface 7, as a receiver sees it.
fn two_interfaces() -> Pair {
    let inner = || SaConfig {
        if_id: 8,
        ..config(Mode::Tunnel, 1, "192.0.1.1", "192.0.1.2")
    };
    let outer = || config(Mode::Tunnel, 2, V4.0, V4.1);
    let (inner_there, inner_here) = ends(|| SaConfig {
        if_id: IF_ID,
        ..inner()
    });
    let (outer_there, outer_here) = ends(outer);
    let (_, inner_here_8) = ends(inner);
    let sas = vec![(inner_there, inner_here), (outer_there, outer_here)];
    let mut pair = Pair::new(sas);
    let old = Arc::clone(&pair.sas[0].1);
    pair.receiver.remove_sa(&old);
    pair.receiver.insert_sa(&inner_here_8);
    pair.receiver.clear_policies();
    pair.receiver.insert_device(&Arc::new(Device {
        name: "ipsec8".into(),
        if_id: 8,
        ifindex: 2,
        mtu: AtomicU32::new(1400),
        attached: AtomicBool::new(true),
        queues: Vec::new(),
        stats: Arc::default(),
    }));
    for one in policies_of(8, Direction::In, &[template(&inner_here_8)]) {
        pair.receiver.insert_policy(&one);
    }
    pair
}

fn outer_policy(pair: &mut Pair, action: Action) {
    let outer = template(&pair.sas[1].1);
    let one = policy(address("192.0.1.1"), address("192.0.1.2"));
    pair.receiver.insert_policy(&Arc::new(Policy {
        direction: Direction::In,
        if_id: IF_ID,
        action,
        templates: vec![outer],
        ..one
    }));
}

#[test]
fn each_interface_verifies_its_own_tunnel() {
    let mut pair = two_interfaces();
    outer_policy(&mut pair, Action::Allow);
    assert_eq!(pair.through(&packet(4)), [packet(4)]);
    assert_eq!(pair.inbound.devices[pair.inbound.inners[0].device].if_id, 8);
    assert_eq!(pair.drops(), []);
    // What came out of the outer tunnel was received by its device.
    assert_eq!(pair.device.stats.rx_packets.load(Relaxed), 1);
}

#[test]
fn a_tunnel_that_nobody_verified_is_refused_at_last() {
    let mut pair = two_interfaces();
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InTmplMismatch, 1)]);
    let mut pair = two_interfaces();
    outer_policy(&mut pair, Action::Block);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InPolBlock, 1)]);
}

#[test]
fn nested_packets_keep_their_order() {
    for depth in [2, 3, 6] {
        let mut pair = Pair::new(nested(depth));
        let mut packets = Vec::new();
        let mut sent = Vec::new();
        for n in 0..20u8 {
            let octets = tcp(4, u32::from(n), 0x10, &[n; 30]);
            packets.extend(pair.seal(&octets).0);
            sent.push(octets);
        }
        assert_eq!(pair.open(&packets), sent, "{depth} deep");
    }
}

#[test]
fn transport_in_transport_is_opened_at_once() {
    let (source, destination) = addresses(4);
    let sas = || {
        [1, 2]
            .map(|n| ends(|| config(Mode::Transport, n, source, destination)))
            .to_vec()
    };
    let mut pair = Pair::new(sas());
    assert_eq!(pair.through(&packet(4)), [packet(4)]);
    assert_eq!(pair.drops(), []);
    // The inner SA is not there: no device counts what `xfrm_input` does not find.
    let mut pair = Pair::new(sas());
    let inner = Arc::clone(&pair.sas[0].1);
    pair.receiver.remove_sa(&inner);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InNoStates, 1)]);
    assert_eq!(pair.device.stats.rx_errors.load(Relaxed), 0);
}

#[test]
fn esp_in_udp_in_a_tunnel_goes_on() {
    let sas = vec![
        ends(|| SaConfig {
            encapsulation: IN_UDP,
            ..config(Mode::Tunnel, 1, "192.0.1.1", "192.0.1.2")
        }),
        ends(|| config(Mode::Tunnel, 2, V6.0, V6.1)),
    ];
    let mut pair = Pair::new(sas);
    assert_eq!(pair.through(&packet(6)), [packet(6)]);
    assert_eq!(pair.drops(), []);
}

/// A host drops UDP of IPv6 without a checksum (RFC 8200, 8.1), a kernel that opens the outer SA too.
#[test]
fn esp_in_udp_of_ipv6_has_a_checksum_in_a_tunnel() {
    let sas = vec![
        ends(|| SaConfig {
            encapsulation: IN_UDP,
            ..config(Mode::Tunnel, 1, V6.0, V6.1)
        }),
        ends(|| config(Mode::Tunnel, 2, V4.0, V4.1)),
    ];
    let out: Vec<Template> = sas.iter().map(|(sa, _)| template(sa)).collect();
    let mut pair = Pair::with(sas, &out, &out[1..]);
    let inner = Arc::clone(&pair.sas[0].1);
    pair.receiver.remove_sa(&inner);
    let delivered = pair.through(&packet(4));
    let [octets] = delivered.as_slice() else {
        panic!("{:?}", pair.drops());
    };
    let udp = &octets[40..];
    let pseudo = checksum::pseudo_header(&octets[8..24], &octets[24..40], ip::UDP, udp.len());
    assert_ne!(udp[6..8], [0, 0]);
    assert_eq!(checksum::fold(checksum::sum(udp, pseudo)), 0xffff);
}

#[test]
fn esp_on_its_way_to_another_is_a_packet_like_others() {
    // The receiver also sends by an SA to the address and SPI that the inner packet has.
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    let (own, _) = ends(|| SaConfig {
        direction: Some(SaDirection::Out),
        spi: 0x0a0b_0c0d,
        ..config(Mode::Tunnel, 9, V4.1, "10.2.0.2")
    });
    pair.receiver.insert_sa(&own);
    let mut inner = packet(4);
    inner[9] = ip::ESP;
    inner[20..24].copy_from_slice(&[10, 11, 12, 13]);
    modes::identify(&mut inner, 0);
    assert_eq!(pair.through(&inner), [inner.as_slice()]);
    assert_eq!(pair.drops(), []);
}

#[test]
fn transport_inside_a_tunnel_is_one_policy_with_two_templates() {
    let sas = vec![
        ends(|| config(Mode::Transport, 1, "10.1.0.1", "10.2.0.2")),
        ends(|| config(Mode::Tunnel, 2, V4.0, V4.1)),
    ];
    let templates: Vec<Template> = sas.iter().map(|(sa, _)| template(sa)).collect();
    let mut pair = Pair::with(sas, &templates, &templates);
    let (packets, _) = pair.seal(&packet(4));
    assert_eq!(packets[0].0.destination, address(V4.1));
    assert_eq!(pair.open(&packets), [packet(4)]);
    assert_eq!(pair.drops(), []);
    let only_outer = templates[1..].to_vec();
    let mut pair = Pair::with(pair.sas, &templates, &only_outer);
    let (packets, _) = pair.seal(&packet(4));
    // A leftover of transport mode is no reason to refuse (`secpath_has_nontransport`).
    assert_eq!(pair.open(&packets), [packet(4)]);
}

#[test]
fn tunnels_in_tunnels_up_to_six() {
    for depth in 2..=6 {
        let mut pair = Pair::new(nested(depth));
        assert_eq!(pair.through(&packet(4)), [packet(4)], "{depth} deep");
        assert_eq!(pair.drops(), []);
    }
    let mut pair = Pair::new(nested(7));
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InBufferError, 1)]);
}

#[test]
fn a_tunnel_that_the_policy_does_not_know_is_refused() {
    let sas = nested(2);
    let templates: Vec<Template> = sas.iter().map(|(sa, _)| template(sa)).collect();
    for inward in [&templates[..1], &templates[1..], &[]] {
        let mut pair = Pair::with(nested(2), &templates, inward);
        assert!(pair.through(&packet(4)).is_empty());
        assert_eq!(pair.drops(), [(DropReason::InTmplMismatch, 1)]);
    }
    let mut optional = templates.clone();
    optional.push(Template {
        optional: true,
        reqid: 99,
        ..templates[1].clone()
    });
    let mut pair = Pair::with(nested(2), &templates, &optional);
    assert_eq!(pair.through(&packet(4)), [packet(4)]);
}

#[test]
fn each_nested_sa_takes_its_part_of_the_path() {
    const MTU: u32 = 1400;
    let (a, b) = ("192.0.1.1", "192.0.1.2");
    let inner = || config(Mode::Tunnel, 1, a, b);
    for outermost in [
        ends(|| config(Mode::Tunnel, 2, V4.0, V4.1)),
        ends(|| config(Mode::Transport, 2, a, b)),
    ] {
        let mut pair = Pair::new(vec![ends(inner), outermost]);
        pair.outbound.ask(Paths::new(Box::new(|_, _| Some(MTU))));
        let (packets, answer) = pair.seal(&tcp(4, 1, 0x10, &[7; 1400]));
        assert!(packets.is_empty());
        let answer = answer.unwrap();
        assert_eq!(answer[20..22], [3, 4], "{:?}", pair.drops());
        let told = u32::from_be_bytes(answer[24..28].try_into().unwrap()) as usize;
        let (packets, _) = pair.seal(&tcp(4, 1, 0x10, &vec![7; told - 52]));
        let length = 20 + packets[0].1.len();
        assert!(
            length <= MTU as usize && length > MTU as usize - 8,
            "{length}"
        );
        let (packets, answer) = pair.seal(&tcp(4, 1, 0x10, &vec![7; told - 51]));
        assert!(packets.is_empty() && answer.is_some());
    }
}

#[test]
fn ah_and_ipcomp_in_transport_mode_have_no_sa() {
    for (next_header, header) in [(ip::AH, 12), (ip::COMP, 4)] {
        for (length, reason) in [
            (header - 1, DropReason::InHdrError),
            (header, DropReason::InNoStates),
        ] {
            let mut pair = Pair::new(vec![ends(|| config(Mode::Transport, 1, V4.0, V4.1))]);
            let one = drops::forge(&pair, 1, next_header, &vec![0; length]);
            assert!(pair.open(&[one]).is_empty());
            assert_eq!(pair.drops(), [(reason, 1)]);
        }
    }
}
