//! Inner packets as few writes to TUN: consecutive segments of a TCP flow become one.
//!
//! A segment joins the one before if only sequence number, PSH, length and checksums differ, as in
//! the kernel's `tcp_gro_receive()`, and if the checksums of both were right: the kernel believes us.

use super::vnet::{VnetHeader, DATA_VALID, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM};
use crate::checksum;
use crate::ip::{self, Packet, TCP};

/// Segments in one write, as UDP_GRO gives them; and parts of a `writev`.
const MOST_SEGMENTS: usize = 64;
const LONGEST: usize = 65_535;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// An inner packet in a buffer, bound for a device (an index of the caller's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    pub start: usize,
    pub length: usize,
    pub device: usize,
}

/// One write to TUN: a header, then the parts of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    pub header: [u8; super::vnet::LENGTH],
    pub device: usize,
    /// Which of `Writes::parts`.
    pub parts: std::ops::Range<usize>,
    /// Inner packets and their octets.
    pub packets: u64,
    pub octets: u64,
}

/// The writes of a batch; reused from batch to batch.
#[derive(Default)]
pub struct Writes {
    pub writes: Vec<Write>,
    /// Start and length in the buffer.
    pub parts: Vec<(usize, usize)>,
}

/// A TCP segment that others may join.
struct Head {
    inner: Inner,
    version: u8,
    transport: usize,
    /// Octets of IP and TCP header.
    header: usize,
    /// Octets of payload of each segment but the last.
    size: usize,
    next_sequence: u32,
    segments: usize,
    length: usize,
    psh: bool,
    open: bool,
}

impl Writes {
    /// Groups the packets, in their order, and mends the headers of those that others joined.
    pub fn coalesce(&mut self, buffer: &mut [u8], packets: &[Inner]) {
        self.writes.clear();
        self.parts.clear();
        let mut head: Option<Head> = None;
        for inner in packets {
            let octets = &buffer[inner.start..inner.start + inner.length];
            let candidate = ip::parse(octets).and_then(|parsed| candidate(octets, &parsed, *inner));
            match (&mut head, candidate) {
                (Some(open), Some(next)) if joins(buffer, open, &next) => {
                    self.parts
                        .push((inner.start + next.header, inner.length - next.header));
                    open.open = next.length - next.header == open.size && !next.psh;
                    open.psh |= next.psh;
                    open.segments += 1;
                    open.length += next.length - next.header;
                    open.next_sequence = next.next_sequence;
                    continue;
                }
                (_, candidate) => {
                    self.finish(buffer, head.take());
                    self.parts.push((inner.start, inner.length));
                    match candidate {
                        Some(next) => head = Some(next),
                        None => self.push(*inner, VnetHeader::default(), 1, inner.length),
                    }
                }
            }
        }
        self.finish(buffer, head);
    }

    fn push(&mut self, inner: Inner, header: VnetHeader, segments: usize, octets: usize) {
        let end = self.parts.len();
        self.writes.push(Write {
            header: header.encode(),
            device: inner.device,
            parts: end - segments..end,
            packets: segments as u64,
            octets: octets as u64,
        });
    }

    fn finish(&mut self, buffer: &mut [u8], head: Option<Head>) {
        let Some(head) = head else { return };
        if head.segments == 1 {
            let header = VnetHeader {
                flags: DATA_VALID,
                ..Default::default()
            };
            return self.push(head.inner, header, 1, head.length);
        }
        let octets = &mut buffer[head.inner.start..head.inner.start + head.inner.length];
        if head.version == 4 {
            octets[2..4].copy_from_slice(&(head.length as u16).to_be_bytes());
            octets[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&octets[..head.transport], 0));
            octets[10..12].copy_from_slice(&sum);
        } else {
            octets[4..6].copy_from_slice(&((head.length - 40) as u16).to_be_bytes());
        }
        let pseudo = pseudo_header(octets, head.length - head.transport);
        let tcp = &mut octets[head.transport..];
        if head.psh {
            tcp[13] |= PSH;
        }
        tcp[16..18].copy_from_slice(&checksum::fold(pseudo).to_ne_bytes());
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: if head.version == 4 {
                GSO_TCPV4
            } else {
                GSO_TCPV6
            },
            header_length: head.header as u16,
            gso_size: head.size as u16,
            csum_start: head.transport as u16,
            csum_offset: 16,
        };
        // Each joined segment repeated the headers, which the counters of a link include.
        let octets = head.length + (head.segments - 1) * head.header;
        self.push(head.inner, header, head.segments, octets);
    }
}

