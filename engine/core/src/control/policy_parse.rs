//! From a request to a policy: the checks of the kernel, in its order, with its errno and words
//! (`verify_newpolicy_info`, `validate_tmpl`, `xfrm_policy_construct`).

use std::sync::Arc;

use crate::netlink::attributes::Attributes;
use crate::netlink::wire::Refusal;
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Action, Direction, Mark, Policy, Template, Told};
use crate::sa::now;

/// `XFRM_MAX_DEPTH`.
pub const MOST_TEMPLATES: usize = 6;
/// Offset of `family` in `struct xfrm_selector`.
const FAMILY: usize = 40;

/// XFRM_MODE_*; those above 1 that the engine does not serve may stand in a template.
const MODE_TUNNEL: u8 = 1;
const MODE_BEET: u8 = 4;
const MODE_IPTFS: u8 = 5;
const MODE_MAX: u8 = 6;
/// AH, ESP, IPCOMP, routing header, destination options (`xfrm_id_proto_valid`).
const PROTOCOLS: [u8; 5] = [51, 50, 108, 43, 60];
const SHARE_MAX: u8 = 3;
const OFFLOAD_PACKET: u8 = 4;

pub fn invalid(words: &str) -> Refusal {
    Refusal::new(libc::EINVAL, words)
}

/// `verify_policy_dir()`.
pub fn parse_direction(number: Option<u8>) -> Result<Direction, Refusal> {
    match number {
        Some(0) => Ok(Direction::In),
        Some(1) => Ok(Direction::Out),
        Some(2) => Ok(Direction::Fwd),
        _ => Err(invalid("Invalid policy direction")),
    }
}

/// `copy_from_user_policy_type()` of a kernel without CONFIG_XFRM_SUB_POLICY: the main type alone.
pub fn verify_type(attributes: &Attributes) -> Result<(), Refusal> {
    match attributes.get(x::XFRMA_POLICY_TYPE) {
        Some([kind, ..]) if *kind != 0 => Err(invalid("Invalid policy type")),
        _ => Ok(()),
    }
}

/// `verify_sec_ctx_len()`. A context without a security module behind it says nothing, and is
/// dropped as the kernel drops it.
pub fn verify_security(attributes: &Attributes) -> Result<(), Refusal> {
    const FIXED: usize = 8;
    let Some(context) = attributes.get(x::XFRMA_SEC_CTX) else {
        return Ok(());
    };
    let fields = Fields(context);
    let (length, inner) = (fields.u16(0).unwrap_or(0), fields.u16(6).unwrap_or(0));
    if usize::from(length) > context.len() || usize::from(length) != FIXED + usize::from(inner) {
        return Err(invalid("Invalid security context length"));
    }
    Ok(())
}

/// Mark and if_id as a request tells them (`xfrm_mark_get`).
pub fn mark_and_if_id(attributes: &Attributes) -> (Mark, u32) {
    let mark = attributes.get(x::XFRMA_MARK).and_then(x::parse_mark);
    let if_id = attributes.get_u32(x::XFRMA_IF_ID);
    (mark.unwrap_or_default(), if_id.unwrap_or(0))
}

/// The policy of NEWPOLICY and UPDPOLICY; its index is the one asked for.
pub fn parse(payload: &[u8], attributes: &Attributes) -> Result<Policy, Refusal> {
    let info = &payload[..x::POLICY_INFO];
    let (direction, action) = verify_info(info)?;
    verify_security(attributes)?;
    verify_type(attributes)?;
    let family = Fields(info).u16(FAMILY).unwrap_or(0);
    let templates = match attributes.get(x::XFRMA_TMPL) {
        None => Box::default(),
        Some(told) => verify_templates(told, family, direction)?,
    };
    let (mark, if_id) = mark_and_if_id(attributes);
    verify_offload(attributes)?;
    let fields = Fields(info);
    let selector = x::parse_selector(info, 0).ok_or(invalid("Invalid selector family"))?;
    Ok(Policy {
        index: fields.u32(156).unwrap_or(0),
        position: 0,
        order: 0,
        direction,
        selector,
        if_id,
        mark: Mark {
            value: mark.value & mark.mask,
            mask: mark.mask,
        },
        priority: fields.u32(152).unwrap_or(0),
        action,
        flags: fields.u8(162).unwrap_or(0),
        templates: parse_templates(&templates)?,
        limits: x::parse_limits(info, x::SELECTOR)
            .unwrap_or_default()
            .into(),
        added: now(),
        state: Arc::default(),
        told: Told {
            selector: info[..x::SELECTOR].try_into().expect("56 octets"),
            templates,
        },
    })
}

