//! IKE on port 4500, which the engine's socket has: what bears the non-ESP marker (RFC 3948, 2.2)
//! goes to a socket that HEARIKE brings, and messages of requests are sent (docs/engine-protocol.md).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use super::device_requests::{invalid, number, parse};
use super::sa_requests::find;
use super::state::{Answer, State};
use crate::netlink::engine as e;
use crate::netlink::wire::Refusal;
use crate::underlay::{Plain, MARKER};

/// From now on what comes goes to the socket that the request brings.
pub fn hear(state: &State, descriptors: &mut VecDeque<OwnedFd>) -> Result<Answer, Refusal> {
    let socket = descriptors.pop_front();
    let socket = socket.ok_or(invalid("A descriptor is missing"))?;
    state.events.ike.lead_to(socket).map_err(|error| {
        Refusal::new(
            error.raw_os_error().unwrap_or(libc::EIO),
            &format!("No IKE can be passed on by this: {error}"),
        )
    })?;
    Answer::done()
}

/// A message to send; the marker is put before it, a keepalive of one octet goes without.
pub fn send(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    let attributes = parse(payload)?;
    let port = number(&attributes, e::PORT, "PORT is missing")?;
    let way = Plain {
        source: address(&attributes, e::SOURCE)?,
        destination: address(&attributes, e::DESTINATION)?,
        port: u16::try_from(port).map_err(|_| invalid("PORT must be at most 65535"))?,
        mark: number(&attributes, e::MARK, "MARK is missing")?,
    };
    if way.source.is_ipv4() != way.destination.is_ipv4() {
        return Err(invalid("SOURCE and DESTINATION are of two families"));
    }
    let octets = find(&attributes, e::DATAGRAM).ok_or_else(|| invalid("DATAGRAM is missing"))?;
    let marked = [&MARKER, octets].concat();
    let whole = if octets == [0xff] { octets } else { &marked };
    state.path.send_plain(&way, whole).map_err(|error| {
        Refusal::new(
            error.raw_os_error().unwrap_or(libc::EIO),
            &format!("The message cannot be sent: {error}"),
        )
    })?;
    Answer::done()
}

fn address(attributes: &[(u16, &[u8])], number: u16) -> Result<IpAddr, Refusal> {
    let octets = find(attributes, number).ok_or_else(|| invalid("An address is missing"))?;
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(octets);
    sixteen
        .map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
        .map_err(|_| invalid("An address has 4 or 16 octets"))
}
