//! MIGRATE_STATE: one SA at other addresses, by SPI and mark (`xfrm_do_migrate_state` of Linux 7.2).
//! What is left out is inherited. Keys, sequence numbers and counters are not copied but the same
//! ones, so that no packet is lost and no number comes twice while workers still hold the old SA.

use std::sync::Arc;

use super::policy_parse::invalid;
use super::policy_requests::Request;
use super::sa_encode::{put_direction, put_encapsulation, put_output_mark};
use super::sa_parse::{encapsulation, output_mark, refuse};
use super::sa_verify::verify_keepalive;
use super::state::{Answer, State, GROUP_MIGRATE};
use crate::netlink::wire::{put_attribute, Refusal};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Mark, Selector};
use crate::sa::{Encapsulation, Mode, Sa, SaConfig, SaDirection};
use crate::sad::{key_of, Found};

/// `struct xfrm_user_migrate_state`.
pub const LENGTH: usize = 132;
const NEW_DESTINATION: usize = 24;
const NEW_SOURCE: usize = 40;
const OLD_MARK: usize = 56;
const NEW_SELECTOR: usize = 64;
const NEW_REQID: usize = 120;
const FLAGS: usize = 124;
const NEW_FAMILY: usize = 128;
const RESERVED: usize = 130;
/// `XFRM_MIGRATE_STATE_*`.
const CLEAR_OFFLOAD: u32 = 1;
const UPDATE_H2H_SEL: u32 = 2;
const ATTRIBUTES: [u16; 7] = [
    x::XFRMA_MARK,
    x::XFRMA_ENCAP,
    x::XFRMA_OFFLOAD_DEV,
    x::XFRMA_SET_MARK,
    x::XFRMA_SET_MARK_MASK,
    x::XFRMA_MTIMER_THRESH,
    x::XFRMA_NAT_KEEPALIVE_INTERVAL,
];

pub fn migrate(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let unsupported = "Unsupported attribute in XFRM_MSG_MIGRATE_STATE";
    request.attributes.only(&ATTRIBUTES, unsupported)?;
    let fields = Fields(request.payload());
    let flags = fields.u32(FLAGS).unwrap_or(0);
    let family = fields.u16(NEW_FAMILY).unwrap_or(0);
    let follow = flags & UPDATE_H2H_SEL != 0;
    verify(fields, flags, family)?;
    let old_mark = fields.0.get(OLD_MARK..).and_then(x::parse_mark);
    let old_mark = old_mark.map_or(0, |mark| mark.value & mark.mask);
    let (spi, protocol) = (fields.be32(16).unwrap_or(0), fields.u8(22).unwrap_or(0));
    let old = fields
        .address(0, fields.u16(20).unwrap_or(0))
        .and_then(|address| state.sad.find(address, spi, protocol, old_mark))
        .ok_or(Refusal::new(libc::ESRCH, "Can not find state"))?;
    let old = match old {
        Found::Sa(sa) => sa,
        Found::Larval(_) => return Err(Refusal::new(libc::ESRCH, "State already deleted")),
    };
    if follow {
        verify_host_to_host(&old.config)?;
    }
    let config = describe(&old.config, request, family, follow)?;
    let mark = config.mark.value & config.mark.mask;
    let moves = config.destination != old.config.destination;
    let is_taken = |found: &Found| !matches!(found, Found::Sa(sa) if Arc::ptr_eq(sa, &old));
    if (moves || key_of(&config) != key_of(&old.config))
        && state
            .sad
            .find(config.destination, spi, protocol, mark)
            .is_some_and(|found| is_taken(&found))
    {
        return Err(Refusal::new(libc::EEXIST, "New SA tuple already occupied"));
    }
    if !old.state.is_valid() {
        return Err(Refusal::new(libc::ESRCH, "State already deleted"));
    }
    state.sad.remove(&key_of(&old.config));
    let new = state.sad.replace(Sa {
        config,
        transform: Arc::clone(&old.transform),
        state: Arc::clone(&old.state),
    });
    state.replace_sa(&old, &new);
    state.notify_of(GROUP_MIGRATE, request.message, || {
        (x::MIGRATE_STATE, encode(&new.config, request))
    });
    Answer::done()
}

fn verify(fields: Fields, flags: u32, family: u16) -> Result<(), Refusal> {
    refuse(fields.u32(16) == Some(0), "Invalid SPI 0x0")?;
    refuse(
        fields.u16(RESERVED) != Some(0),
        "Reserved field must be zero",
    )?;
    let unknown = flags & !(CLEAR_OFFLOAD | UPDATE_H2H_SEL);
    refuse(unknown != 0, &format!("Unknown flags: 0x{unknown:x}"))?;
    refuse(
        !matches!(family, x::AF_INET | x::AF_INET6),
        "Invalid address family",
    )?;
    if flags & UPDATE_H2H_SEL != 0 {
        return Ok(());
    }
    let longest = fields
        .u8(NEW_SELECTOR + 42)
        .max(fields.u8(NEW_SELECTOR + 43));
    match fields.u16(NEW_SELECTOR + 40) {
        Some(0) => Ok(()),
        Some(x::AF_INET) => refuse(
            longest > Some(32),
            "Invalid prefix length in selector (must be <= 32 for IPv4)",
        ),
        Some(x::AF_INET6) => refuse(
            longest > Some(128),
            "Invalid prefix length in selector (must be <= 128 for IPv6)",
        ),
        _ => Err(invalid("Invalid address family in selector")),
    }
}

