//! `struct virtio_net_hdr` (`linux/virtio_net.h`), which precedes each packet of a TUN device.

/// Octets, as set by TUNSETVNETHDRSZ.
pub const LENGTH: usize = 10;

pub const NEEDS_CSUM: u8 = 1;
pub const DATA_VALID: u8 = 2;
pub const GSO_NONE: u8 = 0;
pub const GSO_TCPV4: u8 = 1;
pub const GSO_TCPV6: u8 = 4;
/// A flag beside the type: the first segment may bear CWR.
pub const GSO_ECN: u8 = 0x80;

/// The header's fields; numbers in host order, as legacy TUN has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    pub flags: u8,
    pub gso_type: u8,
    pub header_length: u16,
    /// Octets of payload of each segment.
    pub gso_size: u16,
    /// Where the sum starts, and where from there the checksum stands.
    pub csum_start: u16,
    pub csum_offset: u16,
}

impl VnetHeader {
    /// The header and the packet of one read.
    pub fn parse(octets: &[u8]) -> Option<(VnetHeader, &[u8])> {
        let (head, packet) = octets.split_at_checked(LENGTH)?;
        let number = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let header = VnetHeader {
            flags: head[0],
            gso_type: head[1],
            header_length: number(2),
            gso_size: number(4),
            csum_start: number(6),
            csum_offset: number(8),
        };
        Some((header, packet))
    }

    pub fn encode(&self) -> [u8; LENGTH] {
        let mut octets = [0; LENGTH];
        octets[0] = self.flags;
        octets[1] = self.gso_type;
        for (at, number) in [
            (2, self.header_length),
            (4, self.gso_size),
            (6, self.csum_start),
            (8, self.csum_offset),
        ] {
            octets[at..at + 2].copy_from_slice(&number.to_ne_bytes());
        }
        octets
    }
}
