//! The kernel's answers to a packet that no SA takes, or that the path does not (`xfrmi_xmit2`).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::checksum;
use crate::ip::{self, Packet, ICMP, ICMPV6};

/// Octets of the packet that an error quotes: RFC 1812, 4.3.2.3 and RFC 4443, 2.4 (c).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
/// Errors per interval, as the kernel's default of 1000 per second in small portions.
const BURST: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(50);

/// Bounds the errors that one worker sends.
pub struct ErrorLimit {
    since: Instant,
    sent: u32,
}

impl ErrorLimit {
    pub fn new(now: Instant) -> Self {
        ErrorLimit {
            since: now,
            sent: 0,
        }
    }

    /// Whether one more may be sent.
    pub fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= INTERVAL {
            *self = ErrorLimit::new(now);
        }
        self.sent += 1;
        self.sent <= BURST
    }
}

/// Type 3 code 1 for IPv4, type 1 code 3 for IPv6, from the address that could not be reached; None
/// where an error must not be answered (RFC 1122, 3.2.2; RFC 4443, 2.4 (e)).
pub fn unreachable(octets: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    let what = if packet.is_ipv4() { [3, 1] } else { [1, 3] };
    answer(octets, packet, what, 0)
}

/// Fragmentation needed (RFC 1191, 4), or packet too big (RFC 4443, 3.2), with the MTU in bytes.
pub fn too_big(octets: &[u8], packet: &Packet, mtu: usize) -> Option<Vec<u8>> {
    let what = if packet.is_ipv4() { [3, 4] } else { [2, 0] };
    answer(octets, packet, what, mtu as u32)
}

/// An error of that type and code; `rest` fills the header's last four octets.
fn answer(octets: &[u8], packet: &Packet, what: [u8; 2], rest: u32) -> Option<Vec<u8>> {
    if packet.later_fragment || is_error(octets, packet) {
        return None;
    }
    match (packet.flow.source, packet.flow.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            if source.is_unspecified()
                || source.is_multicast()
                || source.is_broadcast()
                || destination.is_multicast()
                || destination.is_broadcast()
            {
                return None;
            }
            let quoted = &octets[..packet.length.min(LONGEST_V4 - 28)];
            let mut reply = vec![0x45, 0xc0];
            reply.extend((28 + quoted.len() as u16).to_be_bytes());
            reply.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
            reply.extend(destination.octets());
            reply.extend(source.octets());
            let sum = checksum::finish(checksum::sum(&reply, 0));
            reply[10..12].copy_from_slice(&sum);
            reply.extend(what);
            reply.extend([0, 0]);
            reply.extend(rest.to_be_bytes());
            reply.extend(quoted);
            let sum = checksum::finish(checksum::sum(&reply[20..], 0));
            reply[22..24].copy_from_slice(&sum);
            Some(reply)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if source.is_unspecified() || source.is_multicast() || destination.is_multicast() {
                return None;
            }
            let quoted = &octets[..packet.length.min(LONGEST_V6 - 48)];
            let length = 8 + quoted.len();
            let mut reply = vec![0x60, 0, 0, 0];
            reply.extend((length as u16).to_be_bytes());
            reply.extend([ICMPV6, 64]);
            reply.extend(destination.octets());
            reply.extend(source.octets());
            reply.extend(what);
            reply.extend([0, 0]);
            reply.extend(rest.to_be_bytes());
            reply.extend(quoted);
            let pseudo =
                checksum::pseudo_header(&destination.octets(), &source.octets(), ICMPV6, length);
            let sum = checksum::finish(checksum::sum(&reply[40..], pseudo));
            reply[42..44].copy_from_slice(&sum);
            Some(reply)
        }
        _ => None,
    }
}

fn is_error(octets: &[u8], packet: &Packet) -> bool {
    let Some(kind) = octets.get(packet.transport) else {
        return false;
    };
    match packet.flow.protocol {
        ip::ICMP => !matches!(kind, 0 | 8 | 9 | 10 | 13 | 14 | 15 | 16 | 17 | 18),
        ip::ICMPV6 => kind & 0x80 == 0 || *kind == 137,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::segment::tests::tcp;

    fn answer(octets: &[u8]) -> Option<Vec<u8>> {
        unreachable(octets, &ip::parse(octets).unwrap())
    }

    #[test]
    fn an_answer_quotes_the_packet_and_its_sums_are_right() {
        for version in [4, 6] {
            let packet = tcp(version, 1, 2, &[7; 2000]);
            let reply = answer(&packet).unwrap();
            let parsed = ip::parse(&reply).unwrap();
            let asked = ip::parse(&packet).unwrap();
            assert_eq!(parsed.flow.destination, asked.flow.source);
            assert_eq!(parsed.flow.source, asked.flow.destination);
            assert_eq!(
                reply.len(),
                if version == 4 { LONGEST_V4 } else { LONGEST_V6 }
            );
            let body = &reply[parsed.transport..];
            assert_eq!(&body[..2], if version == 4 { &[3, 1] } else { &[1, 3] });
            assert!(packet.starts_with(&body[8..]));
            let pseudo = match version {
                4 => 0,
                _ => checksum::pseudo_header(&reply[8..24], &reply[24..40], ICMPV6, body.len()),
            };
            assert_eq!(checksum::fold(checksum::sum(body, pseudo)), 0xffff);
            if version == 4 {
                assert_eq!(checksum::fold(checksum::sum(&reply[..20], 0)), 0xffff);
            }
        }
    }

    #[test]
    fn errors_fragments_and_multicast_are_not_answered() {
        let mut error = tcp(4, 1, 2, b"x");
        error[9] = ICMP;
        error[20] = 3;
        assert!(answer(&error).is_none());
        error[20] = 8;
        assert!(answer(&error).is_some());
        let mut fragment = tcp(4, 1, 2, b"x");
        fragment[7] = 5;
        assert!(answer(&fragment).is_none());
        let mut multicast = tcp(4, 1, 2, b"x");
        multicast[16] = 224;
        assert!(answer(&multicast).is_none());
        let mut multicast = tcp(6, 1, 2, b"x");
        multicast[24] = 0xff;
        assert!(answer(&multicast).is_none());
    }

    #[test]
    fn errors_are_bounded() {
        let start = Instant::now();
        let mut limit = ErrorLimit::new(start);
        assert_eq!(
            (0..1000).filter(|_| limit.admits(start)).count(),
            BURST as usize
        );
        assert!(limit.admits(start + INTERVAL));
    }
}
