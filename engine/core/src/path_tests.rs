//! Both directions of the packet path against each other: what one side seals the other opens.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use crate::crypto::{Algorithms, Transform};
use crate::device::Device;
use crate::events::{Event, Events};
use crate::inbound::{Inbound, Received};
use crate::ip;
use crate::lifetime::Limits;
use crate::modes::{self, BEETPH};
use crate::netlink::xfrm::{AF_INET, AF_INET6};
use crate::offload::segment::tests::tcp;
use crate::offload::vnet::VnetHeader;
use crate::outbound::{Datagram, Outbound, Staging};
use crate::path_mtu::Paths;
use crate::policy::tests::policy;
use crate::policy::{Action, Direction, Mark, Policy, Selector, Template};
use crate::replay::ReplayWindow;
use crate::sa::*;
use crate::stats::{DropReason, LinkStats, XfrmStat};
use crate::tables::{Published, Tables};

mod drops;
mod fragments;
mod life;
mod nesting;

const IF_ID: u32 = 7;
const ARENA: usize = 1 << 18;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn any(source: IpAddr, destination: IpAddr) -> Selector {
    Selector {
        source_prefix: 0,
        destination_prefix: 0,
        ..policy(source, destination).selector
    }
}

/// An SA between two ends, whose SPI is its reqid as well.
fn config(mode: Mode, number: u32, source: &str, destination: &str) -> SaConfig {
    let (source, destination) = (address(source), address(destination));
    SaConfig {
        spi: 0x1000 + number,
        source,
        destination,
        protocol: ip::ESP,
        mark: Mark::default(),
        if_id: IF_ID,
        reqid: number,
        mode,
        flags: XFRM_STATE_ESN,
        extra_flags: 0,
        direction: None,
        selector: any(source, destination).into(),
        output_mark: Mark::default(),
        encapsulation: Encapsulation::Esp,
        tfc_padding: 0,
        limits: Limits::NONE.into(),
        mapping_threshold: 0,
        keepalive_interval: 0,
        replay_age: 0,
        selector_family: 0,
        original_address: [0; 16],
        care_of: None,
        sequence: 0,
        cpu: None,
        replay_form: ReplayForm::Bitmap { words: 2 },
        added: 1,
        added_clock: 1,
    }
}

/// The two ends of an SA: each has a state of its own.
fn ends(make: impl Fn() -> SaConfig) -> (Arc<Sa>, Arc<Sa>) {
    let one = || {
        let config = make();
        let window = ReplayWindow::new(64, config.flags & XFRM_STATE_ESN != 0);
        let algorithms = Algorithms::Aead {
            name: "rfc4106(gcm(aes))".into(),
            keymat: vec![9; 20].into_boxed_slice().into(),
            icv_bits: 128,
        };
        Arc::new(Sa {
            config,
            transform: Arc::new(Transform::new(algorithms).unwrap()),
            state: Arc::new(SaState::new(0, window)),
        })
    };
    (one(), one())
}

fn template(sa: &Sa) -> Template {
    Template {
        source: sa.config.source,
        destination: sa.config.destination,
        spi: 0,
        protocol: ip::ESP,
        reqid: sa.config.reqid,
        mode: sa.config.mode as u8,
        share: 0,
        optional: false,
        aalgos: !0,
        ealgos: !0,
        calgos: !0,
    }
}

fn policies(direction: Direction, templates: &[Template]) -> Vec<Arc<Policy>> {
    [("10.0.0.0", "10.0.0.0"), ("fd00::", "fd00::")]
        .iter()
        .map(|(source, destination)| {
            let one = policy(address(source), address(destination));
            Arc::new(Policy {
                direction,
                index: 8 + direction as u32,
                if_id: IF_ID,
                selector: any(one.selector.source, one.selector.destination),
                templates: templates.to_vec(),
                ..one
            })
        })
        .collect()
}

/// An ESP packet and what its outer header tells.
type OnWire = (Received, Vec<u8>);

/// A sender and a receiver with the same SAs.
struct Pair {
    sender: Tables,
    receiver: Tables,
    device: Arc<Device>,
    outbound: Outbound,
    inbound: Inbound,
    stat: Arc<XfrmStat>,
    events: Arc<Events>,
    sas: Vec<(Arc<Sa>, Arc<Sa>)>,
}

impl Pair {
    fn new(sas: Vec<(Arc<Sa>, Arc<Sa>)>) -> Pair {
        let templates: Vec<Template> = sas.iter().map(|(sa, _)| template(sa)).collect();
        Pair::with(sas, &templates, &templates)
    }

