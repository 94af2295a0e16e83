//! Every early exit under the kernel's counter, and with the counters of the device and the SA.

use super::*;
use crate::netlink::xfrm::{AF_INET, AF_INET6};
use crate::policy::Action;
use crate::sa::SaDirection;
use crate::sad::Larval;

fn tunnel() -> SaConfig {
    config(Mode::Tunnel, 1, V4.0, V4.1)
}

/// One packet of a tunnel, changed on the way.
fn opened(change: impl FnOnce(&mut OnWire)) -> Pair {
    let mut pair = Pair::new(vec![ends(tunnel)]);
    let (mut packets, _) = pair.seal(&packet(4));
    change(&mut packets[0]);
    assert!(pair.open(&packets).is_empty());
    pair
}

/// rx_packets, rx_errors and rx_dropped.
fn received(pair: &Pair) -> [u64; 3] {
    let stats = &pair.device.stats;
    [&stats.rx_packets, &stats.rx_errors, &stats.rx_dropped].map(|counter| counter.load(Relaxed))
}

/// Sealed by the sender's SA, whatever stands in it.
pub(super) fn forge(pair: &Pair, sequence: u64, next_header: u8, payload: &[u8]) -> OnWire {
    let sa = &pair.sas[0].0;
    let mut octets = vec![0; crate::esp::sealed_length(&sa.transform, payload.len(), 0)];
    let start = crate::esp::payload_offset(&sa.transform);
    octets[start..start + payload.len()].copy_from_slice(payload);
    crate::esp::seal(
        &sa.transform,
        sa.config.spi,
        sequence,
        sequence,
        sa.esn(),
        payload.len(),
        0,
        next_header,
        &mut octets,
    )
    .unwrap();
    let received = Received {
        start: 0,
        length: 0,
        source: sa.config.source,
        source_port: 0,
        destination: sa.config.destination,
        tos: 0,
        hop_limit: 64,
        identification: 0,
        df: false,
        encapsulated: false,
    };
    (received, octets)
}

#[test]
fn before_an_sa_is_found_the_device_counts_nothing() {
    for (reason, change) in [
        (
            DropReason::InHdrError,
            (|one: &mut OnWire| one.1.truncate(7)) as fn(&mut OnWire),
        ),
        (DropReason::InNoStates, |one| one.1[0] ^= 1),
        (DropReason::InNoStates, |one| {
            one.0.destination = address("192.0.2.9");
        }),
    ] {
        let pair = opened(change);
        assert_eq!(pair.drops(), [(reason, 1)]);
        assert_eq!(received(&pair), [0, 0, 0]);
    }
}

/// A pair whose receiver has a larval SA instead of its SA.
fn with_larval(change: impl FnOnce(&mut SaConfig)) -> (Pair, Arc<Larval>) {
    let mut pair = Pair::new(vec![ends(tunnel)]);
    let here = Arc::clone(&pair.sas[0].1);
    pair.receiver.remove_sa(&here);
    let mut config = here.config.clone();
    change(&mut config);
    let larval = Arc::new(Larval {
        number: 1,
        config,
        state: Arc::clone(&here.state),
    });
    pair.receiver.insert_larval(&larval);
    (pair, larval)
}

#[test]
fn a_packet_that_comes_before_the_keys_hits_the_larval_sa() {
    let (mut pair, larval) = with_larval(|_| {});
    let (packets, _) = pair.seal(&packet(4));
    assert!(pair.open(&packets).is_empty());
    assert_eq!(pair.drops(), [(DropReason::AcquireError, 1)]);
    assert_eq!(received(&pair), [0, 1, 1]);
    let recorded = pair.inbound.ring.read().0;
    assert_eq!(
        (recorded[0].reason, recorded[0].if_id),
        ("XfrmAcquireError", IF_ID)
    );
    // When the keys come, the same packet is good.
    pair.receiver.remove_larval(&larval);
    let here = Arc::clone(&pair.sas[0].1);
    pair.receiver.insert_sa(&here);
    assert_eq!(pair.open(&packets).len(), 1);
    assert_eq!(pair.drops(), [(DropReason::AcquireError, 1)]);
    // And when they do not, nothing of it stays.
    pair.receiver.remove_sa(&here);
    pair.open(&packets);
    assert_eq!(pair.stat.get(DropReason::InNoStates), 1);
}

