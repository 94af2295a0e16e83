//! From a policy to the messages that tell of it (`copy_to_user_policy` and what stands around it).

use std::sync::atomic::Ordering::Relaxed;

use crate::netlink::wire::put_attribute;
use crate::netlink::xfrm as x;
use crate::policy::Policy;

/// `struct xfrm_userpolicy_info`.
fn info(policy: &Policy) -> [u8; x::POLICY_INFO] {
    let mut info = [0; x::POLICY_INFO];
    let state = &policy.state;
    info[..56].copy_from_slice(&policy.told.selector);
    info[56..120].copy_from_slice(&x::encode_limits(&policy.limits));
    info[120..152].copy_from_slice(&x::current_lifetime(
        state.octets.load(Relaxed),
        state.packets.load(Relaxed),
        policy.added,
        state.used.load(Relaxed),
    ));
    info[152..156].copy_from_slice(&policy.priority.to_ne_bytes());
    info[156..160].copy_from_slice(&policy.index.to_ne_bytes());
    // The kernel keeps no share: it is told as XFRM_SHARE_ANY.
    let direction = policy.direction as u8;
    info[160..163].copy_from_slice(&[direction, policy.action as u8, policy.flags]);
    info
}

/// `struct xfrm_userpolicy_type`, which a kernel with CONFIG_XFRM_SUB_POLICY tells of.
pub fn put_type(message: &mut Vec<u8>) {
    put_attribute(message, x::XFRMA_POLICY_TYPE, &[0; 6]);
}

fn put_attributes(message: &mut Vec<u8>, policy: &Policy) {
    if !policy.told.templates.is_empty() {
        put_attribute(message, x::XFRMA_TMPL, &policy.told.templates);
    }
    put_type(message);
    if policy.mark.mask | policy.mark.value != 0 {
        put_attribute(message, x::XFRMA_MARK, &x::encode_mark(policy.mark));
    }
    if policy.if_id != 0 {
        put_attribute(message, x::XFRMA_IF_ID, &policy.if_id.to_ne_bytes());
    }
}

/// NEWPOLICY and UPDPOLICY (`dump_one_policy`).
pub fn encode(policy: &Policy) -> Vec<u8> {
    let mut message = info(policy).to_vec();
    put_attributes(&mut message, policy);
    message
}

/// DELPOLICY as a notification: index or selector, as it was asked for, and the policy that was.
pub fn encode_deleted(policy: &Policy, by_index: bool) -> Vec<u8> {
    let mut message = vec![0; x::POLICY_ID];
    if by_index {
        message[56..60].copy_from_slice(&policy.index.to_ne_bytes());
    } else {
        message[..56].copy_from_slice(&policy.told.selector);
    }
    message[60] = policy.direction as u8;
    put_attribute(&mut message, x::XFRMA_POLICY, &info(policy));
    put_attributes(&mut message, policy);
    message
}

/// POLEXPIRE (`build_polexpire`).
pub fn encode_expired(policy: &Policy, hard: bool) -> Vec<u8> {
    let mut message = info(policy).to_vec();
    message.extend([u8::from(hard), 0, 0, 0, 0, 0, 0, 0]);
    put_attributes(&mut message, policy);
    message
}
