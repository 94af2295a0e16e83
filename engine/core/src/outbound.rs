//! From one read of TUN to ESP packets in a buffer, ready for the underlay. No I/O here.
//!
//! 1. the read is an IP packet: else dropped
//! 2. policy: direction out, if_id by strict equality: else the kernel's ICMP answer
//! 3. SAs by the policy's templates: else the packet is held and an SA asked for, or XfrmOutNoStates
//!    and the answer
//! 4. the packet is not our own ESP to that peer: else a routing loop, counted as a collision
//! 5. limits of each SA: else XfrmOutStateExpired
//! 6. what the mode carries of the packet, and the outer header: else XfrmOutStateModeError
//! 7. the path takes it in one piece: else the kernel's ICMP answer, or fragments outside
//! 8. sequence numbers for all segments at once: else XfrmOutStateSeqError
//! 9. each segment is cut into its place and sealed there, from the first SA to the outermost
//! 10. equal segments of one SA stand in a row: one datagram for UDP_SEGMENT

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::bundle::{Bundle, Unresolved};
use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::esp;
use crate::events::{Event, Events};
use crate::flow_cache::FlowCache;
use crate::held::Held;
use crate::icmp;
use crate::ip::{self, Packet};
use crate::modes::{ip_header, Wrapping};
use crate::offload::segment::Segments;
use crate::offload::vnet::VnetHeader;
use crate::path_mtu::{self, Paths, ALWAYS_FITS};
use crate::policy::{Action, Direction, Flow, Policy};
use crate::sa::{Encapsulation, Sa};
use crate::stats::{DropReason, XfrmStat};
use crate::tables::{Published, Tables};

/// Octets of UDP payload in one send (65,535 less IPv4 and UDP header, RFC 768).
const LONGEST_DATAGRAM: usize = 65_507;
/// Segments in one send (`UDP_MAX_SEGMENTS` of older kernels).
const MOST_SEGMENTS: usize = 64;
/// The least MTU of IPv6.
const LEAST_V6: usize = 1280;
/// What a full read becomes at most: 64 KiB in segments of 500 octets, each with its overhead.
const BUFFER: usize = 256 << 10;

/// What becomes of a flow.
#[derive(Clone)]
enum Verdict {
    Seal(Arc<Bundle>),
    /// Held until there is an SA for the template of the policy.
    Acquire(Arc<Policy>, usize),
    /// Dropped with the ICMP answer of a link that fails.
    Unreachable(Option<DropReason>),
}

impl Verdict {
    /// A policy fits, and no SA.
    fn lacks_sa(&self) -> bool {
        matches!(
            self,
            Verdict::Acquire(..) | Verdict::Unreachable(Some(DropReason::OutNoStates))
        )
    }
}

/// Why packets were not sealed, and how many.
enum Refused {
    Dropped(u64, Option<DropReason>),
    /// The sender is told the MTU that fits.
    TooBig(usize),
}

impl Refused {
    fn of(packets: u64, reason: DropReason) -> Refused {
        Refused::Dropped(packets, Some(reason))
    }
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

/// The outbound half of a worker: its cache, what it holds, and its counters.
pub struct Outbound {
    stat: Arc<XfrmStat>,
    events: Arc<Events>,
    pub ring: Arc<DropRing>,
    published: Option<Arc<Published>>,
    flows: FlowCache<Verdict>,
    held: Held,
    /// Policies and templates for which an SA was asked for since the tables changed.
    asked: HashSet<(u32, usize)>,
    /// Knows of no limit until a worker gives it another.
    pub paths: Paths,
    /// Policies for which a larval SA was seen: once it is gone, nobody will answer any more.
    answering: HashSet<u32>,
    /// A packet whose header does not travel as it is.
    scratch: Vec<u8>,
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
    pub fn new(stat: Arc<XfrmStat>, events: Arc<Events>) -> Self {
        Outbound {
            paths: Paths::unlimited(),
            stat,
            events,
            ring: Arc::default(),
            published: None,
            flows: FlowCache::new(),
            held: Held::default(),
            asked: HashSet::new(),
            answering: HashSet::new(),
            scratch: Vec::new(),
        }
    }