#[test]
fn a_larval_sa_is_hit_by_its_identity_alone() {
    for (change, reason) in [
        (
            (|config: &mut SaConfig| config.spi = 0) as fn(&mut SaConfig),
            DropReason::InNoStates,
        ),
        (|config| config.protocol = 51, DropReason::InNoStates),
        (
            |config| config.destination = address("192.0.2.9"),
            DropReason::InNoStates,
        ),
        (
            |config| config.direction = Some(SaDirection::Out),
            DropReason::InStateDirError,
        ),
    ] {
        let (mut pair, _) = with_larval(change);
        assert!(pair.through(&packet(4)).is_empty());
        assert_eq!(pair.drops(), [(reason, 1)]);
        assert_eq!(received(&pair), [0, 0, 0]);
    }
}

#[test]
fn a_changed_packet_fails_integrity_and_a_short_one_does_not() {
    let pair = opened(|one| one.1[20] ^= 1);
    assert_eq!(pair.drops(), [(DropReason::InStateProtoError, 1)]);
    let state = &pair.sas[0].1.state;
    assert_eq!(state.integrity_failures.load(Relaxed), 1);
    assert_eq!(received(&pair), [0, 1, 1]);
    let pair = opened(|one| one.1.truncate(20));
    assert_eq!(pair.drops(), [(DropReason::InStateProtoError, 1)]);
    let state = &pair.sas[0].1.state;
    assert_eq!(state.integrity_failures.load(Relaxed), 0);
    assert_eq!(state.packets.load(Relaxed), 0);
}

#[test]
fn the_encapsulation_is_the_sas() {
    let pair = opened(|one| one.0.encapsulated = true);
    assert_eq!(pair.drops(), [(DropReason::InStateMismatch, 1)]);
    assert_eq!(received(&pair), [0, 1, 1]);
}

#[test]
fn keepalives_and_ike_are_passed_over() {
    for octets in [&[0xff][..], &[0, 0, 0, 0, 1, 2, 3, 4, 5]] {
        let mut pair = Pair::new(vec![ends(tunnel)]);
        let (mut received, _) = forge(&pair, 1, 4, &packet(4));
        received.encapsulated = true;
        assert!(pair.open(&[(received, octets.to_vec())]).is_empty());
        assert_eq!(pair.drops(), []);
    }
}

#[test]
fn directions_that_were_told_are_held_to() {
    let told = |direction| SaConfig {
        direction: Some(direction),
        ..tunnel()
    };
    let (there, here) = ends(|| told(SaDirection::In));
    let mut pair = Pair::new(vec![(there, here)]);
    let (packets, answer) = pair.seal(&packet(4));
    assert!(packets.is_empty() && answer.is_some());
    assert_eq!(pair.device.stats.tx_carrier_errors.load(Relaxed), 1);
    assert_eq!(pair.drops(), [(DropReason::OutStateDirError, 1)]);

    let (there, here) = ends(|| told(SaDirection::Out));
    let mut pair = Pair::new(vec![(there, here)]);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateDirError, 1)]);
    assert_eq!(received(&pair), [0, 0, 0]);
}

