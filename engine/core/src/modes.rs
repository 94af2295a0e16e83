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
use crate::ip::{Packet, IPIP, IPV6};
use crate::received::Received;
use crate::sa::{Encapsulation, Mode, Sa, XFRM_STATE_NOPMTUDISC};
use crate::staging::Outer;
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
/// What the length field of IPv4 can say, and nearly that of IPv6.
pub const LONGEST_PACKET: usize = 65_535;

/// How an SA carries a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Octets at the start of the packet that are not carried.
    pub skip: usize,
    /// What stands before the rest: a pseudo header of BEET, or nothing.
    pub prefix: [u8; PSEUDO],
    pub prefix_length: usize,
    pub next_header: u8,
    /// Around a packet that is longer than `may_be_fragmented`.
    pub outer: Outer,
    may_be_fragmented: usize,
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

    /// The outer header around a packet of that length. As in `xfrm4_tunnel_encap_add()` a packet of
    /// IPv6 that everybody must take may be fragmented outside.
    pub fn outer_of(&self, packet: usize) -> Outer {
        Outer {
            df: self.outer.df && packet > self.may_be_fragmented,
            ..self.outer
        }
    }

    /// Octets of the headers around ESP.
    pub fn outer_length(&self, sa: &Sa) -> usize {
        let ip = if self.outer.destination.is_ipv4() {
            V4
        } else {
            V6
        };
        match sa.config.encapsulation {
            Encapsulation::Esp => ip,
            Encapsulation::Udp { .. } => ip + 8,
        }
    }

    /// For a whole IP packet: `packet` ends where the IP header says, except that the segments of a
    /// large one are shorter.
    ///
    /// In transport mode IPv4 options and IPv6's hop-by-hop and routing headers belong before ESP
    /// (RFC 4303, 3.1.1), where a socket for ESP does not write them; with them, and as a fragment,
    /// a packet is refused.
    pub fn of(sa: &Sa, packet: &[u8], parsed: &Packet) -> Result<Wrapping, DropReason> {
        let refused = DropReason::OutStateModeError;
        let config = &sa.config;
        let outer = Outer {
            source: config.source,
            destination: config.destination,
            tos: parsed.tos,
            hop_limit: None,
            df: false,
        };
        let mut wrapping = Wrapping {
            skip: 0,
            prefix: [0; PSEUDO],
            prefix_length: 0,
            next_header: 0,
            outer,
            may_be_fragmented: 0,
        };
        let (header, protocol, hop_limit, df) = match packet {
            [first, _, _, _, _, _, flags, _, hop_limit, protocol, ..] if first >> 4 == 4 => {
                let header = usize::from(first & 15) * 4;
                (header, *protocol, *hop_limit, flags & 0x40 != 0)
            }
            [first, _, _, _, _, _, protocol, hop_limit, ..] if first >> 4 == 6 => {
                (V6, *protocol, *hop_limit, true)
            }
            _ => return Err(refused),
        };
        let v4 = parsed.is_ipv4();
        if config.mode == Mode::Tunnel {
            wrapping.next_header = if v4 { IPIP } else { IPV6 };
            wrapping.outer.tos = ecn::encapsulate(config, parsed.tos);
            wrapping.outer.df = df && config.flags & XFRM_STATE_NOPMTUDISC == 0;
            wrapping.may_be_fragmented = if v4 { 0 } else { IPV6_MIN_MTU };
            return Ok(wrapping);
        }
        if parsed.fragment && (v4 || config.mode == Mode::Transport) {
            return Err(refused);
        }
        // The header stays, or the new one says the same.
        wrapping.skip = header;
        wrapping.next_header = protocol;
        wrapping.outer.hop_limit = Some(hop_limit);
        wrapping.outer.df = df;
        let options = v4 && header != V4;
        if config.mode == Mode::Beet {
            if options {
                wrapping.skip = V4;
                wrapping.pseudo_header(protocol, header - V4);
            }
            return Ok(wrapping);
        }
        if options || !v4 && matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT) {
            return Err(refused);
        }
        wrapping.outer.source = parsed.flow.source;
        wrapping.outer.destination = parsed.flow.destination;
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

/// Sets the identification of an IPv4 header at the start, and its checksum.
pub fn identify(header: &mut [u8], identification: u16) {
    let length = match header.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => return,
    };
    if let Some(header) = header.get_mut(..length).filter(|_| length >= V4) {
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(header, 0));
        header[10..12].copy_from_slice(&sum);
    }
}