    /// Forgets what was found in older tables.
    pub fn tables_changed(&mut self) {
        self.flows.clear();
        self.asked.clear();
    }

    /// Whether packets wait for an SA, and `release` should be called when tables change.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Tries all packets that wait again: they are sealed, wait on, or are dropped. `then` is called
    /// after each with the ICMP answer if there is one.
    pub fn release(
        &mut self,
        tables: &Tables,
        staging: &mut Staging,
        mut then: impl FnMut(&Arc<Device>, Option<Vec<u8>>, &mut Staging),
    ) {
        for read in self.held.take() {
            let answer = self.seal_or_hold(tables, &read.device, &read.octets, staging, true);
            then(&read.device, answer, staging);
        }
        if self.held.is_empty() {
            self.answering.clear();
        }
    }

    /// Seals one read into `staging`; gives the ICMP answer if there is one to write back.
    pub fn seal(
        &mut self,
        tables: &Tables,
        device: &Arc<Device>,
        read: &[u8],
        staging: &mut Staging,
    ) -> Option<Vec<u8>> {
        self.seal_or_hold(tables, device, read, staging, false)
    }

    /// Tables to look into where those of the batch have no SA any more.
    pub fn follow(&mut self, published: Arc<Published>) {
        self.published = Some(published);
    }

    fn newer_than(&self, tables: &Tables) -> Option<Arc<Tables>> {
        let (_, current) = self.published.as_ref()?.load();
        (!std::ptr::eq(&*current, tables)).then_some(current)
    }

    /// `again` for a read that was held before.
    fn seal_or_hold(
        &mut self,
        tables: &Tables,
        device: &Arc<Device>,
        read: &[u8],
        staging: &mut Staging,
        again: bool,
    ) -> Option<Vec<u8>> {
        let Some((header, octets)) = VnetHeader::parse(read) else {
            return self.drop(device, &[], 1, None);
        };
        let Some(packet) = ip::parse(octets) else {
            return self.drop(device, &[], 1, None);
        };
        let Some(if_id) = tables.if_id_of(device, packet.flow.destination) else {
            // Without metadata (`xfrmi_xmit2`).
            return self.drop(device, octets, 1, None);
        };
        let mut verdict = self
            .flows
            .get(if_id, &packet.flow, || look_up(tables, if_id, &packet.flow));
        if matches!(&verdict, Verdict::Seal(bundle) if !bundle.is_fresh()) {
            verdict = look_up(tables, if_id, &packet.flow);
        }
        if verdict.lacks_sa() {
            // The SA was deleted just now: its successor may be in tables that came since.
            if let Some(newer) = self.newer_than(tables) {
                verdict = look_up(&newer, device.if_id, &packet.flow);
            }
        }
        match verdict {
            Verdict::Seal(bundle) => {
                match self.seal_with(&bundle, device, &header, octets, &packet, staging) {
                    Ok(()) => {
                        if tables.aevents {
                            self.tell_of_replay(&bundle);
                        }
                        None
                    }
                    Err(Refused::Dropped(packets, reason)) => {
                        self.drop(device, octets, packets, reason)
                    }
                    Err(Refused::TooBig(mtu)) => {
                        self.drop(device, octets, 1, None);
                        icmp::too_big(octets, &packet, mtu)
                    }
                }
            }
            Verdict::Unreachable(reason) => self.unreachable(device, octets, &packet, reason),
            Verdict::Acquire(policy, template) => {
                if self.has_given_up(tables, &policy, template) && again {
                    let reason = Some(DropReason::OutNoStates);
                    return self.unreachable(device, octets, &packet, reason);
                }
                if self.asked.insert((policy.index, template)) {
                    self.events.tell(Event::Acquire {
                        policy: Arc::clone(&policy),
                        template,
                        flow: packet.flow,
                    });
                }
                if self.held.keep(policy.index, device, read) {
                    return None;
                }
                self.unreachable(device, octets, &packet, Some(DropReason::OutNoStates))
            }
        }
    }

