//! SETDEFAULT and GETDEFAULT: what happens to packets that fit no policy.

use super::policy_requests::{Request, DEFAULT_ORDER};
use super::state::{Answer, State, GROUP_POLICY};
use crate::netlink::wire::{Message, Refusal};
use crate::netlink::xfrm as x;

const USERPOLICY_BLOCK: u8 = 1;
const USERPOLICY_ACCEPT: u8 = 2;

/// `struct xfrm_userpolicy_default`, padded as it stands in a message.
fn encode(state: &State) -> Vec<u8> {
    let told = |blocked: bool| {
        if blocked {
            USERPOLICY_BLOCK
        } else {
            USERPOLICY_ACCEPT
        }
    };
    let mut message: Vec<u8> = DEFAULT_ORDER
        .iter()
        .map(|direction| told(state.tables.blocked[*direction as usize]))
        .collect();
    message.push(0);
    message
}

pub fn get(state: &State) -> Result<Answer, Refusal> {
    Answer::of(vec![(x::GETDEFAULT, encode(state))])
}

/// Any other number than BLOCK and ACCEPT leaves a direction as it is (`xfrm_set_default`).
pub fn set(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    for (direction, wanted) in DEFAULT_ORDER.iter().zip(request.payload()) {
        match *wanted {
            USERPOLICY_BLOCK => state.set_default(*direction, true),
            USERPOLICY_ACCEPT => state.set_default(*direction, false),
            _ => {}
        }
    }
    let message = encode(state);
    state.notify_of(GROUP_POLICY, &Message::NONE, || (x::GETDEFAULT, message));
    Answer::done()
}
