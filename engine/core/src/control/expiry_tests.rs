//! The end of SAs and what workers tell, against a clock of the test's own.

use std::net::IpAddr;

use super::super::allocate_spi::{larval_config, larval_state};
use super::super::state::{GROUP_ACQUIRE, GROUP_AEVENTS, GROUP_MAPPING};
use super::*;
use crate::crypto::{Algorithms, Transform};
use crate::lifetime::Limits;
use crate::policy::{tests::policy, Flow, Policy, Template};
use crate::sa::{Encapsulation, Mode, SaConfig};

const LISTENED: u32 = 1 << (GROUP_ACQUIRE - 1)
    | 1 << (GROUP_EXPIRE - 1)
    | 1 << (GROUP_AEVENTS - 1)
    | 1 << (GROUP_MAPPING - 1);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn state() -> State {
    let mut state = State::new().unwrap();
    state.listen(LISTENED);
    state
}

fn sa(state: &mut State, config: SaConfig) -> Arc<Sa> {
    let algorithms = Algorithms::Aead {
        name: "rfc4106(gcm(aes))".into(),
        keymat: vec![1; 20].into_boxed_slice().into(),
        icv_bits: 128,
    };
    let sa = Sa {
        config: SaConfig { spi: 7, ..config },
        transform: Arc::new(Transform::new(algorithms).unwrap()),
        state: larval_state(),
    };
    let sa = state.sad.add(sa).unwrap();
    state.insert_sa(&sa);
    sa
}

fn config(limits: Limits) -> SaConfig {
    let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
    SaConfig {
        limits: limits.into(),
        ..larval_config(here, there, 50, Mode::Tunnel)
    }
}

/// Kind of each notification, and what stands where EXPIRE tells hard from soft.
fn told(state: &mut State) -> Vec<(u16, u8)> {
    let all = state.notifications.drain(..);
    all.map(|one| (one.reply.0, one.reply.1.get(HARD).copied().unwrap_or(0)))
        .collect()
}

fn asking(state: &mut State) -> (Arc<Policy>, Flow) {
    let (source, destination) = (address("10.0.0.1"), address("10.0.0.2"));
    let template = Template {
        source: address("192.0.2.1"),
        destination: address("192.0.2.2"),
        spi: 0,
        protocol: 50,
        reqid: 3,
        mode: 1,
        share: 0,
        optional: false,
        aalgos: 0,
        ealgos: 0,
        calgos: 0,
    };
    let asking = Policy {
        templates: vec![template],
        ..policy(source, destination)
    };
    let policy = state.spd.insert(asking).policy;
    state.insert_policy(&policy);
    let flow = Flow {
        source,
        destination,
        protocol: 17,
        source_port: 5,
        destination_port: 6,
        ifindex: 0,
    };
    (policy, flow)
}

#[test]
fn an_acquire_is_told_once_and_given_up_after_its_time() {
    let mut state = state();
    let (policy, flow) = asking(&mut state);
    for _ in 0..3 {
        state.events.tell(Event::Acquire {
            policy: Arc::clone(&policy),
            template: 0,
            flow,
        });
    }
    let start = clock();
    assert!(tick_at(&mut state, start).is_some_and(|at| at >= start + 29));
    let message = state.notifications[0].reply.1.clone();
    assert_eq!(message.len() % 4, 0);
    assert_eq!(message[..4], [192, 0, 2, 2]);
    assert_eq!(message[40..44], [10, 0, 0, 2]);
    assert_eq!(told(&mut state).len(), 1);
    assert!(state.tables.larval(&policy, &policy.templates[0]));
    tick_at(&mut state, start + 28);
    assert_eq!(told(&mut state), []);
    tick_at(&mut state, start + 40);
    assert_eq!(told(&mut state), [(x::EXPIRE, 1)]);
    assert!(!state.tables.larval(&policy, &policy.templates[0]));
    assert!(state.sad.is_empty());
}

#[test]
fn nobody_is_asked_when_nobody_listens() {
    let mut state = state();
    let (policy, flow) = asking(&mut state);
    state.listen(0);
    state.events.tell(Event::Acquire {
        policy,
        template: 0,
        flow,
    });
    assert_eq!(tick_at(&mut state, clock()), None);
    assert!(state.sad.is_empty());
}