    fn seal_with(
        &mut self,
        bundle: &Bundle,
        device: &Device,
        header: &VnetHeader,
        octets: &[u8],
        packet: &Packet,
        staging: &mut Staging,
    ) -> Result<(), Refused> {
        if bundle.sas.iter().any(|sa| is_own_outer(sa, &packet.flow)) {
            device.stats.collisions.fetch_add(1, Relaxed);
            return Err(Refused::Dropped(1, None));
        }
        let segments =
            Segments::new(header, octets, packet).ok_or(Refused::of(1, DropReason::OutError))?;
        let (count, inner_octets) = match bundle.sas.as_slice() {
            [sa] => self.seal_single(sa, device, octets, packet, &segments, staging)?,
            sas => self.seal_nested(sas, device, &segments, staging)?,
        };
        bundle.policy.state.count(count, inner_octets);
        device.stats.tx_packets.fetch_add(count, Relaxed);
        device.stats.tx_bytes.fetch_add(inner_octets, Relaxed);
        Ok(())
    }

    /// Sequence numbers have moved so far that listeners of aevents are told.
    fn tell_of_replay(&self, bundle: &Bundle) {
        for sa in &bundle.sas {
            let seq = sa.state.replay.lock().map_or(0, |window| window.seq());
            if sa.state.replay_moved(seq) {
                self.events.tell(Event::Replay { sa: Arc::clone(sa) });
            }
        }
    }

    /// Packets and inner octets that were sealed by one SA. The segments of one read differ in
    /// nothing that the wrapping depends on.
    fn seal_single(
        &mut self,
        sa: &Arc<Sa>,
        device: &Device,
        octets: &[u8],
        packet: &Packet,
        segments: &Segments,
        staging: &mut Staging,
    ) -> Result<(u64, u64), Refused> {
        let count = segments.count() as u64;
        let length = segments.length(0);
        let wrapping =
            Wrapping::of(sa, octets, packet).map_err(|reason| Refused::of(count, reason))?;
        let wrapping = self.fit(sa, wrapping, octets, length)?;
        let tfc = |payload: usize| tfc_padding(sa, device, payload);
        let payload = wrapping.payload(length);
        let place = esp::sealed_length(&sa.transform, payload, tfc(payload));
        if !staging.has_room(segments.count() * place) {
            return Err(Refused::of(count, DropReason::OutError));
        }
        if sa.expires(&self.events, 0, 0) {
            return Err(Refused::of(count, DropReason::OutStateExpired));
        }
        let count = within_limits(sa, count, length as u64);
        let first = sa
            .reserve_sequence(count)
            .ok_or(Refused::of(count, DropReason::OutStateSeqError))?;
        let offset = esp::payload_offset(&sa.transform);
        let outer_header = header_length(&wrapping.outer);
        let (mut inner_octets, mut outer_octets) = (0, 0);
        for n in 0..count {
            let inner = segments.length(n as usize);
            let payload = wrapping.payload(inner);
            let padding = tfc(payload);
            let place = esp::sealed_length(&sa.transform, payload, padding);
            let target = staging.place(sa, wrapping.outer, place);
            if wrapping.carries_all() {
                segments.write(n as usize, &mut target[offset..offset + inner]);
            } else {
                self.scratch.resize(inner, 0);
                segments.write(n as usize, &mut self.scratch);
                put_payload(
                    &wrapping,
                    &self.scratch,
                    &mut target[offset..offset + payload],
                );
            }
            seal_in_place(sa, first + n, &wrapping, payload, padding, target).map_err(
                |reason| {
                    // What stands there is in clear: it must not be sent.
                    target.fill(0);
                    Refused::of(1, reason)
                },
            )?;
            inner_octets += inner as u64;
            outer_octets += (payload + outer_header) as u64;
        }
        sa.state.count(count, outer_octets);
        Ok((count, inner_octets))
    }

