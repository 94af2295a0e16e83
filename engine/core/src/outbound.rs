//! From one read of TUN to ESP packets in a buffer, ready for the underlay. No I/O here.
//!
//! 1. the read is an IP packet: else dropped
//! 2. policy: direction out, if_id by strict equality: else the kernel's ICMP answer
//! 3. SA by the policy's template: else the answer, and XfrmOutNoStates
//! 4. the packet is not our own ESP to that peer: else a routing loop, counted as a collision
//! 5. sequence numbers for all segments at once: else XfrmOutStateSeqError
//! 6. each segment is cut into its place and sealed there
//! 7. equal segments of one SA stand in a row: one datagram for UDP_SEGMENT

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::device::Device;
use crate::esp;
use crate::flow_cache::FlowCache;
use crate::ip::{self, Packet, IPIP, IPV6};
use crate::offload::segment::Segments;
use crate::offload::vnet::VnetHeader;
use crate::policy::{Action, Direction, Flow};
use crate::sa::{Encapsulation, Sa, SaDirection};
use crate::stats::{DropReason, XfrmStat};
use crate::tables::Tables;

/// Octets of UDP payload in one send (65,535 less IPv4 and UDP header, RFC 768).
const LONGEST_DATAGRAM: usize = 65_507;
/// Segments in one send (`UDP_MAX_SEGMENTS` of older kernels).
const MOST_SEGMENTS: usize = 64;
/// What a full read becomes at most: 64 KiB in segments of 500 octets, each with its overhead.
const BUFFER: usize = 256 << 10;

/// What becomes of a flow.
#[derive(Clone)]
enum Verdict {
    Seal(Arc<Sa>),
    /// Dropped with the ICMP answer of a link that fails.
    Unreachable(Option<DropReason>),
    Drop(DropReason),
}

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

/// Sealed packets that wait to be sent.
pub struct Staging {
    pub buffer: Vec<u8>,
    used: usize,
    pub datagrams: Vec<Datagram>,
}

/// The outbound half of a worker: its cache and its counters.
pub struct Outbound {
    stat: Arc<XfrmStat>,
    flows: FlowCache<Verdict>,
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
    fn has_room(&self, length: usize) -> bool {
        self.buffer.len() - self.used >= length
    }

    /// Whether another full read should wait until this was sent.
    pub fn is_full(&self) -> bool {
        self.used > self.buffer.len() / 2
    }

    /// A place for one ESP packet, in the row before if it fits there.
    fn place(&mut self, sa: &Arc<Sa>, outer: Outer, length: usize) -> &mut [u8] {
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
}

impl Default for Staging {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbound {
    pub fn new(stat: Arc<XfrmStat>) -> Self {
        Outbound {
            stat,
            flows: FlowCache::new(),
        }
    }

    /// Forgets what was found in older tables.
    pub fn tables_changed(&mut self) {
        self.flows.clear();
    }

    /// Seals one read into `staging`; gives the ICMP answer if there is one to write back.
    pub fn seal(
        &mut self,
        tables: &Tables,
        device: &Device,
        read: &[u8],
        staging: &mut Staging,
    ) -> Option<Vec<u8>> {
        let Some((header, octets)) = VnetHeader::parse(read) else {
            return self.drop(device, 1, None);
        };
        let Some(packet) = ip::parse(octets) else {
            return self.drop(device, 1, None);
        };
        let verdict = self.flows.get(device.if_id, &packet.flow, || {
            look_up(tables, device.if_id, &packet.flow)
        });
        match verdict {
            Verdict::Seal(sa) => self.seal_with(&sa, device, &header, octets, &packet, staging),
            Verdict::Drop(reason) => self.drop(device, 1, Some(reason)),
            Verdict::Unreachable(reason) => {
                device.stats.tx_carrier_errors.fetch_add(1, Relaxed);
                self.drop(device, 1, reason);
                crate::icmp::unreachable(octets, &packet)
            }
        }
    }

