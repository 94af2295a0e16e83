//! From received ESP packets in a buffer to inner packets, ready for TUN. No I/O here.
//!
//! 1. length and SPI: else XfrmInHdrError; NAT keepalives and IKE are passed over
//! 2. SA by destination, SPI: else XfrmInNoStates; for this direction: else XfrmInStateDirError; with
//!    keys: else XfrmAcquireError
//! 3. it is valid, and came as it says: else XfrmInStateInvalid, XfrmInStateMismatch
//! 4. replay check: else XfrmInStateSeqError
//! 5. limits: else XfrmInStateExpired
//! 6. integrity, decryption and trailer: else XfrmInStateProtoError, dummies too
//! 7. replay commit
//! 8. mode: the inner packet, whole again (`decapsulation`): else XfrmInStateModeError,
//!    XfrmInHdrError
//! 9. an inner packet that is ESP for an SA of ours is checked as in 10 and starts over at 2, at most
//!    six SAs deep: else XfrmInBufferError
//! 10. device of the last SA's if_id, served, and policy of direction in, if_id by strict equality,
//!     whose templates fit the SAs (`policy_check`): else XfrmInNoPols, XfrmInPolBlock,
//!     XfrmInTmplMismatch, XfrmInStateMismatch
//!
//! What finds an SA, were it one without keys, and fails up to 8 is an error of the device
//! (`xfrmi_rcv_cb`); what a policy refuses was received.
//!
//! The engine cannot know whether the kernel will deliver or forward the inner packet, so it is the
//! policy of direction in that is checked; those of direction fwd are kept for who lists them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::decapsulation::{self, Arena, Inside};
use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::esp::{self, Opened};
use crate::events::{Event, Events};
use crate::flow_cache::FlowCache;
use crate::ip;
use crate::offload::coalesce::Inner;
use crate::policy::{Direction, Policy};
use crate::policy_check::{self, SecPath, MOST_SAS};
use crate::replay::ReplayWindow;
use crate::sa::{Encapsulation, Sa, SaConfig, SaDirection};
use crate::stats::{DropReason, XfrmStat};
use crate::tables::Tables;
use crate::underlay::MARKER;

/// A received packet, without outer IP and UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub start: usize,
    pub length: usize,
    pub source: IpAddr,
    /// 0 if it did not come in UDP.
    pub source_port: u16,
    /// The outer destination: ours.
    pub destination: IpAddr,
    /// Outer type of service or traffic class, and hop limit.
    pub tos: u8,
    pub hop_limit: u8,
    /// Identification and DF of an outer IPv4 header; a socket for UDP does not tell them, and then a
    /// packet counts as one that may not be fragmented, whose identification is nothing (RFC 6864).
    pub identification: u16,
    pub df: bool,
    /// Came in UDP.
    pub encapsulated: bool,
}

/// The inbound half of a worker.
pub struct Inbound {
    stat: Arc<XfrmStat>,
    events: Arc<Events>,
    pub ring: Arc<DropRing>,
    flows: FlowCache<Option<Arc<Policy>>>,
    /// Those of the batch, by the index that `Inner::device` holds.
    pub devices: Vec<Arc<Device>>,
    pub inners: Vec<Inner>,
    /// Packets of a row that are ESP for another SA of ours, in their order.
    nested: VecDeque<Nested>,
}

/// An ESP packet that was inside another.
struct Nested {
    received: Received,
    path: SecPath,
}

impl Inbound {
    pub fn new(stat: Arc<XfrmStat>, events: Arc<Events>) -> Self {
        Inbound {
            stat,
            events,
            ring: Arc::default(),
            flows: FlowCache::new(),
            devices: Vec::new(),
            inners: Vec::new(),
            nested: VecDeque::new(),
        }
    }

    /// Forgets what was found in older tables.
    pub fn tables_changed(&mut self) {
        self.flows.clear();
        self.devices.clear();
    }