/// A packet that may join or be joined: TCP with payload, nothing but ACK and PSH, no options of
/// IPv4, no extension headers, not to be fragmented, checksums right.
fn candidate(octets: &[u8], parsed: &Packet, inner: Inner) -> Option<Head> {
    let version = octets[0] >> 4;
    let plain = match version {
        4 => {
            parsed.transport == 20
                && octets[6] & 0x40 != 0
                && checksum::fold(checksum::sum(&octets[..20], 0)) == 0xffff
        }
        _ => parsed.transport == 40,
    };
    if parsed.flow.protocol != TCP || parsed.fragment || !plain || parsed.length != octets.len() {
        return None;
    }
    let tcp = octets.get(parsed.transport..)?;
    if tcp.len() < 20 {
        return None;
    }
    let header = parsed.transport + usize::from(tcp[12] >> 4) * 4;
    let flags = tcp[13];
    if header < parsed.transport + 20 || header >= octets.len() || flags & !PSH != ACK {
        return None;
    }
    if checksum::fold(checksum::sum(tcp, pseudo_header(octets, tcp.len()))) != 0xffff {
        return None;
    }
    let size = octets.len() - header;
    let sequence = u32::from_be_bytes(tcp[4..8].try_into().expect("four octets"));
    Some(Head {
        inner,
        version,
        transport: parsed.transport,
        header,
        size,
        next_sequence: sequence.wrapping_add(size as u32),
        segments: 1,
        length: octets.len(),
        psh: flags & PSH != 0,
        open: flags & PSH == 0,
    })
}

fn joins(buffer: &[u8], head: &Head, next: &Head) -> bool {
    let first = &buffer[head.inner.start..head.inner.start + head.header];
    let second = &buffer[next.inner.start..next.inner.start + next.inner.length];
    if !head.open
        || head.header != next.header
        || head.version != next.version
        || head.inner.device != next.inner.device
        || next.size > head.size
        || head.segments == MOST_SEGMENTS
        || head.length + next.size > LONGEST
    {
        return false;
    }
    let sequence = u32::from_be_bytes(
        second[next.transport + 4..next.transport + 8]
            .try_into()
            .expect("four octets"),
    );
    if sequence != head.next_sequence {
        return false;
    }
    let equal = |range: std::ops::Range<usize>| first[range.clone()] == second[range];
    let ip = match head.version {
        4 => equal(0..2) && equal(6..10) && equal(12..20),
        _ => equal(0..4) && equal(6..40),
    };
    let tcp = head.transport;
    // Ports; acknowledgement and data offset; window; urgent pointer and options.
    ip && equal(tcp..tcp + 4)
        && equal(tcp + 8..tcp + 13)
        && equal(tcp + 14..tcp + 16)
        && equal(tcp + 18..head.header)
}

