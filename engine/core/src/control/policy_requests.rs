//! NEWPOLICY, UPDPOLICY, DELPOLICY, GETPOLICY, FLUSHPOLICY and POLEXPIRE, and the way of every
//! request about policies: length, attributes, then what serves it (`xfrm_user_rcv_msg`).

use std::sync::Arc;

use super::dump::Database;
use super::policy_encode::{encode, encode_deleted, encode_expired, put_type};
use super::policy_parse::{mark_and_if_id, parse, parse_direction, verify_security, verify_type};
use super::state::{Answer, Effect, State, GROUP_EXPIRE, GROUP_POLICY};
use super::{defaults, migrate, spd_info};
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::{Message, Refusal, NLM_F_DUMP};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Direction, Policy};
use crate::spd::{direction_of, Inserted, PolicyKey};

/// `struct xfrm_user_polexpire`, and where `hard` stands in it.
const POLICY_EXPIRE: usize = 176;
const HARD: usize = 168;

/// A request of `linux/xfrm.h` with its attributes.
pub struct Request<'a> {
    pub message: &'a Message<'a>,
    pub attributes: Attributes<'a>,
}

impl Request<'_> {
    pub fn payload(&self) -> &[u8] {
        self.message.payload
    }
}

/// Octets of the fixed structure (`xfrm_msg_min`); None for what is served elsewhere.
fn fixed_length(kind: u16) -> Option<usize> {
    match kind {
        x::NEWPOLICY | x::UPDPOLICY => Some(x::POLICY_INFO),
        x::DELPOLICY | x::GETPOLICY | x::MIGRATE => Some(x::POLICY_ID),
        x::POLEXPIRE => Some(POLICY_EXPIRE),
        x::FLUSHPOLICY => Some(0),
        x::NEWSPDINFO | x::GETSPDINFO => Some(4),
        x::SETDEFAULT | x::GETDEFAULT => Some(x::POLICY_DEFAULT),
        // Told by the kernel and never asked; refused after their attributes are read.
        x::NEWSADINFO => Some(0),
        x::REPORT => Some(4 + x::SELECTOR),
        x::MAPPING => Some(64),
        _ => None,
    }
}

/// Whether a request is about policies, or one that nobody serves.
pub fn serves(kind: u16) -> bool {
    fixed_length(kind).is_some()
}

/// One request about policies.
pub fn serve(state: &mut State, message: &Message) -> Result<Answer, Refusal> {
    // Either bit makes a dump of it, whose request is not looked at any further.
    if message.kind == x::GETPOLICY && message.flags & NLM_F_DUMP != 0 {
        return Ok(Answer {
            effect: Effect::Dump(Database::Spd),
            ..Answer::default()
        });
    }
    let fixed = fixed_length(message.kind).unwrap_or(0);
    let attributes = if message.kind == x::NEWSPDINFO {
        Attributes::parse_spd(message.payload, fixed)?
    } else {
        Attributes::parse(message.payload, fixed)?
    };
    let warning = attributes.warning;
    let request = Request {
        message,
        attributes,
    };
    match carry_out(state, &request) {
        Ok(answer) => Ok(Answer { warning, ..answer }),
        Err(mut refusal) => {
            refusal.words = refusal.words.or(warning.map(str::to_owned));
            Err(refusal)
        }
    }
}

fn carry_out(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let kind = request.message.kind;
    if kind != x::NEWSPDINFO {
        reject_unused(&request.attributes)?;
    }
    match kind {
        x::NEWPOLICY | x::UPDPOLICY => add(state, request),
        x::DELPOLICY => delete(state, request),
        x::GETPOLICY => get(state, request),
        x::FLUSHPOLICY => flush(state, request),
        x::POLEXPIRE => expire(state, request),
        x::MIGRATE => migrate::migrate(state, request),
        x::NEWSPDINFO => spd_info::set(state, request),
        x::GETSPDINFO => spd_info::get(state, request),
        x::SETDEFAULT => defaults::set(state, request),
        x::GETDEFAULT => defaults::get(state),
        _ => Err(Refusal::from(libc::EINVAL)),
    }
}

/// `xfrm_reject_unused_attr()`, as far as it is about requests that are no SA's.
fn reject_unused(attributes: &Attributes) -> Result<(), Refusal> {
    for (number, words) in [
        (x::XFRMA_SA_DIR, "Invalid attribute SA_DIR"),
        (x::XFRMA_SA_PCPU, "Invalid attribute SA_PCPU"),
    ] {
        if attributes.get(number).is_some() {
            return Err(Refusal::new(libc::EINVAL, words));
        }
    }
    Ok(())
}

/// NEWPOLICY, or UPDPOLICY, which replaces and adds (`xfrm_add_policy`).
fn add(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let policy = parse(request.payload(), &request.attributes)?;
    let kind = request.message.kind;
    if kind == x::NEWPOLICY && state.spd.find(&PolicyKey::of(&policy)).is_some() {
        return Err(Refusal::from(libc::EEXIST));
    }
    let Inserted { policy, replaced } = state.spd.insert(policy);
    if let Some(old) = replaced {
        state.remove_policy(&old);
    }
    state.insert_policy(&policy);
    state.notify_of(GROUP_POLICY, request.message, || (kind, encode(&policy)));
    Answer::done()
}