#[test]
fn a_replayed_and_an_old_packet_count_apart() {
    // With ESN an old number would be taken for one of the next 2^32.
    let mut pair = Pair::new(vec![ends(|| SaConfig {
        flags: 0,
        ..tunnel()
    })]);
    let mut packets = Vec::new();
    for _ in 0..100 {
        packets.extend(pair.seal(&packet(4)).0);
    }
    let last = packets.pop().unwrap();
    assert_eq!(pair.open(std::slice::from_ref(&last)).len(), 1);
    assert!(pair.open(&[last, packets.remove(0)]).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateSeqError, 2)]);
    let state = &pair.sas[0].1.state;
    assert_eq!(state.replay_drops.load(Relaxed), 1);
    assert_eq!(state.replay_window_drops.load(Relaxed), 1);
    assert_eq!(received(&pair)[1], 2);
}

#[test]
fn a_replayed_packet_is_told_before_a_limit_or_a_length() {
    let mut pair = Pair::new(vec![ends(|| SaConfig {
        limits: Limits {
            hard_packets: 1,
            ..Limits::NONE
        }
        .into(),
        ..tunnel()
    })]);
    let (packets, _) = pair.seal(&packet(4));
    assert_eq!(pair.open(&packets).len(), 1);
    let mut short = packets[0].clone();
    short.1.truncate(9);
    assert!(pair.open(&[packets[0].clone(), short]).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateSeqError, 2)]);
}

#[test]
fn dummies_vanish_and_are_not_remembered() {
    let mut pair = Pair::new(vec![ends(tunnel)]);
    let dummy = forge(&pair, 1, ip::NO_NEXT_HEADER, &[7; 40]);
    assert!(pair.open(&[dummy.clone(), dummy]).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InStateProtoError, 2)]);
    let state = &pair.sas[0].1.state;
    assert_eq!(state.integrity_failures.load(Relaxed), 0);
    assert_eq!(state.packets.load(Relaxed), 0);
}

#[test]
fn what_a_tunnel_holds_is_ip_and_says_so() {
    for (next_header, payload, reason) in [
        (4, packet(6), DropReason::InStateModeError),
        (41, packet(4), DropReason::InStateModeError),
        (6, packet(4), DropReason::InStateModeError),
        (4, vec![0x45; 19], DropReason::InStateModeError),
        (41, vec![0x60; 39], DropReason::InStateModeError),
        (4, vec![0x45; 30], DropReason::InHdrError),
    ] {
        let mut pair = Pair::new(vec![ends(tunnel)]);
        let forged = forge(&pair, 1, next_header, &payload);
        assert!(pair.open(&[forged]).is_empty());
        assert_eq!(pair.drops(), [(reason, 1)], "{next_header}");
        assert_eq!(received(&pair), [0, 1, 1]);
        // It was authentic, and counts as such.
        assert_eq!(pair.sas[0].1.state.packets.load(Relaxed), 1);
    }
}

#[test]
fn what_a_policy_refuses_was_received() {
    let mut pair = Pair::new(vec![ends(tunnel)]);
    pair.receiver.clear_policies();
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InNoPols, 1)]);
    assert_eq!(received(&pair), [1, 0, 0]);

    let mut pair = Pair::new(vec![ends(tunnel)]);
    let device = Arc::clone(&pair.device);
    pair.receiver.remove_device(&device);
    assert!(pair.through(&packet(4)).is_empty());
    assert_eq!(pair.drops(), [(DropReason::InNoPols, 1)]);
    assert_eq!(received(&pair), [0, 0, 0]);
}