    fn with(sas: Vec<(Arc<Sa>, Arc<Sa>)>, out: &[Template], inward: &[Template]) -> Pair {
        let device = Arc::new(Device {
            name: "ipsec7".into(),
            if_id: IF_ID,
            ifindex: 1,
            mtu: AtomicU32::new(1400),
            attached: AtomicBool::new(true),
            queues: Vec::new(),
            stats: Arc::new(LinkStats::default()),
        });
        let (mut sender, mut receiver) = (Tables::default(), Tables::default());
        for (there, here) in &sas {
            sender.insert_sa(there);
            receiver.insert_sa(here);
        }
        for one in policies(Direction::Out, out) {
            sender.insert_policy(&one);
        }
        for one in policies(Direction::In, inward) {
            receiver.insert_policy(&one);
        }
        sender.insert_device(&device);
        receiver.insert_device(&device);
        let stat = Arc::new(XfrmStat::new());
        let events = Arc::new(Events::new().unwrap());
        Pair {
            sender,
            receiver,
            device,
            outbound: Outbound::new(Arc::clone(&stat), Arc::clone(&events)),
            inbound: Inbound::new(Arc::clone(&stat), Arc::clone(&events)),
            stat,
            events,
            sas,
        }
    }

    /// What goes out, packet by packet, and the ICMP answer.
    fn seal(&mut self, packet: &[u8]) -> (Vec<OnWire>, Option<Vec<u8>>) {
        let read = [VnetHeader::default().encode().as_slice(), packet].concat();
        let mut staging = Staging::new();
        let answer = self
            .outbound
            .seal(&self.sender, &self.device, &read, &mut staging);
        (on_the_wire(&staging), answer)
    }

    /// What comes out of them, in the order in which they came in.
    fn open(&mut self, packets: &[OnWire]) -> Vec<Vec<u8>> {
        let mut buffer = Vec::new();
        let mut received = Vec::new();
        for (one, octets) in packets {
            received.push(Received {
                start: buffer.len(),
                length: octets.len(),
                ..*one
            });
            buffer.extend(octets);
        }
        let arena = buffer.len()..buffer.len() + ARENA;
        buffer.resize(arena.end, 0);
        self.inbound
            .open(&self.receiver, &mut buffer, &received, arena);
        let inners = &self.inbound.inners;
        inners
            .iter()
            .map(|inner| buffer[inner.start..inner.start + inner.length].to_vec())
            .collect()
    }

    fn through(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let (packets, answer) = self.seal(packet);
        assert_eq!(answer, None);
        self.open(&packets)
    }

    fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter();
        all.map(|reason| (*reason, self.stat.get(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

fn on_the_wire(staging: &Staging) -> Vec<OnWire> {
    let mut packets = Vec::new();
    for row in &staging.datagrams {
        let Datagram {
            outer,
            start,
            length,
            segment,
            ..
        } = row;
        for octets in staging.buffer[*start..start + length].chunks(*segment) {
            let udp = match row.sa.config.encapsulation {
                Encapsulation::Esp => None,
                Encapsulation::Udp { source_port, .. } => Some(source_port),
            };
            let received = Received {
                start: 0,
                length: 0,
                source: outer.source,
                source_port: udp.unwrap_or(0),
                destination: outer.destination,
                tos: outer.tos,
                hop_limit: outer.hop_limit.unwrap_or(64),
                identification: 0,
                df: outer.df,
                encapsulated: udp.is_some(),
            };
            packets.push((received, octets.to_vec()));
        }
    }
    packets
}

/// A TCP packet whose identification is nothing, as a socket would send it.
fn packet(version: u8) -> Vec<u8> {
    let mut octets = tcp(version, 1, 0x10, b"some data");
    if version == 4 {
        octets[8] = 33;
        modes::identify(&mut octets, 0);
    } else {
        octets[7] = 33;
    }
    octets
}

const V4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const V6: (&str, &str) = ("2001:db8::1", "2001:db8::2");

/// Those of `packet`.
fn addresses(version: u8) -> (&'static str, &'static str) {
    if version == 4 {
        return ("10.1.0.1", "10.2.0.2");
    }
    (
        "1111:1111:1111:1111:1111:1111:1111:1111",
        "2222:2222:2222:2222:2222:2222:2222:2222",
    )
}

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
fn a_successor_in_newer_tables_is_found_when_the_sa_of_older_ones_is_gone() {
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    let published = Arc::<Published>::default();
    published.publish(pair.sender.clone());
    pair.outbound.follow(published);
    pair.sender.remove_sa(&pair.sas[0].0);
    let inner = packet(4);
    assert_eq!(pair.through(&inner), [inner.as_slice()]);
    assert_eq!(pair.drops(), []);
}

#[test]
fn transport_mode_keeps_the_addresses_and_the_hop_limit() {
    for (version, addresses) in [
        (4, ("10.1.0.1", "10.2.0.2")),
        (
            6,
            (
                "1111:1111:1111:1111:1111:1111:1111:1111",
                "2222:2222:2222:2222:2222:2222:2222:2222",
            ),
        ),
    ] {
        for udp in [false, true] {
            let make = || SaConfig {
                encapsulation: if udp {
                    Encapsulation::Udp {
                        source_port: 4500,
                        destination_port: 4500,
                    }
                } else {
                    Encapsulation::Esp
                },
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
    let udp = Encapsulation::Udp {
        source_port: 4500,
        destination_port: 4500,
    };
    let (there, _) = ends(|| SaConfig {
        encapsulation: udp,
        ..config(Mode::Transport, 1, "10.1.0.1", "10.2.0.2")
    });
    let (_, here) = ends(|| SaConfig {
        encapsulation: udp,
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
        for (version, inner) in [
            (4, ("10.1.0.1", "10.2.0.2")),
            (
                6,
                (
                    "1111:1111:1111:1111:1111:1111:1111:1111",
                    "2222:2222:2222:2222:2222:2222:2222:2222",
                ),
            ),
        ] {
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
fn limits_hold_at_the_exact_packet() {
    let limited = || SaConfig {
        limits: Limits {
            soft_packets: 2,
            hard_packets: 3,
            ..Limits::NONE
        }
        .into(),
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    };
    let (there, _) = ends(limited);
    let (_, here) = ends(|| config(Mode::Tunnel, 1, V4.0, V4.1));
    let mut pair = Pair::new(vec![(there, here)]);
    for _ in 0..3 {
        assert_eq!(pair.through(&packet(4)).len(), 1);
    }
    let (packets, _) = pair.seal(&packet(4));
    assert!(packets.is_empty());
    assert_eq!(pair.drops(), [(DropReason::OutStateExpired, 1)]);
    let told: Vec<bool> = pair
        .events
        .take()
        .iter()
        .map(|event| matches!(event, Event::Expire { hard: true, .. }))
        .collect();
    assert_eq!(told, [false, true]);
    let (there, _) = ends(|| config(Mode::Tunnel, 1, V4.0, V4.1));
    let (_, here) = ends(limited);
    let mut pair = Pair::new(vec![(there, here)]);
    let mut packets = Vec::new();
    for _ in 0..5 {
        packets.extend(pair.seal(&packet(4)).0);
    }
    assert_eq!(pair.open(&packets).len(), 3);
    assert_eq!(
        pair.drops(),
        [
            (DropReason::InStateExpired, 1),
            (DropReason::InStateInvalid, 1)
        ]
    );
}

#[test]
fn the_last_sequence_number_is_never_passed() {
    for (flags, last) in [(0, u64::from(u32::MAX)), (XFRM_STATE_ESN, u64::MAX)] {
        let (there, here) = ends(|| SaConfig {
            flags,
            ..config(Mode::Tunnel, 1, V4.0, V4.1)
        });
        there.state.oseq.store(last - 1, Relaxed);
        let mut pair = Pair::new(vec![(there, here)]);
        assert_eq!(pair.seal(&packet(4)).0.len(), 1);
        assert_eq!(pair.seal(&packet(4)).0.len(), 0);
        assert_eq!(pair.drops(), [(DropReason::OutStateSeqError, 1)]);
    }
}

#[test]
fn the_first_packets_wait_for_their_sa() {
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    let sa = Arc::clone(&pair.sas[0].0);
    pair.sender.remove_sa(&sa);
    let (packets, answer) = pair.seal(&packet(4));
    assert!(packets.is_empty() && answer.is_some(), "nobody listens");
    assert_eq!(pair.drops(), [(DropReason::OutNoStates, 1)]);
    pair.sender.acquire = true;
    pair.outbound.tables_changed();
    let numbered = |n: u8| {
        let mut octets = packet(4);
        octets[24..28].copy_from_slice(&[0, 0, 0, n]);
        octets
    };
    for n in 0..10 {
        let (packets, answer) = pair.seal(&numbered(n));
        assert!(packets.is_empty());
        assert_eq!(answer.is_some(), n >= 8, "a few are held");
    }
    let asked = pair.events.take();
    assert_eq!(asked.len(), 1);
    assert!(matches!(&asked[0], Event::Acquire { template: 0, .. }));
    pair.sender.insert_sa(&sa);
    pair.outbound.tables_changed();
    let mut staging = Staging::new();
    pair.outbound
        .release(&pair.sender, &mut staging, |_, answer, _| {
            assert!(answer.is_none())
        });
    let delivered = pair.open(&on_the_wire(&staging));
    let numbers: Vec<u8> = delivered.iter().map(|octets| octets[27]).collect();
    assert_eq!(numbers, (0..8).collect::<Vec<u8>>());
    assert!(!pair.outbound.holds());
}

#[test]
fn a_deleted_sa_is_not_used_any_more() {
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    let (packets, _) = pair.seal(&packet(4));
    pair.sas[0].0.state.set_life(DELETED);
    let (none, answer) = pair.seal(&packet(4));
    assert!(
        none.is_empty() && answer.is_some(),
        "the cached verdict is not fresh"
    );
    pair.sas[0].1.state.set_life(EXPIRED);
    assert!(pair.open(&packets).is_empty());
    assert_eq!(
        pair.drops(),
        [
            (DropReason::InStateInvalid, 1),
            (DropReason::OutNoStates, 1)
        ]
    );
}

#[test]
fn a_newer_sa_takes_over_and_a_dying_one_stays_in_reserve() {
    let mut pair = Pair::new(vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))]);
    pair.through(&packet(4));
    let (newer, _) = ends(|| SaConfig {
        spi: 0x2000,
        added: 2,
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    });
    pair.sender.insert_sa(&newer);
    pair.outbound.tables_changed();
    assert_eq!(pair.seal(&packet(4)).0[0].1[..4], 0x2000u32.to_be_bytes());
    newer.state.set_life(DYING);
    assert_eq!(pair.seal(&packet(4)).0[0].1[..4], 0x1001u32.to_be_bytes());
    pair.sas[0].0.state.set_life(DYING);
    assert_eq!(pair.seal(&packet(4)).0[0].1[..4], 0x2000u32.to_be_bytes());
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

#[test]
fn blocks_defaults_and_selectors() {
    let sas = || vec![ends(|| config(Mode::Tunnel, 1, V4.0, V4.1))];
    let mut pair = Pair::new(sas());
    for one in policies(Direction::In, &[]) {
        pair.receiver.remove_policy(&one);
    }
    let mut pair_without = Pair::new(sas());
    pair_without.receiver.clear_policies();
    assert!(pair_without.through(&packet(4)).is_empty());
    assert_eq!(pair_without.drops(), [(DropReason::InNoPols, 1)]);

    let mut pair = Pair::new(sas());
    pair.receiver.clear_policies();
    for one in policies(Direction::In, &[]) {
        let block = Policy {
            action: Action::Block,
            ..policy(one.selector.source, one.selector.destination)
        };
        pair.receiver.insert_policy(&Arc::new(Policy {
            direction: Direction::In,
            if_id: IF_ID,
            selector: one.selector.clone(),
            ..block
        }));
    }
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InPolBlock, 1)]);

    // A transport SA without any policy is let in, unless the default blocks.
    for blocked in [false, true] {
        let mut pair = Pair::new(vec![ends(|| {
            config(Mode::Transport, 1, "10.1.0.1", "10.2.0.2")
        })]);
        pair.receiver.clear_policies();
        pair.receiver.blocked[Direction::In as usize] = blocked;
        assert_eq!(pair.through(&packet(4)).len(), usize::from(!blocked));
    }

    let narrow = || SaConfig {
        selector: policy(address("10.9.0.1"), address("10.9.0.2"))
            .selector
            .into(),
        selector_family: AF_INET,
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    };
    let (there, _) = ends(|| config(Mode::Tunnel, 1, V4.0, V4.1));
    let (_, here) = ends(narrow);
    let mut pair = Pair::new(vec![(there, here)]);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateMismatch, 1)]);
}

#[test]
fn what_a_path_does_not_take_goes_back_to_its_sender() {
    for (outer, mtu, udp) in [(V4, 1400, false), (V4, 1401, true), (V6, 1500, true)] {
        let make = || SaConfig {
            encapsulation: if udp {
                Encapsulation::Udp {
                    source_port: 4500,
                    destination_port: 4500,
                }
            } else {
                Encapsulation::Esp
            },
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
