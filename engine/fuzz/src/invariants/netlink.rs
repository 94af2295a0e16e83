//! Every request is answered or refused with an errno, and what is answered can be read.

use std::cell::RefCell;
use std::collections::VecDeque;

use plutino_engine_core::control::state::State;
use plutino_engine_core::netlink::wire::{attributes, messages, Message};
use plutino_engine_core::netlink::xfrm as x;

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
        let crowded = state.sad.len() > MOST_OBJECTS || state.spd.iter().count() > MOST_OBJECTS;
        if crowded {
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
