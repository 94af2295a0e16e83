//! What the packet path must know of an inner packet: its length, its flow, where its payload is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Flow;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const COMP: u8 = 108;
pub const ICMPV6: u8 = 58;
/// Protocol of a dummy packet in ESP (RFC 4303, 2.6).
pub const NO_NEXT_HEADER: u8 = 59;
/// IPv4 in ESP, and IPv6.
pub const IPIP: u8 = 4;
pub const IPV6: u8 = 41;

/// Headers of IPv6 that stand before what a packet is about, with a length octet in units of 8 octets:
/// hop-by-hop, routing, destination options.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
const MOBILITY: u8 = 135;
const FRAGMENT: u8 = 44;
/// More extension headers than any sane packet has end the walk.
const MOST_EXTENSIONS: usize = 8;

/// An IP packet that was looked at; offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub flow: Flow,
    /// Length by the IP header, which may be shorter than the buffer.
    pub length: usize,
    /// Where the transport header starts, after options and extension headers.
    pub transport: usize,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: u8,
    /// A fragment but the first: it has no transport header.
    pub later_fragment: bool,
    /// Any fragment.
    pub fragment: bool,
}

impl Packet {
    pub fn is_ipv4(&self) -> bool {
        self.flow.source.is_ipv4()
    }
}

/// Looks at a packet; None for what is no whole IP packet.
pub fn parse(octets: &[u8]) -> Option<Packet> {
    match octets.first()? >> 4 {
        4 => parse_v4(octets),
        6 => parse_v6(octets),
        _ => None,
    }
}

/// The flow of a packet that an ICMP error quotes, cut off somewhere.
pub fn quoted_flow(octets: &[u8]) -> Option<Flow> {
    let mut quoted = octets.to_vec();
    let length = octets.len();
    match octets.first()? >> 4 {
        4 => quoted
            .get_mut(2..4)?
            .copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes()),
        6 => quoted
            .get_mut(4..6)?
            .copy_from_slice(&u16::try_from(length.checked_sub(40)?).ok()?.to_be_bytes()),
        _ => return None,
    }
    parse(&quoted).map(|packet| packet.flow)
}