fn pseudo_header(octets: &[u8], length: usize) -> u64 {
    let addresses = if octets[0] >> 4 == 4 { 12..20 } else { 8..40 };
    checksum::pseudo_header(&octets[addresses], &[], TCP, length)
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::tcp;
    use super::super::segment::Segments;
    use super::*;

    fn buffer_of(packets: &[Vec<u8>]) -> (Vec<u8>, Vec<Inner>) {
        let mut buffer = Vec::new();
        let mut inners = Vec::new();
        for packet in packets {
            inners.push(Inner {
                start: buffer.len(),
                length: packet.len(),
                device: 0,
            });
            buffer.extend(packet);
        }
        (buffer, inners)
    }

    /// What TUN would get, put together and cut again.
    fn through(packets: &[Vec<u8>]) -> (Vec<usize>, Vec<Vec<u8>>) {
        let (mut buffer, inners) = buffer_of(packets);
        let mut writes = Writes::default();
        writes.coalesce(&mut buffer, &inners);
        let mut out = Vec::new();
        for write in &writes.writes {
            let mut octets = write.header.to_vec();
            for (start, length) in &writes.parts[write.parts.clone()] {
                octets.extend(&buffer[*start..start + length]);
            }
            let (header, packet) = VnetHeader::parse(&octets).unwrap();
            let parsed = ip::parse(packet).unwrap();
            let segments = Segments::new(&header, packet, &parsed).unwrap();
            for n in 0..segments.count() {
                let mut target = vec![0; segments.length(n)];
                segments.write(n, &mut target);
                out.push(target);
            }
        }
        (
            writes
                .writes
                .iter()
                .map(|write| write.packets as usize)
                .collect(),
            out,
        )
    }

    fn flow(version: u8, sizes: &[usize]) -> Vec<Vec<u8>> {
        let mut sequence = 0xffff_ff00u32;
        let mut packets = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let mut packet = tcp(version, sequence, ACK, &vec![n as u8; *size]);
            if version == 4 {
                packet[5] = packet[5].wrapping_add(n as u8); // the id counts up
                packet[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&packet[..20], 0));
                packet[10..12].copy_from_slice(&sum);
            }
            packets.push(packet);
            sequence = sequence.wrapping_add(*size as u32);
        }
        packets
    }

    #[test]
    fn segments_join_and_come_apart_the_same() {
        for version in [4, 6] {
            let packets = flow(version, &[1000, 1000, 1000, 400]);
            assert_eq!(through(&packets), (vec![4], packets));
        }
    }

    #[test]
    fn a_short_segment_ends_the_group() {
        let packets = flow(4, &[1000, 400, 1000]);
        assert_eq!(through(&packets).0, vec![2, 1]);
        assert_eq!(through(&packets).1[1], packets[1]);
    }

    #[test]
    fn a_larger_one_starts_anew() {
        assert_eq!(through(&flow(6, &[400, 1000, 1000])).0, vec![1, 2]);
    }

    #[test]
    fn a_push_is_kept_and_ends_the_group() {
        let mut packets = flow(6, &[1000, 1000, 1000]);
        packets[1] = tcp(6, 0xffff_ff00u32.wrapping_add(1000), ACK | PSH, &[1; 1000]);
        let (groups, out) = through(&packets);
        assert_eq!((groups, &out), (vec![2, 1], &packets));
    }

    #[test]
    fn what_differs_stays_apart() {
        let first = flow(4, &[1000]).remove(0);
        let next = |change: fn(&mut Vec<u8>)| {
            let mut packet = flow(4, &[1000, 1000]).remove(1);
            change(&mut packet);
            // Both checksums made right again, so that only the change keeps it apart.
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&packet[..20], 0));
            packet[10..12].copy_from_slice(&sum);
            packet[36..38].fill(0);
            let pseudo = pseudo_header(&packet, packet.len() - 20);
            let sum = checksum::finish(checksum::sum(&packet[20..], pseudo));
            packet[36..38].copy_from_slice(&sum);
            packet
        };
        let changes: [fn(&mut Vec<u8>); 10] = [
            |p| p[1] ^= 1,  // ECN
            |p| p[8] -= 1,  // TTL
            |p| p[6] = 0,   // may be fragmented
            |p| p[15] ^= 1, // source
            |p| p[21] ^= 1, // port
            |p| p[27] ^= 1, // sequence number
            |p| p[31] ^= 1, // acknowledgement
            |p| p[35] ^= 1, // window
            |p| p[33] |= 1, // FIN
            |p| p[47] ^= 1, // timestamp
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let packets = vec![first.clone(), next(change)];
            assert_eq!(through(&packets), (vec![1, 1], packets), "change {n}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_passed_on_as_it_is() {
        let mut packets = flow(4, &[1000, 1000, 1000]);
        packets[1][100] ^= 1;
        let (mut buffer, inners) = buffer_of(&packets);
        let mut writes = Writes::default();
        writes.coalesce(&mut buffer, &inners);
        assert_eq!(writes.writes.len(), 3);
        assert_eq!(writes.writes[1].header, VnetHeader::default().encode());
        assert_eq!(buffer, packets.concat());
    }

    /// The host's IP layer drops it; a group would get a new one.
    #[test]
    fn a_wrong_checksum_of_the_ip_header_is_never_made_right() {
        for wrong in 0..3 {
            let mut packets = flow(4, &[1000, 1000, 1000]);
            packets[wrong][10] ^= 1;
            let (mut buffer, inners) = buffer_of(&packets);
            let mut writes = Writes::default();
            writes.coalesce(&mut buffer, &inners);
            let at = inners[wrong].start;
            assert_eq!(buffer[at..at + 1040], packets[wrong][..1040], "{wrong}");
            let alone = writes
                .writes
                .iter()
                .find(|write| writes.parts[write.parts.clone()] == [(at, inners[wrong].length)]);
            let alone = alone.expect("it stands alone");
            assert_eq!(alone.header, VnetHeader::default().encode());
        }
    }

    #[test]
    fn no_group_is_longer_than_an_ip_packet_or_a_write() {
        let (groups, out) = through(&flow(4, &[1400; 100]));
        assert_eq!(out, flow(4, &[1400; 100]));
        assert!(groups.iter().all(|count| *count <= 46));
        let (groups, _) = through(&flow(4, &[10; 200]));
        assert!(groups.iter().all(|count| *count <= MOST_SEGMENTS));
    }

    #[test]
    fn random_octets_do_no_harm() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let packets: Vec<Vec<u8>> = (0..4)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(99);
                    let mut packet = tcp(if state >> 40 & 1 == 0 { 4 } else { 6 }, 7, ACK, b"xyz");
                    let at = (state >> 33) as usize % packet.len();
                    packet[at] ^= (state >> 50) as u8;
                    packet.truncate(1 + (state >> 20) as usize % packet.len());
                    packet
                })
                .collect();
            let (mut buffer, inners) = buffer_of(&packets);
            let mut writes = Writes::default();
            writes.coalesce(&mut buffer, &inners);
            let total: u64 = writes.writes.iter().map(|write| write.packets).sum();
            assert_eq!(total, 4);
        }
    }
}
