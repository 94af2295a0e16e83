//! Every request is answered or refused with an errno, and what is answered can be read.

use std::cell::RefCell;
use std::collections::VecDeque;

use plutino_engine_core::control::state::State;
use plutino_engine_core::netlink::wire::{attributes, messages, Message};
use plutino_engine_core::netlink::xfrm as x;
use plutino_engine_core::policy::Direction;

/// More than these are flushed, so that a long run measures parsers and not memory.
const MOST_OBJECTS: usize = 512;

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new().expect("threads can be started"));
}

/// A datagram of messages.
pub fn check(datagram: &[u8]) {
    if let Some(found) = messages(datagram) {
        for message in found {
            check_request(&message);
        }
    }
    let _ = attributes(datagram);
}

pub fn check_request(message: &Message) {
    STATE.with_borrow_mut(|state| {
        let result = state.handle(message, &mut VecDeque::new());
        if let Err(refusal) = result {
            assert!(refusal.errno > 0);
        }
        state.notifications.clear();
        let directions = [Direction::In, Direction::Out, Direction::Fwd];
        let policies: u32 = directions.map(|one| state.spd.count(one)).iter().sum();
        if state.sad.len() > MOST_OBJECTS || policies as usize > MOST_OBJECTS {
            for (kind, payload) in [(x::FLUSHSA, &[0u8; 4][..]), (x::FLUSHPOLICY, &[][..])] {
                let flush = Message {
                    kind,
                    flags: 1,
                    sequence: 1,
                    port: 0,
                    payload,
                };
                let _ = state.handle(&flush, &mut VecDeque::new());
            }
        }
    });
}