    /// Step 7: a packet that the path does not take in one piece goes back to its sender if it may
    /// not be cut, and is cut outside if it may (`xfrmi_xmit2`).
    fn fit(
        &mut self,
        sa: &Arc<Sa>,
        mut wrapping: Wrapping,
        octets: &[u8],
        length: usize,
    ) -> Result<Wrapping, Refused> {
        if length <= ALWAYS_FITS {
            return Ok(wrapping);
        }
        let Some(mtu) = self.paths.mtu(sa, &wrapping.outer) else {
            return Ok(wrapping);
        };
        let longest = path_mtu::inner_mtu(sa, &wrapping, mtu);
        if length <= longest {
            return Ok(wrapping);
        }
        let (may_be_cut, told) = match octets[0] >> 4 {
            4 => (octets[6] & 0x40 == 0, longest),
            // RFC 8200, 5: 1280 octets must pass.
            _ => (length <= LEAST_V6, longest.max(LEAST_V6)),
        };
        if !may_be_cut {
            return Err(Refused::TooBig(told));
        }
        wrapping.outer.df = false;
        Ok(wrapping)
    }

    /// The same through several SAs, packet by packet, the first SA first.
    fn seal_nested(
        &mut self,
        sas: &[Arc<Sa>],
        device: &Device,
        segments: &Segments,
        staging: &mut Staging,
    ) -> Result<(u64, u64), Refused> {
        let (outermost, inner_sas) = sas.split_last().expect("a bundle has an SA");
        let mut inner_octets = 0;
        for n in 0..segments.count() {
            let left = (segments.count() - n) as u64;
            let refused = |reason| Refused::of(left, reason);
            let mut packet = vec![0; segments.length(n)];
            segments.write(n, &mut packet);
            for sa in inner_sas {
                packet = self.wrap(sa, device, &packet).map_err(refused)?;
            }
            let (wrapping, sealed) = self
                .seal_packet(outermost, device, &packet)
                .map_err(refused)?;
            if !staging.has_room(sealed.len()) {
                return Err(refused(DropReason::OutError));
            }
            staging
                .place(outermost, wrapping.outer, sealed.len())
                .copy_from_slice(&sealed);
            inner_octets += segments.length(n) as u64;
        }
        Ok((segments.count() as u64, inner_octets))
    }

    /// A packet as a whole IP packet around it, for the next SA.
    fn wrap(&self, sa: &Arc<Sa>, device: &Device, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let (wrapping, sealed) = self.seal_packet(sa, device, packet)?;
        let Encapsulation::Udp {
            source_port,
            destination_port,
        } = sa.config.encapsulation
        else {
            let mut outside = ip_header(&wrapping.outer, ip::ESP, sealed.len());
            outside.extend(sealed);
            return Ok(outside);
        };
        // RFC 3948, 2.1: the checksum should be zero; over IPv6 receivers must take that for tunnels.
        let length = 8 + sealed.len();
        let mut outside = ip_header(&wrapping.outer, ip::UDP, length);
        outside.extend(source_port.to_be_bytes());
        outside.extend(destination_port.to_be_bytes());
        outside.extend((length as u16).to_be_bytes());
        outside.extend([0, 0]);
        outside.extend(sealed);
        Ok(outside)
    }

    fn seal_packet(
        &self,
        sa: &Arc<Sa>,
        device: &Device,
        packet: &[u8],
    ) -> Result<(Wrapping, Vec<u8>), DropReason> {
        if sa.expires(&self.events, 0, 0) {
            return Err(DropReason::OutStateExpired);
        }
        let parsed = ip::parse(packet).ok_or(DropReason::OutStateModeError)?;
        let wrapping = Wrapping::of(sa, packet, &parsed)?;
        let payload = wrapping.payload(packet.len());
        let padding = tfc_padding(sa, device, payload);
        let sequence = sa.reserve_sequence(1).ok_or(DropReason::OutStateSeqError)?;
        let mut sealed = vec![0; esp::sealed_length(&sa.transform, payload, padding)];
        let offset = esp::payload_offset(&sa.transform);
        put_payload(&wrapping, packet, &mut sealed[offset..offset + payload]);
        seal_in_place(sa, sequence, &wrapping, payload, padding, &mut sealed)?;
        let outer_header = header_length(&wrapping.outer);
        sa.state.count(1, (payload + outer_header) as u64);
        Ok((wrapping, sealed))
    }

