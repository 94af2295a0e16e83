//! NEWPOLICY, UPDPOLICY, DELPOLICY, GETPOLICY, FLUSHPOLICY, GETSPDINFO and the defaults: errors and
//! their words as in `net/xfrm/xfrm_user.c`.

use std::sync::Arc;

use super::sa_requests::find;
use super::state::{Answer, State, GROUP_POLICY};
use crate::lifetime::Limits;
use crate::netlink::wire::{attributes, put_attribute, Refusal};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Action, Direction, Mark, Policy, Template};
use crate::sa::{now, Mode};
use crate::spd;

/// `XFRM_MAX_DEPTH`.
const MOST_TEMPLATES: usize = 6;
const MODE_MAX: u8 = 6;
const USERPOLICY_ACCEPT: u8 = 2;
/// AH, ESP, IPCOMP, routing header, destination options, any.
const PROTOCOLS: [u8; 6] = [50, 51, 108, 43, 60, 255];

fn invalid(words: &str) -> Refusal {
    Refusal::new(libc::EINVAL, words)
}

fn parse_direction(number: Option<u8>) -> Result<Direction, Refusal> {
    match number {
        Some(0) => Ok(Direction::In),
        Some(1) => Ok(Direction::Out),
        Some(2) => Ok(Direction::Fwd),
        _ => Err(invalid("Invalid policy direction")),
    }
}

/// What besides the fixed structure identifies a policy: mark and if_id; and its type is checked.
fn parse_extra(attributes: &[(u16, &[u8])]) -> Result<(Mark, u32), Refusal> {
    if find(attributes, x::XFRMA_POLICY_TYPE).is_some_and(|payload| payload.first() != Some(&0)) {
        return Err(Refusal::new(
            libc::EOPNOTSUPP,
            "The engine has no sub policies",
        ));
    }
    let mark = match find(attributes, x::XFRMA_MARK) {
        None => Mark::default(),
        Some(payload) => x::parse_mark(payload).ok_or(invalid("Invalid attribute length"))?,
    };
    let if_id = match find(attributes, x::XFRMA_IF_ID) {
        None => 0,
        Some(payload) => Fields(payload)
            .u32(0)
            .ok_or(invalid("Invalid attribute length"))?,
    };
    Ok((mark, if_id))
}

fn attributes_after(payload: &[u8], fixed: usize) -> Result<Vec<(u16, &[u8])>, Refusal> {
    payload
        .get(fixed..)
        .and_then(attributes)
        .ok_or_else(|| invalid("Attribute length does not fit"))
}

/// `verify_newpolicy_info()`, `validate_tmpl()`.
fn parse(payload: &[u8]) -> Result<Policy, Refusal> {
    let info = payload
        .get(..x::POLICY_INFO)
        .ok_or(invalid("Message is too short"))?;
    let fields = Fields(info);
    let family = fields.u16(40).unwrap_or(0);
    let selector = x::parse_selector(info, 0).ok_or(invalid("Invalid selector family"))?;
    let longest = if family == x::AF_INET { 32 } else { 128 };
    if selector.source_prefix > longest || selector.destination_prefix > longest {
        return Err(invalid("Invalid selector prefix length"));
    }
    let action = match fields.u8(161) {
        Some(0) => Action::Allow,
        Some(1) => Action::Block,
        _ => return Err(invalid("Invalid policy action")),
    };
    let attributes = attributes_after(payload, x::POLICY_INFO)?;
    let (mark, if_id) = parse_extra(&attributes)?;
    let templates = match find(&attributes, x::XFRMA_TMPL) {
        None => Vec::new(),
        Some(payload) => {
            x::parse_templates(payload).ok_or(invalid("Invalid family in template"))?
        }
    };
    verify_templates(&templates, family)?;
    Ok(Policy {
        index: 0,
        position: 0,
        direction: parse_direction(fields.u8(160))?,
        selector,
        if_id,
        mark,
        priority: fields.u32(152).unwrap_or(0),
        action,
        flags: fields.u8(162).unwrap_or(0),
        share: fields.u8(163).unwrap_or(0),
        templates,
        limits: Limits::NONE,
        added: now(),
        state: Arc::default(),
    })
}

fn verify_templates(templates: &[Template], family: u16) -> Result<(), Refusal> {
    if templates.len() > MOST_TEMPLATES {
        return Err(invalid("Template count must be <= XFRM_MAX_DEPTH (6)"));
    }
    let mut previous = family;
    for template in templates {
        let own = x::family_of(template.destination);
        if template.mode >= MODE_MAX {
            return Err(invalid("Mode in template must be < XFRM_MODE_MAX (6)"));
        }
        if template.mode != Mode::Tunnel as u8 && own != previous {
            return Err(invalid("Mode in template doesn't support a family change"));
        }
        if !PROTOCOLS.contains(&template.protocol) {
            return Err(invalid("Invalid XFRM protocol in template"));
        }
        previous = own;
    }
    Ok(())
}

