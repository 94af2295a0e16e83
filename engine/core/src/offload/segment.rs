//! One read from TUN as the inner packets that go out: a large TCP segment is cut into those that
//! its sender meant, and a checksum that was left to the device is completed.

use super::vnet::{VnetHeader, GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM};
use crate::checksum;
use crate::ip::{Packet, TCP, UDP};

const TCP_CHECKSUM: usize = 16;
const FIN_AND_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// How a packet is cut. `write` gives the packets one after the other.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    transport: usize,
    /// Octets of IP and TCP header that each segment repeats; 0 if there is one packet only.
    header: usize,
    /// Octets of payload per segment.
    size: usize,
    count: usize,
    /// Start and place of a checksum to complete.
    csum: Option<(usize, usize)>,
}

impl<'a> Segments<'a> {
    /// None if the header and the packet do not fit together, or ask for what we did not offer.
    pub fn new(header: &VnetHeader, octets: &'a [u8], parsed: &Packet) -> Option<Segments<'a>> {
        let packet = &octets[..parsed.length];
        let transport = parsed.transport;
        let whole = Segments {
            packet,
            transport,
            header: 0,
            size: 0,
            count: 1,
            csum: None,
        };
        match header.gso_type & !GSO_ECN {
            GSO_NONE => {
                if header.flags & NEEDS_CSUM == 0 {
                    return Some(whole);
                }
                let start = usize::from(header.csum_start);
                let place = start + usize::from(header.csum_offset);
                (place + 2 <= packet.len()).then_some(Segments {
                    csum: Some((start, place)),
                    ..whole
                })
            }
            GSO_TCPV4 | GSO_TCPV6 => {
                if parsed.flow.protocol != TCP || parsed.fragment {
                    return None;
                }
                let tcp = usize::from(packet.get(transport + 12)? >> 4) * 4;
                let headers = transport + tcp;
                let size = usize::from(header.gso_size);
                if tcp < 20 || headers > packet.len() || size == 0 {
                    return None;
                }
                let count = (packet.len() - headers).div_ceil(size).max(1);
                Some(Segments {
                    packet,
                    transport,
                    header: headers,
                    size,
                    count,
                    csum: None,
                })
            }
            _ => None,
        }
    }

    /// Number of packets, at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Octets of the packets, before any encapsulation.
    pub fn length(&self, n: usize) -> usize {
        if self.header == 0 {
            return self.packet.len();
        }
        let payload = self.packet.len() - self.header;
        self.header + (payload - n * self.size).min(self.size)
    }

    /// Writes packet `n` into `target`, which is `length(n)` long.
    pub fn write(&self, n: usize, target: &mut [u8]) {
        if self.header == 0 {
            target.copy_from_slice(self.packet);
            if let Some((start, place)) = self.csum {
                let zero_becomes_ones = self.packet_is_udp();
                complete_checksum(target, start, place, zero_becomes_ones);
            }
            return;
        }
        let (head, payload) = target.split_at_mut(self.header);
        head.copy_from_slice(&self.packet[..self.header]);
        let at = self.header + n * self.size;
        payload.copy_from_slice(&self.packet[at..at + payload.len()]);
        self.mend_ip(n, target);
        self.mend_tcp(n, target);
    }

    fn packet_is_udp(&self) -> bool {
        let protocol = if self.packet[0] >> 4 == 4 {
            self.packet[9]
        } else {
            self.packet[6]
        };
        protocol == UDP
    }

    fn mend_ip(&self, n: usize, target: &mut [u8]) {
        let length = target.len();
        if target[0] >> 4 == 4 {
            target[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            let id = u16::from_be_bytes([target[4], target[5]]).wrapping_add(n as u16);
            target[4..6].copy_from_slice(&id.to_be_bytes());
            target[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&target[..self.transport], 0));
            target[10..12].copy_from_slice(&sum);
        } else {
            target[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        }
    }

    fn mend_tcp(&self, n: usize, target: &mut [u8]) {
        let addresses = if target[0] >> 4 == 4 { 12..20 } else { 8..40 };
        let length = target.len() - self.transport;
        let half = addresses.start + addresses.len() / 2;
        let pseudo = checksum::pseudo_header(
            &target[addresses.start..half],
            &target[half..addresses.end],
            TCP,
            length,
        );
        let tcp = &mut target[self.transport..];
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().expect("four octets"))
            .wrapping_add((n * self.size) as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if n + 1 < self.count {
            tcp[13] &= !FIN_AND_PSH;
        }
        if n > 0 {
            tcp[13] &= !CWR;
        }
        tcp[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
        let sum = checksum::finish(checksum::sum(tcp, pseudo));
        tcp[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum);
    }
}

/// The field holds the sum of the pseudo header; the rest is added (`skb_checksum_help`).
fn complete_checksum(packet: &mut [u8], start: usize, place: usize, zero_becomes_ones: bool) {
    let mut sum = checksum::finish(checksum::sum(&packet[start..], 0));
    if sum == [0, 0] && zero_becomes_ones {
        sum = [0xff, 0xff];
    }
    packet[place..place + 2].copy_from_slice(&sum);
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::ip;

    /// A TCP packet with a valid checksum; addresses 10.1.0.1 and 10.2.0.2, or their like.
    pub fn tcp(version: u8, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0x30, 0x39, 0, 80];
        segment.extend(sequence.to_be_bytes());
        segment.extend([0, 0, 0, 7, 0x80, flags, 1, 0, 0, 0, 0, 0]);
        segment.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        segment.extend(payload);
        let mut packet = if version == 4 {
            let mut header = vec![0x45, 0];
            header.extend((20 + segment.len() as u16).to_be_bytes());
            header.extend([0, 9, 0x40, 0, 64, TCP, 0, 0, 10, 1, 0, 1, 10, 2, 0, 2]);
            let sum = checksum::finish(checksum::sum(&header, 0));
            header[10..12].copy_from_slice(&sum);
            header
        } else {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((segment.len() as u16).to_be_bytes());
            header.extend([TCP, 64]);
            header.extend([0x11; 16]);
            header.extend([0x22; 16]);
            header
        };
        let addresses = if version == 4 { 12..20 } else { 8..40 };
        let pseudo = checksum::pseudo_header(&packet[addresses], &[], TCP, segment.len());
        let sum = checksum::finish(checksum::sum(&segment, pseudo));
        segment[16..18].copy_from_slice(&sum);
        packet.extend(segment);
        packet
    }

    fn cut(header: VnetHeader, packet: &[u8]) -> Vec<Vec<u8>> {
        let parsed = ip::parse(packet).unwrap();
        let segments = Segments::new(&header, packet, &parsed).unwrap();
        (0..segments.count())
            .map(|n| {
                let mut target = vec![0xee; segments.length(n)];
                segments.write(n, &mut target);
                target
            })
            .collect()
    }

    #[test]
    fn a_large_segment_is_cut_into_what_its_sender_meant() {
        for (version, gso_type) in [(4, GSO_TCPV4), (6, GSO_TCPV6 | GSO_ECN)] {
            let payload: Vec<u8> = (0..3500u32).map(|n| n as u8).collect();
            let large = tcp(version, 0xffff_fff0, 0x19 | CWR, &payload);
            let header = VnetHeader {
                flags: NEEDS_CSUM,
                gso_type,
                gso_size: 1000,
                ..Default::default()
            };
            let packets = cut(header, &large);
            assert_eq!(packets.len(), 4);
            for (n, packet) in packets.iter().enumerate() {
                let part = &payload[n * 1000..payload.len().min(n * 1000 + 1000)];
                let flags = match n {
                    0 => 0x10 | CWR,
                    3 => 0x19,
                    _ => 0x10,
                };
                let sequence = 0xffff_fff0u32.wrapping_add(n as u32 * 1000);
                let mut expected = tcp(version, sequence, flags, part);
                if version == 4 {
                    expected[5] += n as u8;
                    expected[10..12].fill(0);
                    let sum = checksum::finish(checksum::sum(&expected[..20], 0));
                    expected[10..12].copy_from_slice(&sum);
                }
                assert_eq!(packet, &expected, "segment {n} of IPv{version}");
            }
        }
    }

    #[test]
    fn a_checksum_that_was_left_out_is_completed() {
        let good = tcp(4, 1, 0x10, b"hello");
        let mut partial = good.clone();
        let pseudo = checksum::pseudo_header(&good[12..20], &[], TCP, good.len() - 20);
        partial[36..38].copy_from_slice(&checksum::fold(pseudo).to_ne_bytes());
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            csum_start: 20,
            csum_offset: 16,
            ..Default::default()
        };
        assert_eq!(cut(header, &partial), vec![good]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let packet = tcp(4, 1, 0x10, b"hello");
        let parsed = ip::parse(&packet).unwrap();
        let default = VnetHeader::default();
        for header in [
            VnetHeader {
                flags: NEEDS_CSUM,
                csum_start: 50,
                csum_offset: 16,
                ..default
            },
            VnetHeader {
                flags: NEEDS_CSUM,
                csum_start: 0xffff,
                csum_offset: 0xffff,
                ..default
            },
            VnetHeader {
                gso_type: GSO_TCPV4,
                gso_size: 0,
                ..default
            },
            VnetHeader {
                gso_type: 3,
                gso_size: 100,
                ..default
            },
            VnetHeader {
                gso_type: 5,
                gso_size: 100,
                ..default
            },
        ] {
            assert!(
                Segments::new(&header, &packet, &parsed).is_none(),
                "{header:?}"
            );
        }
    }
}