    /// Opens a batch in place; what is good is in `inners` afterwards, in its order. Packets that get
    /// another header are put together in `arena`, a part of the buffer that holds none.
    pub fn open(
        &mut self,
        tables: &Tables,
        buffer: &mut [u8],
        received: &[Received],
        arena: Range<usize>,
    ) {
        self.inners.clear();
        self.devices.clear();
        let mut arena = Arena(arena);
        let mut rest = received;
        while let [first, ..] = rest {
            let octets = octets_of(buffer, first);
            if first.encapsulated && is_keepalive_or_ike(octets) {
                if let Some(message) = octets.strip_prefix(&MARKER) {
                    self.events.ike.pass(first, message);
                }
                rest = &rest[1..];
                continue;
            }
            let sa = match find(tables, first, octets) {
                Ok(sa) => sa,
                Err(without) => {
                    self.turn_away(tables, without, first, buffer);
                    rest = &rest[1..];
                    continue;
                }
            };
            // One lock for all packets of the SA that stand in a row.
            let same = |one: &&Received| {
                one.destination == first.destination
                    && one.encapsulated == first.encapsulated
                    && esp::header(octets_of(buffer, one))
                        .is_some_and(|(spi, _)| spi == sa.config.spi)
            };
            let count = rest.iter().take_while(same).count().max(1);
            self.open_row(tables, &sa, buffer, &rest[..count], &mut arena);
            rest = &rest[count..];
            while let Some(nested) = self.nested.pop_front() {
                self.open_nested(tables, buffer, nested, &mut arena);
            }
        }
    }

    /// Steps 3 to 10 for packets of one SA.
    fn open_row(
        &mut self,
        tables: &Tables,
        sa: &Arc<Sa>,
        buffer: &mut [u8],
        row: &[Received],
        arena: &mut Arena,
    ) {
        let device = self.device(tables, sa.config.if_id);
        let (mut packets, mut octets) = (0, 0);
        let path = SecPath {
            sas: vec![Arc::clone(sa)],
            verified: 0,
        };
        let mut window = sa
            .state
            .replay
            .lock()
            .expect("no worker panics while it holds the lock");
        for received in row {
            let opened = self.unseal(sa, &mut window, (packets, octets), buffer, received);
            let opened = match opened {
                Ok(opened) => opened,
                Err(reason) => {
                    self.lose(reason, received, buffer, device);
                    continue;
                }
            };
            packets += 1;
            octets += opened.payload as u64;
            match decapsulation::unwrap(tables, sa, buffer, received, &opened, arena) {
                Ok(Inside::Packet(range)) => {
                    self.accept(tables, &path, device, buffer, received, range);
                }
                Ok(Inside::Esp(packet, inside)) => {
                    self.descend(tables, path.clone(), device, buffer, packet, inside);
                }
                Err(reason) => self.lose(reason, received, buffer, device),
            }
        }
        let seq = window.seq();
        drop(window);
        sa.state.count(packets, octets);
        self.watch_replay(tables, sa, seq);
    }

    /// Steps 2 to 10 for a packet that was inside another.
    fn open_nested(
        &mut self,
        tables: &Tables,
        buffer: &mut [u8],
        nested: Nested,
        arena: &mut Arena,
    ) {
        let Nested { received, mut path } = nested;
        let found = if path.sas.len() == MOST_SAS {
            Err(WithoutSa::of(DropReason::InBufferError))
        } else {
            find(tables, &received, octets_of(buffer, &received))
        };
        let sa = match found {
            Ok(sa) => sa,
            Err(without) => return self.turn_away(tables, without, &received, buffer),
        };
        path.sas.push(Arc::clone(&sa));
        let device = self.device(tables, sa.config.if_id);
        let (opened, seq) = {
            let mut window = sa
                .state
                .replay
                .lock()
                .expect("no worker panics while it holds the lock");
            let opened = self.unseal(&sa, &mut window, (0, 0), buffer, &received);
            if let Ok(opened) = &opened {
                sa.state.count(1, opened.payload as u64);
            }
            (opened, window.seq())
        };
        self.watch_replay(tables, &sa, seq);
        let inside = opened.and_then(|opened| {
            decapsulation::unwrap(tables, &sa, buffer, &received, &opened, arena)
        });
        match inside {
            Ok(Inside::Packet(range)) => {
                self.accept(tables, &path, device, buffer, &received, range);
            }
            Ok(Inside::Esp(packet, inside)) => {
                self.descend(tables, path, device, buffer, packet, inside);
            }
            Err(reason) => self.lose(reason, &received, buffer, device),
        }
    }