    /// Whether the larval SA that was there while packets waited has gone without an SA.
    fn has_given_up(&mut self, tables: &Tables, policy: &Policy, template: usize) -> bool {
        let larval = policy
            .templates
            .get(template)
            .is_some_and(|template| tables.larval(policy, template));
        if larval {
            self.answering.insert(policy.index);
            return false;
        }
        self.answering.contains(&policy.index)
    }

    fn unreachable(
        &self,
        device: &Device,
        octets: &[u8],
        packet: &Packet,
        reason: Option<DropReason>,
    ) -> Option<Vec<u8>> {
        device.stats.tx_carrier_errors.fetch_add(1, Relaxed);
        self.drop(device, octets, 1, reason);
        icmp::unreachable(octets, packet)
    }

    fn drop(
        &self,
        device: &Device,
        octets: &[u8],
        packets: u64,
        reason: Option<DropReason>,
    ) -> Option<Vec<u8>> {
        if let Some(reason) = reason {
            self.stat.add(reason, packets);
        }
        device.stats.tx_errors.fetch_add(packets, Relaxed);
        device.stats.tx_dropped.fetch_add(packets, Relaxed);
        let name = reason.map_or("tx_dropped", DropReason::name);
        self.ring
            .record(|| Dropped::new(name, Way::Out, device.if_id).with_inner(octets));
        None
    }
}

fn look_up(tables: &Tables, if_id: u32, flow: &Flow) -> Verdict {
    let Some(policy) = tables.policy(Direction::Out, if_id, flow, 0) else {
        // No counter: the kernel has none for this either (`xfrmi_xmit2`).
        return Verdict::Unreachable(None);
    };
    if policy.action == Action::Block {
        return Verdict::Unreachable(Some(DropReason::OutPolBlock));
    }
    match Bundle::resolve(tables, policy, flow) {
        Ok(bundle) => Verdict::Seal(Arc::new(bundle)),
        Err(Unresolved::NoTemplate) => Verdict::Unreachable(None),
        Err(Unresolved::Direction) => Verdict::Unreachable(Some(DropReason::OutStateDirError)),
        Err(Unresolved::NoState { template }) if tables.acquire => {
            Verdict::Acquire(Arc::clone(policy), template)
        }
        Err(Unresolved::NoState { .. }) => Verdict::Unreachable(Some(DropReason::OutNoStates)),
    }
}

/// How many of `count` packets the hard limits let pass; those above them are
/// lost: the next read finds the limit reached.
fn within_limits(sa: &Sa, count: u64, octets: u64) -> u64 {
    let limits = &sa.config.limits;
    let packets = limits
        .hard_packets
        .saturating_sub(sa.state.packets.load(Relaxed));
    let rest = limits
        .hard_bytes
        .saturating_sub(sa.state.octets.load(Relaxed));
    count.min(packets).min(rest.div_ceil(octets.max(1))).max(1)
}

/// RFC 4303, 2.7: up to what the SA asks for, and no longer than the interface's packets.
fn tfc_padding(sa: &Sa, device: &Device, payload: usize) -> usize {
    if sa.config.tfc_padding == 0 {
        return 0;
    }
    let wanted = sa.config.tfc_padding.min(device.mtu.load(Relaxed)) as usize;
    wanted.saturating_sub(payload)
}

fn put_payload(wrapping: &Wrapping, packet: &[u8], target: &mut [u8]) {
    let (prefix, rest) = target.split_at_mut(wrapping.prefix_length);
    prefix.copy_from_slice(&wrapping.prefix[..wrapping.prefix_length]);
    rest.copy_from_slice(&packet[wrapping.skip..]);
}

fn seal_in_place(
    sa: &Sa,
    sequence: u64,
    wrapping: &Wrapping,
    payload: usize,
    tfc_padding: usize,
    target: &mut [u8],
) -> Result<(), DropReason> {
    esp::seal(
        &sa.transform,
        sa.config.spi,
        sequence,
        sequence ^ sa.state.iv_mask,
        sa.esn(),
        payload,
        tfc_padding,
        wrapping.next_header,
        target,
    )
}

/// Octets of the outer IP header, which the kernel counts in an SA's bytes.
fn header_length(outer: &Outer) -> usize {
    if outer.destination.is_ipv4() {
        20
    } else {
        40
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