/// `verify_newpolicy_info()`.
fn verify_info(info: &[u8]) -> Result<(Direction, Action), Refusal> {
    let fields = Fields(info);
    if fields.u8(163).is_some_and(|share| share > SHARE_MAX) {
        return Err(invalid("Invalid policy share"));
    }
    let action = match fields.u8(161) {
        Some(0) => Action::Allow,
        Some(1) => Action::Block,
        _ => return Err(invalid("Invalid policy action")),
    };
    let (longest, words) = match fields.u16(FAMILY) {
        Some(x::AF_INET) => (
            32,
            "Invalid prefix length in selector (must be <= 32 for IPv4)",
        ),
        Some(x::AF_INET6) => (
            128,
            "Invalid prefix length in selector (must be <= 128 for IPv6)",
        ),
        _ => return Err(invalid("Invalid selector family")),
    };
    if info[FAMILY + 2] > longest || info[FAMILY + 3] > longest {
        return Err(invalid(words));
    }
    let direction = parse_direction(fields.u8(160))?;
    let index = fields.u32(156).unwrap_or(0);
    if index != 0 && crate::spd::direction_of(index) != direction as u32 {
        return Err(invalid("Policy index doesn't match direction"));
    }
    Ok((direction, action))
}

/// `validate_tmpl()`; gives them as the kernel keeps them.
fn verify_templates(told: &[u8], family: u16, direction: Direction) -> Result<Box<[u8]>, Refusal> {
    let count = told.len() / x::TEMPLATE;
    if count > MOST_TEMPLATES {
        return Err(invalid("Template count must be <= XFRM_MAX_DEPTH (6)"));
    }
    let mut kept: Box<[u8]> = told[..count * x::TEMPLATE].into();
    let mut previous = family;
    for template in kept.chunks_exact_mut(x::TEMPLATE) {
        let own = match Fields(template).u16(24) {
            None | Some(0) => family,
            Some(own) => own,
        };
        template[24..26].copy_from_slice(&own.to_ne_bytes());
        // Holes of the structure between members that are copied one by one.
        template[26..28].fill(0);
        template[51] = 0;
        let (mode, optional) = (template[48], template[50] != 0);
        if matches!(mode, MODE_TUNNEL | MODE_BEET | MODE_IPTFS) {
            if optional && direction == Direction::Out {
                return Err(invalid(
                    "Mode in optional template not allowed in outbound policy",
                ));
            }
        } else if own != previous {
            return Err(invalid("Mode in template doesn't support a family change"));
        }
        if mode >= MODE_MAX {
            return Err(invalid("Mode in template must be < XFRM_MODE_MAX (6)"));
        }
        previous = own;
        if !matches!(own, x::AF_INET | x::AF_INET6) {
            return Err(invalid("Invalid family in template"));
        }
        if !PROTOCOLS.contains(&template[20]) {
            return Err(invalid("Invalid XFRM protocol in template"));
        }
    }
    Ok(kept)
}

/// The templates of octets that were verified.
pub fn parse_templates(told: &[u8]) -> Result<Vec<Template>, Refusal> {
    x::parse_templates(told).ok_or_else(|| invalid("Invalid family in template"))
}

/// `xfrm_dev_policy_add()`: no device of the engine takes policies over.
fn verify_offload(attributes: &Attributes) -> Result<(), Refusal> {
    match attributes.get(x::XFRMA_OFFLOAD_DEV) {
        None => Ok(()),
        Some(told) if told[4] == OFFLOAD_PACKET => Err(invalid("Policy offload is not supported")),
        Some(_) => Err(invalid("Unrecognized flags in offload request")),
    }
}