fn verify_host_to_host(config: &SaConfig) -> Result<(), Refusal> {
    let selector = &config.selector;
    let prefix = if config.destination.is_ipv4() {
        32
    } else {
        128
    };
    refuse(
        selector.source_prefix != prefix
            || selector.destination_prefix != prefix
            || selector.destination != config.destination
            || selector.source != config.source,
        "SA selector is not a single-host match for SA addresses",
    )
}

/// What the SA becomes.
fn describe(
    old: &SaConfig,
    request: &Request,
    family: u16,
    follow: bool,
) -> Result<SaConfig, Refusal> {
    let attributes = &request.attributes;
    let fields = Fields(request.payload());
    let address = |at| {
        fields
            .address(at, family)
            .ok_or(invalid("Invalid address family"))
    };
    let (source, destination) = (address(NEW_SOURCE)?, address(NEW_DESTINATION)?);
    let (wrapping, original_address) = match attributes.get(x::XFRMA_ENCAP) {
        None => (old.encapsulation, old.original_address.clone()),
        Some([0, 0, ..]) => (Encapsulation::Esp, None),
        Some(octets) => {
            let told = encapsulation(octets).ok_or(invalid("Unsupported encapsulation type"))?;
            (told.0, Some(Box::new(told.1)))
        }
    };
    let encapsulated = wrapping != Encapsulation::Esp;
    if attributes.get(x::XFRMA_MTIMER_THRESH).is_some() {
        refuse(!encapsulated, "MTIMER_THRESH requires encapsulation")?;
        refuse(
            old.direction == Some(SaDirection::Out),
            "MTIMER_THRESH should not be set on output SA",
        )?;
    }
    let keepalive = attributes.get_u32(x::XFRMA_NAT_KEEPALIVE_INTERVAL);
    refuse(
        keepalive.unwrap_or(0) != 0 && !encapsulated,
        "NAT_KEEPALIVE_INTERVAL requires encapsulation",
    )?;
    let threshold = attributes.get_u32(x::XFRMA_MTIMER_THRESH);
    // Both belong to the encapsulation and go with it.
    let kept = |value: u32| if encapsulated { value } else { 0 };
    let keepalive_interval = kept(keepalive.unwrap_or(old.keepalive_interval));
    let (selector, selector_family) = selector(old, fields, family, follow, (source, destination))?;
    if selector_family != 0 && old.mode == Mode::Transport && selector_family != family {
        return Err(invalid(
            "Only tunnel modes can accommodate a change of family",
        ));
    }
    verify_keepalive(keepalive_interval, old.direction, wrapping)?;
    refuse(
        attributes.get(x::XFRMA_OFFLOAD_DEV).is_some(),
        "Type doesn't support offload",
    )?;
    let mark = attributes
        .get(x::XFRMA_MARK)
        .and_then(x::parse_mark)
        .map_or(old.mark, |mark| Mark {
            value: mark.value & mark.mask,
            ..mark
        });
    Ok(SaConfig {
        source,
        destination,
        reqid: fields.u32(NEW_REQID).unwrap_or(0),
        mark,
        output_mark: output_mark(attributes).unwrap_or(old.output_mark),
        encapsulation: wrapping,
        original_address,
        mapping_threshold: kept(threshold.unwrap_or(old.mapping_threshold)),
        keepalive_interval,
        selector: selector.into(),
        selector_family,
        ..old.clone()
    })
}

fn selector(
    old: &SaConfig,
    fields: Fields,
    family: u16,
    follow: bool,
    (source, destination): (std::net::IpAddr, std::net::IpAddr),
) -> Result<(Selector, u16), Refusal> {
    if follow {
        let prefix = if family == x::AF_INET { 32 } else { 128 };
        let selector = Selector {
            source,
            source_prefix: prefix,
            destination,
            destination_prefix: prefix,
            ..Selector::clone(&old.selector)
        };
        return Ok((selector, family));
    }
    let octets = &fields.0[NEW_SELECTOR..NEW_REQID];
    let selector =
        x::parse_selector(octets, family).ok_or(invalid("Invalid address family in selector"))?;
    Ok((selector, fields.u16(NEW_SELECTOR + 40).unwrap_or(0)))
}

/// `build_migrate_state()`.
fn encode(config: &SaConfig, request: &Request) -> Vec<u8> {
    let attributes = &request.attributes;
    let mut message = request.payload()[..LENGTH].to_vec();
    let selector = x::encode_selector(&config.selector, config.selector_family);
    message[NEW_SELECTOR..NEW_REQID].copy_from_slice(&selector);
    match attributes.get(x::XFRMA_ENCAP) {
        Some(told) => put_attribute(&mut message, x::XFRMA_ENCAP, &told[..24]),
        None => put_encapsulation(&mut message, config),
    }
    if let Some(mark) = attributes.get(x::XFRMA_MARK) {
        put_attribute(&mut message, x::XFRMA_MARK, &mark[..8]);
    }
    put_output_mark(&mut message, config);
    for (number, value) in [
        (x::XFRMA_MTIMER_THRESH, config.mapping_threshold),
        (x::XFRMA_NAT_KEEPALIVE_INTERVAL, config.keepalive_interval),
    ] {
        if value != 0 {
            put_attribute(&mut message, number, &value.to_ne_bytes());
        }
    }
    put_direction(&mut message, config);
    message
}
