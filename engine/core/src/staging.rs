//! Sealed packets in a buffer, in rows of equal ones, each of which the underlay sends at once.

use std::net::IpAddr;
use std::sync::Arc;

use crate::sa::Sa;

/// Octets of UDP payload in one send (65,535 less IPv4 and UDP header, RFC 768).
const LONGEST_DATAGRAM: usize = 65_507;
/// Segments in one send (`UDP_MAX_SEGMENTS` of older kernels).
const MOST_SEGMENTS: usize = 64;
/// Half of it takes what a full read becomes at most: 64 KiB in segments of 48 octets
/// (`TCP_MIN_SND_MSS`), each with its headers.
const BUFFER: usize = 768 << 10;

/// The outer IP header of a packet, which the underlay's socket writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub tos: u8,
    /// None for the host's default.
    pub hop_limit: Option<u8>,
    /// Not to be fragmented on the way (IPv4's DF).
    pub df: bool,
}

impl Outer {
    /// As the SA has it, whatever the packet.
    pub fn of(sa: &Sa) -> Outer {
        Outer {
            source: sa.config.source,
            destination: sa.config.destination,
            tos: 0,
            hop_limit: None,
            df: true,
        }
    }
}

/// ESP packets in a row for one peer, equal in length but for the last, which may be shorter.
pub struct Datagram {
    /// The outermost.
    pub sa: Arc<Sa>,
    pub outer: Outer,
    pub start: usize,
    pub length: usize,
    /// Octets of each packet.
    pub segment: usize,
    count: usize,
    open: bool,
}

impl Datagram {
    /// One packet at the start of a buffer.
    pub fn single(sa: &Arc<Sa>, outer: Outer, length: usize) -> Datagram {
        Datagram {
            sa: Arc::clone(sa),
            outer,
            start: 0,
            length,
            segment: length,
            count: 1,
            open: false,
        }
    }
}

/// Sealed packets that wait to be sent.
pub struct Staging {
    pub buffer: Vec<u8>,
    used: usize,
    pub datagrams: Vec<Datagram>,
}

impl Staging {
    pub fn new() -> Self {
        Staging {
            buffer: vec![0; BUFFER],
            used: 0,
            datagrams: Vec::new(),
        }
    }

    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
    }

    /// Whether `length` octets more find room.
    pub fn has_room(&self, length: usize) -> bool {
        self.buffer.len() - self.used >= length
    }

    /// Whether another full read should wait until this was sent.
    pub fn is_full(&self) -> bool {
        self.used > self.buffer.len() / 2
    }

    /// A place for one ESP packet, in the row before if it fits there.
    pub fn place(&mut self, sa: &Arc<Sa>, outer: Outer, length: usize) -> &mut [u8] {
        let start = self.used;
        self.used += length;
        match self.datagrams.last_mut() {
            Some(row)
                if row.open
                    && row.count < MOST_SEGMENTS
                    && row.outer == outer
                    && length <= row.segment
                    && row.length + length <= LONGEST_DATAGRAM
                    && Arc::ptr_eq(&row.sa, sa) =>
            {
                row.length += length;
                row.count += 1;
                row.open = length == row.segment;
            }
            _ => self.datagrams.push(Datagram {
                sa: Arc::clone(sa),
                outer,
                start,
                length,
                segment: length,
                count: 1,
                open: true,
            }),
        }
        &mut self.buffer[start..start + length]
    }

    /// Gives back the place of the packet that came last: it must not be sent.
    pub fn take_back(&mut self, length: usize) {
        self.used -= length;
        self.buffer[self.used..self.used + length].fill(0);
        let Some(row) = self.datagrams.last_mut() else {
            return;
        };
        row.length -= length;
        row.count -= 1;
        if row.count == 0 {
            self.datagrams.pop();
        }
    }
}

impl Default for Staging {
    fn default() -> Self {
        Self::new()
    }
}
