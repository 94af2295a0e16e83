//! What a mode does to a packet: which part of it ESP carries, and how it is made whole again.
//!
//! ```text
//! tunnel     outer IP | ESP | whole inner packet                    (RFC 4303, 3.1.2)
//! transport  its own IP header | ESP | transport header, data       (RFC 4303, 3.1.1)
//! BEET       outer IP | ESP | [pseudo header] | transport header …  (draft-nikander-esp-beet-mode-09)
//! ```
//!
//! A BEET SA knows the inner addresses from its selector; the IPv4 options of the inner packet
//! travel behind a pseudo header.

use std::net::IpAddr;

use crate::checksum;
use crate::ecn;
use crate::inbound::Received;
use crate::ip::{Packet, IPIP, IPV6};
use crate::outbound::Outer;
use crate::sa::{Mode, Sa, XFRM_STATE_NOPMTUDISC};
use crate::stats::DropReason;

/// IPPROTO_BEETPH.
pub const BEETPH: u8 = 94;
const FRAGMENT: u8 = 44;
/// IPPROTO_HOPOPTS and IPPROTO_ROUTING stand in front of ESP in transport mode (RFC 4303, 3.1.1).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const NOP: u8 = 1;
const V4: usize = 20;
const V6: usize = 40;
/// IPV4_BEET_PHMAXLEN.
const PSEUDO: usize = 8;
/// The least MTU of IPv6 (RFC 8200, 5).
const IPV6_MIN_MTU: usize = 1280;

/// How an SA carries a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Octets at the start of the packet that are not carried.
    pub skip: usize,
    /// What stands before the rest: a pseudo header of BEET, or nothing.
    pub prefix: [u8; PSEUDO],
    pub prefix_length: usize,
    pub next_header: u8,
    pub outer: Outer,
}

impl Wrapping {
    /// Whether the whole packet travels as it is.
    pub fn carries_all(&self) -> bool {
        self.skip == 0 && self.prefix_length == 0
    }

    /// Octets of the payload of a packet of that length.
    pub fn payload(&self, packet: usize) -> usize {
        packet - self.skip + self.prefix_length
    }

    /// For a whole IP packet. Fragments, and headers that no socket can write, are refused in
    /// transport and BEET mode.
    pub fn of(sa: &Sa, packet: &[u8], parsed: &Packet) -> Result<Wrapping, DropReason> {
        let config = &sa.config;
        let v4 = packet[0] >> 4 == 4;
        let plain = Wrapping {
            skip: 0,
            prefix: [0; PSEUDO],
            prefix_length: 0,
            next_header: if v4 { IPIP } else { IPV6 },
            outer: Outer {
                source: config.source,
                destination: config.destination,
                tos: ecn::encapsulate(config, ecn::type_of_service(packet)),
                hop_limit: None,
                df: config.flags & XFRM_STATE_NOPMTUDISC == 0 && may_not_fragment(packet),
            },
        };
        if config.mode == Mode::Tunnel {
            return Ok(plain);
        }
        if parsed.fragment {
            return Err(DropReason::OutStateModeError);
        }
        let (header, protocol, hop_limit) = if v4 {
            (usize::from(packet[0] & 15) * 4, packet[9], packet[8])
        } else {
            (V6, packet[6], packet[7])
        };
        if matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT) && !v4 {
            return Err(DropReason::OutStateModeError);
        }
        let mut wrapping = Wrapping {
            skip: header,
            next_header: protocol,
            outer: Outer {
                tos: ecn::type_of_service(packet),
                hop_limit: Some(hop_limit),
                ..plain.outer
            },
            ..plain
        };
        if config.mode == Mode::Transport {
            if v4 && header != V4 {
                return Err(DropReason::OutStateModeError);
            }
            wrapping.outer.source = parsed.flow.source;
            wrapping.outer.destination = parsed.flow.destination;
        } else if v4 && header != V4 {
            wrapping.skip = V4;
            wrapping.pseudo_header(protocol, header - V4);
        }
        Ok(wrapping)
    }

    /// `struct ip_beet_phdr`: next header, octets of options in units of 8, padding; then the
    /// padding. It stands in front of the options.
    fn pseudo_header(&mut self, protocol: u8, options: usize) {
        let padding = 4 - (options & 4);
        self.prefix = [
            protocol,
            (options / 8) as u8,
            padding as u8,
            0,
            NOP,
            NOP,
            NOP,
            NOP,
        ];
        self.prefix_length = 4 + padding;
        self.next_header = BEETPH;
    }
}

/// DF of IPv4; IPv6 routers never fragment, but everybody must take 1280 octets.
fn may_not_fragment(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 {
        packet[6] & 0x40 != 0
    } else {
        packet.len() > IPV6_MIN_MTU
    }
}

/// An IP header in front of a payload, as a socket would write it.
pub fn ip_header(outer: &Outer, protocol: u8, payload: usize) -> Vec<u8> {
    match (outer.source, outer.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, outer.tos];
            header.extend(((V4 + payload) as u16).to_be_bytes());
            let df = if outer.df { 0x40 } else { 0 };
            header.extend([0, 0, df, 0, outer.hop_limit.unwrap_or(64), protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum::finish(checksum::sum(&header, 0));
            header[10..12].copy_from_slice(&sum);
            header
        }
        (source, destination) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            let mut header = vec![0x60 | outer.tos >> 4, outer.tos << 4, 0, 0];
            header.extend((payload as u16).to_be_bytes());
            header.extend([protocol, outer.hop_limit.unwrap_or(64)]);
            header.extend(octets(source));
            header.extend(octets(destination));
            header
        }
    }
}

/// The IP header that belongs before what a BEET SA carried, and how many octets of the payload it
/// replaces (`xfrm4_remove_beet_encap`).
pub fn beet_header(
    sa: &Sa,
    next_header: u8,
    payload: &[u8],
    received: &Received,
) -> Result<(Vec<u8>, usize), DropReason> {
    let selector = &sa.config.selector;
    let outer = Outer {
        source: selector.source,
        destination: selector.destination,
        tos: received.tos,
        hop_limit: Some(received.hop_limit),
        df: received.df,
    };
    if selector.source.is_ipv6() || next_header != BEETPH {
        let mut header = ip_header(&outer, next_header, payload.len());
        identify(&mut header, received.identification);
        return Ok((header, 0));
    }
    let bad = DropReason::InStateModeError;
    let [protocol, units, padding, ..] = *payload else {
        return Err(bad);
    };
    let skip = 4 + usize::from(padding);
    let options = (usize::from(units) * 8 + PSEUDO)
        .checked_sub(skip)
        .ok_or(bad)?;
    if options % 4 != 0 || options > 40 || payload.len() < skip + options {
        return Err(bad);
    }
    let mut header = ip_header(&outer, protocol, payload.len() - skip);
    header[0] = 0x45 + (options / 4) as u8;
    header.extend(&payload[skip..skip + options]);
    identify(&mut header, received.identification);
    Ok((header, skip + options))
}

/// Sets the identification of an IPv4 packet, and the checksum of its header.
pub fn identify(packet: &mut [u8], identification: u16) {
    if packet[0] >> 4 != 4 {
        return;
    }
    let length = usize::from(packet[0] & 15) * 4;
    let header = &mut packet[..length];
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(header, 0));
    header[10..12].copy_from_slice(&sum);
}
