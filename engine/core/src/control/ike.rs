//! IKE on port 4500, which the engine's socket has: what bears the non-ESP marker (RFC 3948, 2.2) is
//! told to who listens to GROUP_IKE, and IKE messages of requests are sent (docs/engine-protocol.md).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::device_requests::{invalid, number, parse};
use super::sa_requests::find;
use super::state::{Answer, State, GROUP_IKE};
use crate::netlink::engine as e;
use crate::netlink::wire::{put_attribute, Message, Refusal};
use crate::underlay::{Plain, MARKER};

/// A message that came, without its marker.
pub fn tell(state: &mut State, came: &Plain, octets: &[u8]) {
    state.notify_of(GROUP_IKE, &Message::NONE, || {
        let mut payload = Vec::new();
        put_attribute(&mut payload, e::SOURCE, &address_octets(came.source));
        put_attribute(
            &mut payload,
            e::DESTINATION,
            &address_octets(came.destination),
        );
        put_attribute(&mut payload, e::PORT, &u32::from(came.port).to_ne_bytes());
        put_attribute(&mut payload, e::DATAGRAM, octets);
        (e::IKE, payload)
    });
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

fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