#[test]
fn an_icmp_error_about_a_packet_of_the_sa_passes_with_its_flag() {
    for version in [4, 6] {
        let (source, destination) = addresses(version);
        // From a router on the way, about a packet that went the other way.
        let router = if version == 4 { "10.9.9.9" } else { "fd00::9" };
        let about = packet(version);
        let parsed = ip::parse(&about).unwrap();
        let mut error = crate::icmp::unreachable(&about, &parsed).unwrap();
        let place = if version == 4 { 12..16 } else { 8..24 };
        match address(router) {
            IpAddr::V4(four) => error[place].copy_from_slice(&four.octets()),
            IpAddr::V6(all) => error[place].copy_from_slice(&all.octets()),
        }
        modes::identify(&mut error, 0);
        for (flag, passes) in [(XFRM_STATE_ICMP, true), (0, false)] {
            let narrow = move || SaConfig {
                flags: XFRM_STATE_ESN | flag,
                selector: policy(address(destination), address(source))
                    .selector
                    .into(),
                selector_family: if version == 4 { AF_INET } else { AF_INET6 },
                ..tunnel()
            };
            let (there, _) = ends(tunnel);
            let (_, here) = ends(narrow);
            let mut pair = Pair::new(vec![(there, here)]);
            assert_eq!(pair.through(&error).len(), usize::from(passes));
            let expected = [(DropReason::InStateMismatch, 1)];
            assert_eq!(pair.drops(), if passes { &[][..] } else { &expected });
        }
    }
}

#[test]
fn outbound_answers_are_those_of_a_link_that_fails() {
    // No policy, with whatever default.
    for blocked in [false, true] {
        let mut pair = Pair::new(vec![ends(tunnel)]);
        pair.sender.clear_policies();
        pair.sender.blocked[Direction::Out as usize] = blocked;
        let (packets, answer) = pair.seal(&packet(4));
        assert!(packets.is_empty() && answer.is_some());
        assert_eq!(pair.device.stats.tx_carrier_errors.load(Relaxed), 1);
        assert_eq!(pair.drops(), []);
    }
    // A policy without templates, or with optional ones that no SA fits.
    for optional in [false, true] {
        let sas = vec![ends(tunnel)];
        let missing = Template {
            optional: true,
            reqid: 99,
            ..template(&sas[0].0)
        };
        let templates = if optional { vec![missing] } else { vec![] };
        let mut pair = Pair::with(sas, &templates, &[]);
        let (packets, answer) = pair.seal(&packet(4));
        assert!(packets.is_empty() && answer.is_some());
        assert_eq!(pair.drops(), []);
    }
    // A policy that blocks.
    let mut pair = Pair::new(vec![ends(tunnel)]);
    let allow = policies(Direction::Out, &[]).remove(0);
    let block = Arc::new(Policy {
        action: Action::Block,
        priority: 0,
        index: 99,
        ..Policy::clone(&allow)
    });
    pair.sender.clear_policies();
    pair.sender.insert_policy(&block);
    let (packets, answer) = pair.seal(&packet(4));
    assert!(packets.is_empty() && answer.is_some());
    assert_eq!(pair.drops(), [(DropReason::OutPolBlock, 1)]);
    assert_eq!(pair.device.stats.tx_carrier_errors.load(Relaxed), 1);
    assert!(block.state.used.load(Relaxed) > 0);
}

#[test]
fn our_own_esp_is_a_loop() {
    let mut pair = Pair::new(vec![ends(|| {
        config(Mode::Tunnel, 1, "10.1.0.1", "10.2.0.2")
    })]);
    let mut own = packet(4);
    own[9] = ip::ESP;
    modes::identify(&mut own, 0);
    assert_eq!(pair.seal(&own), (vec![], None));
    assert_eq!(pair.device.stats.collisions.load(Relaxed), 1);
    assert_eq!(pair.drops(), []);
    assert_eq!(pair.seal(&packet(4)).0.len(), 1);
}

#[test]
fn a_policy_counts_what_used_it() {
    let mut pair = Pair::new(vec![ends(tunnel)]);
    let inner = packet(4);
    pair.through(&inner);
    let flow = ip::parse(&inner).unwrap().flow;
    for (tables, direction) in [
        (&pair.sender, Direction::Out),
        (&pair.receiver, Direction::In),
    ] {
        let policy = tables.policy(direction, IF_ID, &flow, 0).unwrap();
        assert_eq!(policy.state.packets.load(Relaxed), 1);
        assert_eq!(policy.state.octets.load(Relaxed), inner.len() as u64);
    }
}