#[test]
fn limits_in_octets_are_told_once_each_and_the_hard_one_ends_it() {
    let mut state = state();
    state.listen(1 << (GROUP_EXPIRE - 1));
    let limits = Limits {
        soft_bytes: 100,
        hard_packets: 3,
        ..Limits::NONE
    };
    let sa = sa(&mut state, config(limits));
    let tell = |state: &mut State| {
        sa.expires(&state.events, 0, 0);
        tick_at(state, clock());
        told(state)
    };
    sa.state.count(1, 99);
    assert_eq!(tell(&mut state), []);
    sa.state.count(1, 1);
    assert_eq!(tell(&mut state), [(x::EXPIRE, 0)]);
    assert_eq!(tell(&mut state), []);
    sa.state.count(1, 1);
    assert_eq!(tell(&mut state), [(x::EXPIRE, 1)]);
    assert!(state.sad.is_empty() && !sa.state.is_valid());
    assert_eq!(tell(&mut state), []);
}

#[test]
fn times_come_one_after_the_other() {
    let mut state = state();
    state.listen(1 << (GROUP_EXPIRE - 1));
    let limits = Limits {
        soft_add_seconds: 10,
        hard_add_seconds: 20,
        ..Limits::NONE
    };
    let sa = sa(&mut state, config(limits));
    let added = sa.config.added_clock;
    for (after, expected) in [
        (0, vec![]),
        (9, vec![]),
        (10, vec![(x::EXPIRE, 0)]),
        (19, vec![]),
        (20, vec![(x::EXPIRE, 1)]),
    ] {
        tick_at(&mut state, added + after);
        assert_eq!(told(&mut state), expected, "after {after} s");
    }
    assert_eq!(tick_at(&mut state, added + 21), None);
}

#[test]
fn replay_states_are_told_when_they_moved() {
    let mut state = state();
    let config = SaConfig {
        replay_age: 10,
        ..config(Limits::NONE)
    };
    let sa = sa(&mut state, config);
    let start = clock();
    sa.reserve_sequence(1);
    assert!(!sa.state.replay_moved(0));
    sa.reserve_sequence(1);
    assert!(sa.state.replay_moved(0));
    for _ in 0..2 {
        let sa = Arc::clone(&sa);
        state.events.tell(Event::Replay { sa });
    }
    tick_at(&mut state, start);
    assert_eq!(told(&mut state).len(), 1);
    sa.reserve_sequence(1);
    assert_eq!(tick_at(&mut state, start + 5), Some(start + 6));
    assert_eq!(told(&mut state).len(), 1, "its time was over");
    tick_at(&mut state, start + 60);
    assert_eq!(told(&mut state).len(), 0, "nothing has moved");
    state.listen(0);
    assert_eq!(tick_at(&mut state, start + 99), None);
}

#[test]
fn mappings_are_told_by_threshold_and_port() {
    let mut state = state();
    let config = SaConfig {
        encapsulation: Encapsulation::Udp {
            source_port: 4500,
            destination_port: 4500,
        },
        mapping_threshold: 1000,
        ..config(Limits::NONE)
    };
    let sa = sa(&mut state, config);
    for port in [9, 9, 10, 9] {
        let (sa, source) = (Arc::clone(&sa), address("192.0.2.9"));
        state.events.tell(Event::Mapping {
            sa,
            source,
            source_port: port,
        });
    }
    tick_at(&mut state, clock());
    let message = state.notifications[0].reply.1.clone();
    assert_eq!(message.len(), 64);
    assert_eq!(message[44..48], [192, 0, 2, 9]);
    assert_eq!(message[60..], [0x11, 0x94, 0, 9]);
    assert_eq!(told(&mut state).len(), 3);
}

#[test]
fn each_subject_comes_once_at_its_last_time() {
    let mut agenda = Agenda::default();
    agenda.put(Subject::Larval(1), 30);
    agenda.put(Subject::Larval(2), 10);
    agenda.put(Subject::Larval(1), 20);
    assert_eq!(agenda.next(), Some(10));
    assert_eq!(agenda.take(9), None);
    assert_eq!(agenda.take(25), Some(Subject::Larval(2)));
    assert_eq!(agenda.take(25), Some(Subject::Larval(1)));
    assert_eq!(agenda.take(99), None);
    agenda.put(Subject::Larval(3), 5);
    agenda.remove(Subject::Larval(3));
    assert_eq!(agenda.next(), None);
}