fn parse_v4(octets: &[u8]) -> Option<Packet> {
    let header = octets.get(..20)?;
    let transport = usize::from(header[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if transport < 20 || length < transport || length > octets.len() {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let later_fragment = fragment & 0x1fff != 0;
    let protocol = header[9];
    let (source_port, destination_port) = if fragment & 0x3fff != 0 {
        (0, 0)
    } else {
        ports(protocol, &octets[transport..length])
    };
    Some(Packet {
        flow: Flow {
            source: IpAddr::V4(Ipv4Addr::new(
                header[12], header[13], header[14], header[15],
            )),
            destination: IpAddr::V4(Ipv4Addr::new(
                header[16], header[17], header[18], header[19],
            )),
            protocol,
            source_port,
            destination_port,
            ifindex: 0,
        },
        length,
        transport,
        tos: header[1],
        later_fragment,
        fragment: fragment & 0x3fff != 0,
    })
}

fn parse_v6(octets: &[u8]) -> Option<Packet> {
    let header = octets.get(..40)?;
    let length = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if length > octets.len() {
        return None;
    }
    let octets = &octets[..length];
    let mut protocol = header[6];
    let mut transport = 40;
    let (mut fragment, mut later_fragment) = (false, false);
    for _ in 0..MOST_EXTENSIONS {
        if EXTENSIONS.contains(&protocol) {
            let extension = octets.get(transport..transport + 2)?;
            protocol = extension[0];
            transport += (usize::from(extension[1]) + 1) * 8;
        } else if protocol == FRAGMENT {
            let extension = octets.get(transport..transport + 8)?;
            let offset = u16::from_be_bytes([extension[2], extension[3]]);
            protocol = extension[0];
            transport += 8;
            fragment = offset & 0xfff9 != 0;
            later_fragment = offset & 0xfff8 != 0;
            if later_fragment {
                break;
            }
        } else {
            break;
        }
    }
    if transport > length {
        return None;
    }
    let (source_port, destination_port) = if fragment {
        (0, 0)
    } else {
        ports(protocol, &octets[transport..])
    };
    let address = |at: usize| {
        let sixteen: [u8; 16] = header[at..at + 16]
            .try_into()
            .expect("the header has 40 octets");
        IpAddr::V6(Ipv6Addr::from(sixteen))
    };
    Some(Packet {
        flow: Flow {
            source: address(8),
            destination: address(24),
            protocol,
            source_port,
            destination_port,
            ifindex: 0,
        },
        length,
        transport,
        tos: header[0] << 4 | header[1] >> 4,
        later_fragment,
        fragment,
    })
}

/// Ports, ICMP type and code, or mobility header type as the kernel puts them into a flow (`xfrm_flowi_sport`).
fn ports(protocol: u8, transport: &[u8]) -> (u16, u16) {
    match (protocol, transport) {
        // TCP, UDP, UDP-Lite, DCCP, SCTP
        (TCP | UDP | 136 | 33 | 132, [a, b, c, d, ..]) => {
            (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        (ICMP | ICMPV6, [kind, code, ..]) => (u16::from(*kind), u16::from(*code)),
        (MOBILITY, [_, _, kind, ..]) => (u16::from(*kind), 0),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0x2e];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 10, 1, 0, 1, 10, 2, 0, 2]);
        packet.extend(payload);
        packet
    }

    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x62, 0xe0, 0, 0];
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next_header, 64]);
        packet.extend([0x11; 16]);
        packet.extend([0x22; 16]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn ports_of_udp_over_ipv4() {
        let packet = parse(&v4(UDP, 0x4000, &[1, 2, 3, 4, 0, 8, 0, 0])).unwrap();
        assert_eq!(
            (packet.flow.source_port, packet.flow.destination_port),
            (0x102, 0x304)
        );
        assert_eq!(
            (packet.length, packet.transport, packet.tos),
            (28, 20, 0x2e)
        );
        assert!(!packet.fragment);
    }

    #[test]
    fn fragments_have_no_ports() {
        for fragment in [0x2000, 0x2010, 0x0010] {
            let packet = parse(&v4(UDP, fragment, &[1, 2, 3, 4])).unwrap();
            assert_eq!(packet.flow.source_port, 0);
            assert!(packet.fragment);
            assert_eq!(packet.later_fragment, fragment & 0x1fff != 0);
        }
    }

    #[test]
    fn extension_headers_are_walked() {
        let mut payload = vec![60, 0, 0, 0, 0, 0, 0, 0]; // hop-by-hop, then destination options
        payload.extend([UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([1, 2, 3, 4, 0, 8, 0, 0]);
        let packet = parse(&v6(0, &payload)).unwrap();
        assert_eq!(packet.flow.protocol, UDP);
        assert_eq!(packet.flow.destination_port, 0x304);
        assert_eq!(packet.transport, 64);
        assert_eq!(packet.tos, 0x2e);
    }

    /// They are what the packet is about, as `decode_session6()` has it; of mobility headers the type
    /// counts as a port (RFC 4301, 4.4.1.1).
    #[test]
    fn mobility_hip_and_shim6_are_no_headers_on_the_way() {
        for (protocol, port) in [(135, 5), (139, 0), (140, 0)] {
            let packet = parse(&v6(protocol, &[NO_NEXT_HEADER, 0, 5, 0, 1, 2, 3, 4])).unwrap();
            assert_eq!(packet.flow.protocol, protocol);
            assert_eq!(packet.transport, 40);
            assert_eq!(
                (packet.flow.source_port, packet.flow.destination_port),
                (port, 0)
            );
        }
    }

    #[test]
    fn a_later_fragment_of_ipv6() {
        let packet = parse(&v6(FRAGMENT, &[UDP, 0, 0, 8, 0, 0, 0, 1, 9, 9, 9, 9])).unwrap();
        assert!(packet.later_fragment);
        assert_eq!(packet.flow.source_port, 0);
    }

    #[test]
    fn truncated_and_lying_packets_are_none() {
        let whole = v6(0, &[UDP, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None);
        }
        assert_eq!(parse(&v6(0, &[UDP, 9, 0, 0, 0, 0, 0, 0])), None);
        let mut short_header = v4(UDP, 0, &[]);
        short_header[0] = 0x44;
        assert_eq!(parse(&short_header), None);
    }
}
