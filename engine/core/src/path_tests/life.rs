//! Limits and numbers at the exact packet of a large read, and packets that wait.

use super::*;
use crate::events::Event;
use crate::offload::vnet::{GSO_TCPV4, NEEDS_CSUM};

const SEGMENT: usize = 100;

fn tunnel(limits: Limits) -> SaConfig {
    SaConfig {
        limits: limits.into(),
        ..config(Mode::Tunnel, 1, V4.0, V4.1)
    }
}

/// A read of five segments of 152 octets.
fn large(pair: &mut Pair) -> Vec<OnWire> {
    let header = VnetHeader {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        gso_size: SEGMENT as u16,
        ..VnetHeader::default()
    };
    let octets = tcp(4, 1, 0x10, &[1; 5 * SEGMENT]);
    let read = [header.encode().as_slice(), &octets].concat();
    let mut staging = Staging::new();
    let answer = pair
        .outbound
        .seal(&pair.sender, &pair.device, &read, &mut staging);
    assert_eq!(answer, None);
    on_the_wire(&staging)
}

/// NEWAE may set the counters to anything: they end nothing but the SA.
#[test]
fn counters_near_their_end_end_the_sa_alone() {
    let near = |sa: &Arc<Sa>| {
        sa.state.octets.store(u64::MAX - 10, Relaxed);
        sa.state.packets.store(u64::MAX - 1, Relaxed);
    };
    let mut pair = Pair::new(vec![ends(|| tunnel(Limits::NONE))]);
    let packets = large(&mut pair);
    near(&pair.sas[0].1);
    assert_eq!(pair.open(&packets).len(), 1);
    let left = packets.len() as u64 - 1;
    assert_eq!(pair.stat.get(DropReason::InStateExpired), 1);
    assert_eq!(pair.stat.get(DropReason::InStateInvalid), left - 1);
    near(&pair.sas[0].0);
    assert_eq!(large(&mut pair).len(), 1);
    assert_eq!(pair.stat.get(DropReason::OutStateExpired), 1);
}

#[test]
fn limits_hold_within_a_large_read() {
    let none = Limits::NONE;
    for (limits, sent, expired, invalid, told) in [
        (none, 5, 0, 0, vec![]),
        (
            Limits {
                hard_packets: 3,
                ..none
            },
            3,
            1,
            1,
            vec![true],
        ),
        (
            Limits {
                hard_packets: 5,
                ..none
            },
            5,
            0,
            0,
            vec![],
        ),
        (
            Limits {
                hard_bytes: 2 * 152,
                ..none
            },
            2,
            1,
            2,
            vec![true],
        ),
        (
            Limits {
                hard_bytes: 2 * 152 + 1,
                ..none
            },
            3,
            1,
            1,
            vec![true],
        ),
        (
            Limits {
                soft_packets: 4,
                ..none
            },
            5,
            0,
            0,
            vec![false],
        ),
        (
            Limits {
                soft_packets: 5,
                ..none
            },
            5,
            0,
            0,
            vec![],
        ),
        (
            Limits {
                soft_bytes: 4 * 152,
                ..none
            },
            5,
            0,
            0,
            vec![false],
        ),
        (
            Limits {
                soft_bytes: 4 * 152 + 1,
                ..none
            },
            5,
            0,
            0,
            vec![],
        ),
        (
            Limits {
                soft_packets: 1,
                hard_packets: 2,
                ..none
            },
            2,
            1,
            2,
            vec![false, true],
        ),
        (
            Limits {
                hard_packets: 0,
                ..none
            },
            0,
            1,
            4,
            vec![true],
        ),
    ] {
        let (there, _) = ends(|| tunnel(limits));
        let (_, here) = ends(|| tunnel(none));
        let mut pair = Pair::new(vec![(there, here)]);
        let packets = large(&mut pair);
        assert_eq!(packets.len(), sent, "{limits:?}");
        assert_eq!(pair.open(&packets).len(), sent);
        let count = |reason| pair.stat.get(reason);
        assert_eq!(count(DropReason::OutStateExpired), expired, "{limits:?}");
        assert_eq!(count(DropReason::OutStateInvalid), invalid, "{limits:?}");
        let events = pair.events.take();
        let hard = events
            .iter()
            .map(|event| matches!(event, Event::Expire { hard: true, .. }));
        assert_eq!(hard.collect::<Vec<bool>>(), told, "{limits:?}");
        assert_eq!(pair.sas[0].0.state.packets.load(Relaxed), sent as u64);
        assert_eq!(pair.device.stats.tx_packets.load(Relaxed), sent as u64);
        assert_eq!(pair.device.stats.tx_dropped.load(Relaxed), 5 - sent as u64);
    }
}