fn encode(policy: &Policy) -> Vec<u8> {
    let mut info = vec![0; x::POLICY_INFO];
    let family = x::family_of(policy.selector.source);
    info[..56].copy_from_slice(&x::encode_selector(&policy.selector, family));
    info[56..120].copy_from_slice(&x::unlimited());
    info[120..152].copy_from_slice(&x::current_lifetime(0, 0, policy.added, 0));
    info[152..156].copy_from_slice(&policy.priority.to_ne_bytes());
    info[156..160].copy_from_slice(&policy.index.to_ne_bytes());
    info[160..164].copy_from_slice(&[
        policy.direction as u8,
        policy.action as u8,
        policy.flags,
        policy.share,
    ]);
    if !policy.templates.is_empty() {
        put_attribute(
            &mut info,
            x::XFRMA_TMPL,
            &x::encode_templates(&policy.templates),
        );
    }
    // struct xfrm_userpolicy_type: the main type, and its padding
    put_attribute(&mut info, x::XFRMA_POLICY_TYPE, &[0; 6]);
    if policy.mark.mask != 0 || policy.mark.value != 0 {
        put_attribute(&mut info, x::XFRMA_MARK, &x::encode_mark(policy.mark));
    }
    if policy.if_id != 0 {
        put_attribute(&mut info, x::XFRMA_IF_ID, &policy.if_id.to_ne_bytes());
    }
    info
}

/// NEWPOLICY, or UPDPOLICY, which replaces and adds.
pub fn add(state: &mut State, payload: &[u8], update: bool) -> Result<Answer, Refusal> {
    let policy = parse(payload)?;
    let policy = if update {
        if let Some(old) = state.spd.find(&spd::key_of(&policy)).cloned() {
            state.remove_policy(&old);
        }
        state.spd.replace(policy)
    } else {
        state.spd.add(policy).ok_or(Refusal::from(libc::EEXIST))?
    };
    let kind = if update { x::UPDPOLICY } else { x::NEWPOLICY };
    state.insert_policy(&policy);
    state.notify(GROUP_POLICY, (kind, encode(&policy)));
    Answer::done()
}

/// The policy that `struct xfrm_userpolicy_id` names, by index or by selector, if_id and mark.
fn named(state: &State, payload: &[u8]) -> Result<Arc<Policy>, Refusal> {
    let id = payload
        .get(..x::POLICY_ID)
        .ok_or(invalid("Message is too short"))?;
    let fields = Fields(id);
    let direction = parse_direction(fields.u8(60))?;
    let attributes = attributes_after(payload, x::POLICY_ID)?;
    let (mark, if_id) = parse_extra(&attributes)?;
    let index = fields.u32(56).unwrap_or(0);
    let found = if index != 0 {
        state
            .spd
            .get(index)
            .filter(|policy| policy.direction == direction && policy.if_id == if_id)
    } else {
        let selector = x::parse_selector(id, 0).ok_or(invalid("Invalid selector family"))?;
        state.spd.find(&(direction, selector, if_id, mark))
    };
    found.cloned().ok_or(Refusal::from(libc::ENOENT))
}

pub fn delete(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let policy = named(state, payload)?;
    state.spd.remove(policy.index);
    state.remove_policy(&policy);
    state.notify(GROUP_POLICY, (x::DELPOLICY, payload.to_vec()));
    Answer::done()
}

pub fn get(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    let policy = named(state, payload)?;
    Answer::of(vec![(x::NEWPOLICY, encode(&policy))])
}

pub fn dump(state: &State) -> Result<Answer, Refusal> {
    Answer::of(
        state
            .spd
            .iter()
            .map(|policy| (x::NEWPOLICY, encode(policy)))
            .collect(),
    )
}

pub fn flush(state: &mut State) -> Result<Answer, Refusal> {
    if state.spd.flush() > 0 {
        state.clear_policies();
    }
    state.notify(GROUP_POLICY, (x::FLUSHPOLICY, Vec::new()));
    Answer::done()
}

pub fn info(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    let flags = payload.get(..4).ok_or(invalid("Message is too short"))?;
    let mut reply = flags.to_vec();
    let mut counts = Vec::with_capacity(24);
    for direction in [Direction::In, Direction::Out, Direction::Fwd] {
        counts.extend(state.spd.count(direction).to_ne_bytes());
    }
    counts.resize(24, 0); // no policies of sockets
    put_attribute(&mut reply, 1, &counts);
    put_attribute(
        &mut reply,
        2,
        &[8u32.to_ne_bytes(), (1u32 << 20).to_ne_bytes()].concat(),
    );
    Answer::of(vec![(x::NEWSPDINFO, reply)])
}

/// Without a policy the engine drops in every direction; what the kernel accepts by default are
/// packets that no interface of ours ever sees.
pub fn get_default() -> Result<Answer, Refusal> {
    Answer::of(vec![(x::GETDEFAULT, vec![USERPOLICY_ACCEPT; 3])])
}

pub fn set_default(payload: &[u8]) -> Result<Answer, Refusal> {
    let wanted = payload.get(..3).ok_or(invalid("Message is too short"))?;
    if wanted
        .iter()
        .all(|one| matches!(*one, 0 | USERPOLICY_ACCEPT))
    {
        return Answer::done();
    }
    Err(Refusal::new(
        libc::EOPNOTSUPP,
        "The engine does not serve default policies yet",
    ))
}