    /// Steps 3 to 7 for one packet; `pending` packets and octets of the SA are not counted yet. The
    /// window is locked from check to commit, so there is nothing to check again.
    fn unseal(
        &self,
        sa: &Arc<Sa>,
        window: &mut ReplayWindow,
        pending: (u64, u64),
        buffer: &mut [u8],
        received: &Received,
    ) -> Result<Opened, DropReason> {
        if !sa.state.is_valid() {
            return Err(DropReason::InStateInvalid);
        }
        let in_udp = matches!(sa.config.encapsulation, Encapsulation::Udp { .. });
        if in_udp != received.encapsulated {
            return Err(DropReason::InStateMismatch);
        }
        let packet = buffer
            .get_mut(received.start..received.start + received.length)
            .ok_or(DropReason::InHdrError)?;
        let (_, low) = esp::header(packet).ok_or(DropReason::InHdrError)?;
        let sequence = window.check(low).inspect_err(|_| {
            if window.is_zero(low) {
                return;
            }
            let counter = if window.too_old(low) {
                &sa.state.replay_window_drops
            } else {
                &sa.state.replay_drops
            };
            counter.fetch_add(1, Relaxed);
        })?;
        if sa.expires(&self.events, pending.0, pending.1) {
            return Err(DropReason::InStateExpired);
        }
        if packet.len() < esp::smallest(&sa.transform) {
            return Err(DropReason::InStateProtoError);
        }
        if esp::authenticate(&sa.transform, sequence, sa.esn(), packet).is_err() {
            sa.state.integrity_failures.fetch_add(1, Relaxed);
            return Err(DropReason::InStateProtoError);
        }
        let opened = esp::trailer(&sa.transform, packet)?;
        self.watch_mapping(sa, received);
        if opened.next_header == ip::NO_NEXT_HEADER {
            // A dummy (RFC 4303, 2.6), which the kernel drops under this name and whose number it
            // does not remember (`esp_input_done2`).
            return Err(DropReason::InStateProtoError);
        }
        window.commit(sequence);
        Ok(opened)
    }

    /// Step 9. A policy that fits what was opened so far has verified it (`xfrmi_input`); where none
    /// does, that of the innermost packet must fit all SAs. Between two SAs of transport mode there
    /// is no packet yet that a policy could be asked for.
    fn descend(
        &mut self,
        tables: &Tables,
        mut path: SecPath,
        device: Option<usize>,
        buffer: &[u8],
        packet: Option<Range<usize>>,
        received: Received,
    ) {
        if let (Some(range), Some(index)) = (packet, device) {
            let octets = &buffer[range];
            let stats = &self.devices[index].stats;
            stats.rx_packets.fetch_add(1, Relaxed);
            stats.rx_bytes.fetch_add(octets.len() as u64, Relaxed);
            match self.check(tables, &path, octets) {
                Ok(verified) => path.verified = verified,
                Err(DropReason::InPolBlock) => {
                    let reason = DropReason::InPolBlock;
                    return self.refuse(reason, &received, buffer, device, octets);
                }
                Err(_) => {}
            }
        }
        self.nested.push_back(Nested { received, path });
    }

    /// Step 10.
    fn accept(
        &mut self,
        tables: &Tables,
        path: &SecPath,
        device: Option<usize>,
        buffer: &[u8],
        received: &Received,
        range: Range<usize>,
    ) {
        let octets = &buffer[range.clone()];
        let Some(index) = device else {
            return self.refuse(DropReason::InNoPols, received, buffer, None, octets);
        };
        match self.check(tables, path, octets) {
            Ok(_) => self.inners.push(Inner {
                start: range.start,
                length: range.len(),
                device: index,
            }),
            Err(reason) => {
                let stats = &self.devices[index].stats;
                stats.rx_packets.fetch_add(1, Relaxed);
                stats.rx_bytes.fetch_add(range.len() as u64, Relaxed);
                self.refuse(reason, received, buffer, device, octets);
            }
        }
    }

    /// The number of SAs that a policy verifies.
    fn check(
        &mut self,
        tables: &Tables,
        path: &SecPath,
        octets: &[u8],
    ) -> Result<usize, DropReason> {
        let packet = ip::parse(octets).ok_or(DropReason::InHdrError)?;
        let if_id = path.sas.last().map_or(0, |sa| sa.config.if_id);
        let policy = self.flows.get(if_id, &packet.flow, || {
            tables
                .policy(Direction::In, if_id, &packet.flow, 0)
                .cloned()
        });
        policy_check::check(tables, path, if_id, octets, &packet, policy.as_deref())
    }