#[test]
fn the_last_numbers_are_used_and_none_twice() {
    for (flags, extra_flags, last, sent) in [
        (0, 0, u64::from(u32::MAX), 3),
        (0, XFRM_SA_XFLAG_OSEQ_MAY_WRAP, u64::from(u32::MAX), 5),
        (XFRM_STATE_ESN, 0, u64::from(u32::MAX), 5),
        (XFRM_STATE_ESN, 0, u64::MAX, 3),
    ] {
        let (there, here) = ends(|| SaConfig {
            flags,
            extra_flags,
            ..tunnel(Limits::NONE)
        });
        there.state.oseq.store(last - 3, Relaxed);
        let mut pair = Pair::new(vec![(there, here)]);
        let packets = large(&mut pair);
        assert_eq!(packets.len(), sent);
        let numbers = packets
            .iter()
            .map(|(_, octets)| u32::from_be_bytes(octets[4..8].try_into().unwrap()));
        let expected = (0..sent as u32).map(|n| (last as u32 - 2).wrapping_add(n));
        assert!(numbers.eq(expected));
        let lost = 5 - sent as u64;
        assert_eq!(pair.stat.get(DropReason::OutStateSeqError), lost);
        assert_eq!(pair.sas[0].0.state.packets.load(Relaxed), sent as u64);
    }
}

#[test]
fn a_dying_sa_without_successor_is_looked_up_once() {
    let mut pair = Pair::new(vec![ends(|| tunnel(Limits::NONE))]);
    pair.seal(&packet(4));
    pair.sas[0].0.state.set_life(DYING);
    for _ in 0..3 {
        assert_eq!(pair.seal(&packet(4)).0.len(), 1);
    }
    // One that comes later is another snapshot.
    let (newer, _) = ends(|| SaConfig {
        spi: 0x2000,
        ..tunnel(Limits::NONE)
    });
    pair.sender.insert_sa(&newer);
    pair.outbound.tables_changed();
    assert_eq!(pair.seal(&packet(4)).0[0].1[..4], 0x2000u32.to_be_bytes());
}

fn release(pair: &mut Pair) -> (Vec<OnWire>, usize) {
    let mut staging = Staging::new();
    let mut answers = 0;
    pair.outbound
        .release(&pair.sender, &mut staging, |_, answer, _| {
            answers += usize::from(answer.is_some());
        });
    (on_the_wire(&staging), answers)
}

fn without_sa() -> (Pair, Arc<Sa>) {
    let mut pair = Pair::new(vec![ends(|| tunnel(Limits::NONE))]);
    let sa = Arc::clone(&pair.sas[0].0);
    pair.sender.remove_sa(&sa);
    pair.sender.acquire = true;
    (pair, sa)
}