/// The policy that is asked for: by index, or by selector; with the mark and if_id that it has.
/// `selector` starts the structure; index and direction stand where the caller says.
fn named(
    state: &State,
    request: &Request,
    index: u32,
    direction: Option<u8>,
) -> Result<Arc<Policy>, Refusal> {
    verify_type(&request.attributes)?;
    let direction = parse_direction(direction)?;
    let (mark, if_id) = mark_and_if_id(&request.attributes);
    let found = if index != 0 {
        let fits = |policy: &&Arc<Policy>| {
            direction_of(index) == direction as u32 && policy.if_id == if_id && policy.mark == mark
        };
        state.spd.get(index).filter(fits)
    } else {
        verify_security(&request.attributes)?;
        let selector = request.payload()[..x::SELECTOR]
            .try_into()
            .expect("56 octets");
        state.spd.find(&PolicyKey {
            direction,
            selector,
            if_id,
            mark,
        })
    };
    found.cloned().ok_or(Refusal::from(libc::ENOENT))
}

/// What `struct xfrm_userpolicy_id` names; and whether it is by index.
fn named_by_id(state: &State, request: &Request) -> Result<(Arc<Policy>, bool), Refusal> {
    let fields = Fields(request.payload());
    let index = fields.u32(56).unwrap_or(0);
    Ok((named(state, request, index, fields.u8(60))?, index != 0))
}

fn delete(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let (policy, by_index) = named_by_id(state, request)?;
    state.spd.remove(&policy);
    state.remove_policy(&policy);
    state.notify_of(GROUP_POLICY, request.message, || {
        (x::DELPOLICY, encode_deleted(&policy, by_index))
    });
    Answer::done()
}

fn get(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let (policy, _) = named_by_id(state, request)?;
    Answer::of(vec![(x::NEWPOLICY, encode(&policy))])
}

/// An SPD that is empty already is no error, and nothing to tell of.
fn flush(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    verify_type(&request.attributes)?;
    if state.spd.flush() {
        state.clear_policies();
        state.notify_of(GROUP_POLICY, request.message, || {
            let mut payload = Vec::new();
            put_type(&mut payload);
            (x::FLUSHPOLICY, payload)
        });
    }
    Answer::done()
}

/// POLEXPIRE as a request: a key manager says that a policy has expired (`xfrm_add_pol_expire`).
fn expire(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let fields = Fields(request.payload());
    let index = fields.u32(156).unwrap_or(0);
    let policy = named(state, request, index, fields.u8(160))?;
    let hard = fields.u8(HARD).unwrap_or(0) != 0;
    tell_expired(state, &policy, hard, request.message.port);
    Answer::done()
}

fn tell_expired(state: &mut State, policy: &Arc<Policy>, hard: bool, port: u32) {
    if hard && state.spd.remove(policy) {
        state.remove_policy(policy);
    }
    let about = Message {
        kind: x::POLEXPIRE,
        flags: 0,
        sequence: 0,
        port,
        payload: &[],
    };
    state.notify_of(GROUP_EXPIRE, &about, || {
        (x::POLEXPIRE, encode_expired(policy, hard))
    });
}

/// Seconds after which a soft limit is told of again (`XFRM_KM_TIMEOUT`).
const KM_TIMEOUT: i64 = 30;

/// What time has done to policies by now, in seconds since the epoch (`xfrm_policy_timer`). Gives
/// the second at which there may be more to do.
pub fn expire_policies(state: &mut State, now: u64) -> Option<u64> {
    for policy in state.spd.take_due(now) {
        let limits = &policy.limits;
        let used = policy.state.used.load(std::sync::atomic::Ordering::Relaxed);
        let since_use = if used == 0 { policy.added } else { used };
        // Signed and wrapping, as the kernel counts: a limit beyond all time has passed.
        let left = |limit: u64, since: u64| {
            (limit != 0).then_some(limit.wrapping_add(since).wrapping_sub(now) as i64)
        };
        let hard = [
            left(limits.hard_add_seconds, policy.added),
            left(limits.hard_use_seconds, since_use),
        ];
        if hard.into_iter().flatten().any(|left| left <= 0) {
            tell_expired(state, &policy, true, 0);
            continue;
        }
        let soft = [
            left(limits.soft_add_seconds, policy.added),
            left(limits.soft_use_seconds, since_use),
        ];
        if soft.into_iter().flatten().any(|left| left <= 0) {
            tell_expired(state, &policy, false, 0);
        }
        let soft = soft
            .into_iter()
            .flatten()
            .map(|left| if left <= 0 { KM_TIMEOUT } else { left });
        if let Some(next) = hard.into_iter().flatten().chain(soft).min() {
            let next = now.saturating_add(next as u64);
            state.spd.look_again(policy.position, next);
        }
    }
    state.spd.deadline()
}

/// Directions in the order of `struct xfrm_userpolicy_default`, and of `struct xfrmu_spdinfo`.
pub const DEFAULT_ORDER: [Direction; 3] = [Direction::In, Direction::Fwd, Direction::Out];
pub const INFO_ORDER: [Direction; 3] = [Direction::In, Direction::Out, Direction::Fwd];
