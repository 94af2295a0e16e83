//! When an SA may not be used any more, and which one is used then.

use super::*;
use crate::events::Event;
use crate::published::Published;

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