    fn seal_with(
        &self,
        sa: &Arc<Sa>,
        device: &Device,
        header: &VnetHeader,
        octets: &[u8],
        packet: &Packet,
        staging: &mut Staging,
    ) -> Option<Vec<u8>> {
        if is_own_outer(sa, &packet.flow) {
            device.stats.collisions.fetch_add(1, Relaxed);
            return self.drop(device, 1, None);
        }
        let Some(segments) = Segments::new(header, octets, packet) else {
            return self.drop(device, 1, Some(DropReason::OutError));
        };
        let count = segments.count() as u64;
        let room = segments.count() * esp::sealed_length(&sa.transform, segments.length(0), 0);
        if !staging.has_room(room) {
            return self.drop(device, count, Some(DropReason::OutError));
        }
        let Some(first) = sa.reserve_sequence(count) else {
            return self.drop(device, count, Some(DropReason::OutStateSeqError));
        };
        let start = esp::payload_offset(&sa.transform);
        let next_header = if packet.is_ipv4() { IPIP } else { IPV6 };
        let outer = Outer {
            source: sa.config.source,
            destination: sa.config.destination,
            tos: packet.tos,
            hop_limit: None,
            df: true,
        };
        let mut inner_octets = 0;
        for n in 0..segments.count() {
            let inner = segments.length(n);
            let sequence = first + n as u64;
            let iv = sequence ^ sa.state.iv_mask;
            let target = staging.place(sa, outer, esp::sealed_length(&sa.transform, inner, 0));
            segments.write(n, &mut target[start..start + inner]);
            if let Err(reason) = esp::seal(
                &sa.transform,
                sa.config.spi,
                sequence,
                iv,
                sa.esn(),
                inner,
                0,
                next_header,
                target,
            ) {
                // What stands there is in clear: it must not be sent.
                target.fill(0);
                return self.drop(device, 1, Some(reason));
            }
            inner_octets += inner as u64;
        }
        sa.state.count(count, inner_octets);
        device.stats.tx_packets.fetch_add(count, Relaxed);
        device.stats.tx_bytes.fetch_add(inner_octets, Relaxed);
        None
    }

    fn drop(&self, device: &Device, packets: u64, reason: Option<DropReason>) -> Option<Vec<u8>> {
        if let Some(reason) = reason {
            self.stat.add(reason, packets);
        }
        device.stats.tx_errors.fetch_add(packets, Relaxed);
        device.stats.tx_dropped.fetch_add(packets, Relaxed);
        None
    }
}

fn look_up(tables: &Tables, if_id: u32, flow: &Flow) -> Verdict {
    let Some(policy) = tables.policy(Direction::Out, if_id, flow, 0) else {
        // No counter: the kernel has none for this either (`xfrmi_xmit2`).
        return Verdict::Unreachable(None);
    };
    if policy.action == Action::Block {
        return Verdict::Drop(DropReason::OutPolBlock);
    }
    let Some(template) = policy.templates.first() else {
        return Verdict::Unreachable(None);
    };
    match tables.outbound_sa(policy, template) {
        None => Verdict::Unreachable(Some(DropReason::OutNoStates)),
        Some(sa) if sa.config.direction == Some(SaDirection::In) => {
            Verdict::Drop(DropReason::OutStateDirError)
        }
        Some(sa) => Verdict::Seal(Arc::clone(sa)),
    }
}

/// Whether a packet into the tunnel is the tunnel's own ESP: a route leads the peer's address in.
fn is_own_outer(sa: &Sa, flow: &Flow) -> bool {
    flow.destination == sa.config.destination
        && flow.source == sa.config.source
        && match sa.config.encapsulation {
            Encapsulation::Esp => flow.protocol == ip::ESP,
            Encapsulation::Udp {
                source_port,
                destination_port,
            } => {
                flow.protocol == ip::UDP
                    && flow.source_port == source_port
                    && flow.destination_port == destination_port
            }
        }
}