    /// `km_new_mapping()`: the peer's NAT has given it another address or port.
    fn watch_mapping(&self, sa: &Arc<Sa>, received: &Received) {
        let Encapsulation::Udp { source_port, .. } = sa.config.encapsulation else {
            return;
        };
        if received.source_port != source_port || received.source != sa.config.source {
            self.events.tell(Event::Mapping {
                sa: Arc::clone(sa),
                source: received.source,
                source_port: received.source_port,
            });
        }
    }

    /// `xfrm_replay_notify()`, once per batch.
    fn watch_replay(&self, tables: &Tables, sa: &Arc<Sa>, seq: u64) {
        if tables.aevents && sa.state.replay_moved(seq) {
            let sa = Arc::clone(sa);
            self.events.tell(Event::Replay { sa });
        }
    }

    /// The device of an if_id as an index of this batch, if it is there and served.
    fn device(&mut self, tables: &Tables, if_id: u32) -> Option<usize> {
        let device = tables.device(if_id)?;
        let same = |other: &Arc<Device>| Arc::ptr_eq(other, device);
        if let Some(index) = self.devices.iter().position(same) {
            return Some(index);
        }
        self.devices.push(Arc::clone(device));
        Some(self.devices.len() - 1)
    }

    /// A packet without an SA that could open it.
    fn turn_away(
        &mut self,
        tables: &Tables,
        without: WithoutSa,
        received: &Received,
        buffer: &[u8],
    ) {
        let device = without.if_id.and_then(|if_id| self.device(tables, if_id));
        self.lose(without.reason, received, buffer, device);
    }

    /// A packet that its SA could not make anything of.
    fn lose(&self, reason: DropReason, received: &Received, buffer: &[u8], device: Option<usize>) {
        if let Some(device) = device {
            self.devices[device].stats.rx_errors.fetch_add(1, Relaxed);
            self.devices[device].stats.rx_dropped.fetch_add(1, Relaxed);
        }
        self.refuse(reason, received, buffer, device, &[]);
    }

    /// Counts and records a drop. SPI and sequence number stand where the packet began still, when
    /// the rest was opened; `inner` is empty where nothing authentic was found.
    fn refuse(
        &self,
        reason: DropReason,
        received: &Received,
        buffer: &[u8],
        device: Option<usize>,
        inner: &[u8],
    ) {
        self.stat.add(reason, 1);
        self.ring.record(|| {
            let if_id = device.map_or(0, |index| self.devices[index].if_id);
            Dropped {
                esp: esp::header(octets_of(buffer, received)),
                outer: Some((received.source, received.destination)),
                ..Dropped::new(reason.name(), Way::In, if_id).with_inner(inner)
            }
        });
    }
}

/// Why a packet has no SA that could open it.
struct WithoutSa {
    reason: DropReason,
    /// That of the larval SA which it hit: its device counts an error.
    if_id: Option<u32>,
}

impl WithoutSa {
    fn of(reason: DropReason) -> WithoutSa {
        WithoutSa {
            reason,
            if_id: None,
        }
    }
}

/// Step 1 and 2.
fn find(tables: &Tables, received: &Received, octets: &[u8]) -> Result<Arc<Sa>, WithoutSa> {
    let (spi, _) = esp::header(octets).ok_or(WithoutSa::of(DropReason::InHdrError))?;
    let is_out = |config: &SaConfig| config.direction == Some(SaDirection::Out);
    if let Some(sa) = tables.inbound_sa(received.destination, spi) {
        return if is_out(&sa.config) {
            Err(WithoutSa::of(DropReason::InStateDirError))
        } else {
            Ok(Arc::clone(sa))
        };
    }
    Err(match tables.inbound_larval(received.destination, spi) {
        None => WithoutSa::of(DropReason::InNoStates),
        Some(larval) if is_out(&larval.config) => WithoutSa::of(DropReason::InStateDirError),
        Some(larval) => WithoutSa {
            reason: DropReason::AcquireError,
            if_id: Some(larval.config.if_id),
        },
    })
}

/// Nothing for a packet that the buffer does not hold.
fn octets_of<'a>(buffer: &'a [u8], received: &Received) -> &'a [u8] {
    let end = received.start.saturating_add(received.length);
    buffer.get(received.start..end).unwrap_or_default()
}

/// A NAT keepalive (RFC 3948, 2.3), IKE behind the non-ESP marker (2.2), or no more than an ESP header,
/// which the kernel takes for IKE (`xfrm4_udp_encap_rcv`).
fn is_keepalive_or_ike(octets: &[u8]) -> bool {
    octets.len() <= esp::HEADER || octets.starts_with(&MARKER)
}