#[test]
fn packets_wait_while_the_sa_is_on_its_way_and_no_longer() {
    let (mut pair, sa) = without_sa();
    pair.seal(&packet(4));
    assert_eq!(pair.events.take().len(), 1);
    let larval = Arc::new(crate::sad::Larval {
        number: 1,
        config: sa.config.clone(),
        state: Arc::new(SaState::new(0, ReplayWindow::new(0, false))),
    });
    pair.sender.insert_larval(&larval);
    pair.outbound.tables_changed();
    assert_eq!(release(&mut pair), (vec![], 0));
    assert!(pair.outbound.holds());
    pair.seal(&packet(4));
    assert_eq!(pair.events.take().len(), 0, "it was asked for");
    pair.sender.remove_larval(&larval);
    pair.outbound.tables_changed();
    assert_eq!(release(&mut pair), (vec![], 2));
    assert!(!pair.outbound.holds());
    assert_eq!(pair.drops(), [(DropReason::OutNoStates, 2)]);
    // A new packet is a new question.
    pair.seal(&packet(4));
    assert!(pair.outbound.holds());
    assert_eq!(pair.events.take().len(), 1);
}

#[test]
fn packets_of_a_device_that_went_do_not_wait() {
    let (mut pair, sa) = without_sa();
    pair.seal(&packet(4));
    let device = Arc::clone(&pair.device);
    pair.sender.remove_device(&device);
    pair.sender.insert_sa(&sa);
    pair.outbound.tables_changed();
    assert_eq!(release(&mut pair), (vec![], 0));
    assert!(!pair.outbound.holds());
    assert_eq!(device.stats.tx_dropped.load(Relaxed), 1);
}

#[test]
fn nobody_who_listens_means_nothing_to_wait_for() {
    let (mut pair, _) = without_sa();
    pair.seal(&packet(4));
    pair.sender.acquire = false;
    pair.outbound.tables_changed();
    assert_eq!(release(&mut pair), (vec![], 1));
    assert!(!pair.outbound.holds());
}

#[test]
fn all_that_waits_is_bounded() {
    let (mut pair, _) = without_sa();
    pair.sender.clear_policies();
    for n in 0..100u8 {
        let source = IpAddr::from([10, 1, 0, n]);
        let one = policy(source, address("10.2.0.2"));
        pair.sender.insert_policy(&Arc::new(Policy {
            index: 8 * u32::from(n) + 1,
            if_id: IF_ID,
            templates: vec![Template {
                reqid: 1000 + u32::from(n),
                ..template(&pair.sas[0].0)
            }],
            ..one
        }));
    }
    let mut refused = 0;
    for n in 0..100u8 {
        for _ in 0..4 {
            let mut octets = packet(4);
            octets[15] = n;
            modes::identify(&mut octets, 0);
            refused += u64::from(pair.seal(&octets).1.is_some());
        }
    }
    assert_eq!(refused, 400 - crate::held::MOST as u64);
    assert_eq!(pair.drops(), [(DropReason::OutNoStates, refused)]);
    assert_eq!(pair.events.take().len(), 100);
}

#[test]
fn a_64_kib_read_of_the_smallest_segments_finds_room() {
    let mut pair = Pair::new(vec![ends(|| tunnel(Limits::NONE))]);
    let header = VnetHeader {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        gso_size: 48,
        ..VnetHeader::default()
    };
    let octets = tcp(4, 1, 0x10, &[1; 65_400]);
    let read = [header.encode().as_slice(), &octets].concat();
    let mut staging = Staging::new();
    pair.outbound
        .seal(&pair.sender, &pair.device, &read, &mut staging);
    assert!(!staging.is_full());
    assert_eq!(on_the_wire(&staging).len(), 65_400usize.div_ceil(48));
}

#[test]
fn df_is_of_each_segment_where_ipv6_goes_over_ipv4() {
    let mut pair = Pair::new(vec![ends(|| tunnel(Limits::NONE))]);
    for (length, df) in [(1280, false), (1281, true)] {
        let (packets, _) = pair.seal(&tcp(6, 1, 0x10, &vec![1; length - 72]));
        assert_eq!(packets[0].0.df, df, "{length} octets");
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
