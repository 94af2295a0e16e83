//! NEWMAP, DELMAP, GETMAP: which if_id the external device's packets get (docs/engine-protocol.md).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::device_requests::{invalid, number, parse};
use super::sa_requests::find;
use super::state::{Answer, State};
use crate::external_map::Prefix;
use crate::netlink::engine as e;
use crate::netlink::wire::{put_attribute, Refusal};
use crate::policy::masked;

/// A prefix is told by its length and 4 or 16 octets.
fn prefix(attributes: &[(u16, &[u8])]) -> Result<Prefix, Refusal> {
    let octets = find(attributes, e::PREFIX).ok_or_else(|| invalid("PREFIX is missing"))?;
    let (length, rest) = octets
        .split_first()
        .ok_or_else(|| invalid("PREFIX is empty"))?;
    let address = match rest.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(rest).expect("4 octets"))),
        16 => IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(rest).expect("16 octets"),
        )),
        _ => return Err(invalid("PREFIX must have 5 or 17 octets")),
    };
    if usize::from(*length) > rest.len() * 8 || masked(address, *length) != address {
        return Err(invalid("PREFIX is too long, or has host bits"));
    }
    Ok((address, *length))
}

pub fn add(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let attributes = parse(payload)?;
    let prefix = prefix(&attributes)?;
    let if_id = number(&attributes, e::IF_ID, "IF_ID is missing")?;
    // LWT_XFRM_IF_ID: NLA_POLICY_MIN of 1.
    if if_id == 0 {
        return Err(invalid("if_id must be non zero"));
    }
    if !state.change_external(|map| map.insert(prefix, if_id)) {
        return Err(Refusal::new(libc::EEXIST, "The prefix has an if_id"));
    }
    Answer::done()
}

pub fn delete(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let prefix = prefix(&parse(payload)?)?;
    if !state.change_external(|map| map.remove(prefix)) {
        return Err(Refusal::new(libc::ESRCH, "No such prefix"));
    }
    Answer::done()
}

pub fn get(state: &State) -> Result<Answer, Refusal> {
    let encode = |((address, length), if_id): (&Prefix, &u32)| {
        let mut octets = vec![*length];
        match address {
            IpAddr::V4(address) => octets.extend(address.octets()),
            IpAddr::V6(address) => octets.extend(address.octets()),
        }
        let mut payload = Vec::new();
        put_attribute(&mut payload, e::PREFIX, &octets);
        put_attribute(&mut payload, e::IF_ID, &if_id.to_ne_bytes());
        (e::NEWMAP, payload)
    };
    Answer::of(state.tables.external.iter().map(encode).collect())
}
