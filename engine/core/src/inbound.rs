//! From received ESP packets in a buffer to inner packets, ready for TUN. No I/O here.
//!
//! 1. length and SPI: else XfrmInHdrError; NAT keepalives and IKE are passed over
//! 2. SA by destination, SPI: else XfrmInNoStates
//! 3. direction, life and encapsulation are the SA's: else XfrmInStateDirError,
//!    XfrmInStateInvalid, XfrmInStateMismatch
//! 4. replay check: else XfrmInStateSeqError
//! 5. limits: else XfrmInStateExpired
//! 6. integrity, decryption and trailer: else XfrmInStateProtoError
//! 7. replay commit
//! 8. mode: the inner packet, whole again: else XfrmInStateModeError, XfrmInHdrError
//! 9. an inner packet that is ESP for an SA of ours starts over at 2, at most six SAs deep: else
//!    XfrmInBufferError
//! 10. device of the last SA's if_id, served: else XfrmInNoPols
//! 11. policy of direction in, if_id by strict equality, whose templates fit the SAs: else
//!     XfrmInNoPols, XfrmInPolBlock, XfrmInTmplMismatch, XfrmInStateMismatch
//!
//! The engine cannot know whether the kernel will deliver or forward the inner packet, so it is the
//! policy of direction in that is checked; those of direction fwd are kept for who lists them.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::checksum;
use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::ecn;
use crate::esp::{self, Opened};
use crate::events::{Event, Events};
use crate::flow_cache::FlowCache;
use crate::ip::{self, Packet, ESP, IPIP, IPV6, TCP, UDP};
use crate::modes::{self, ip_header};
use crate::offload::coalesce::Inner;
use crate::outbound::Outer;
use crate::policy::{Direction, Policy};
use crate::policy_check::{self, SecPath, MOST_SAS};
use crate::replay::ReplayWindow;
use crate::sa::{Encapsulation, Mode, Sa, SaDirection};
use crate::stats::{DropReason, XfrmStat};
use crate::tables::Tables;

/// A received packet, without outer IP and UDP header.
#[derive(Clone, Copy, Debug)]
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
    /// Packets of a row that are ESP for another SA of ours.
    nested: Vec<Nested>,
    /// Where in the buffer packets are written that got another header.
    arena: Range<usize>,
}

/// An ESP packet that was inside another.
struct Nested {
    received: Received,
    path: SecPath,
}

/// What became of an opened packet.
enum Outcome {
    Packet(Range<usize>),
    Nested(Received),
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
            nested: Vec::new(),
            arena: 0..0,
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
        self.arena = arena;
        let mut rest = received;
        while let [first, ..] = rest {
            let octets = &buffer[first.start..first.start + first.length];
            let Some(sa) = self.find(tables, first, octets) else {
                rest = &rest[1..];
                continue;
            };
            // One lock for all packets of the SA that stand in a row.
            let spi = sa.config.spi;
            let smallest = esp::smallest(&sa.transform);
            let same = |one: &&Received| {
                let octets = &buffer[one.start..one.start + one.length];
                one.destination == first.destination
                    && one.encapsulated == first.encapsulated
                    && one.length >= smallest
                    && esp::header(octets).is_some_and(|(other, _)| other == spi)
            };
            let count = rest.iter().take_while(same).count();
            self.open_row(tables, &sa, buffer, &rest[..count]);
            rest = &rest[count..];
            while let Some(nested) = self.nested.pop() {
                self.open_nested(tables, buffer, nested);
            }
        }
    }

    /// Steps 1 to 3.
    fn find(&self, tables: &Tables, received: &Received, octets: &[u8]) -> Option<Arc<Sa>> {
        if received.encapsulated && is_keepalive_or_ike(octets) {
            return None;
        }
        let found = self.look_up(tables, received, octets);
        if let Err(reason) = found {
            self.drop(None, reason, received, octets, &[]);
        }
        found.ok()
    }

    fn look_up(
        &self,
        tables: &Tables,
        received: &Received,
        octets: &[u8],
    ) -> Result<Arc<Sa>, DropReason> {
        let (spi, _) = esp::header(octets).ok_or(DropReason::InHdrError)?;
        let sa = tables
            .inbound_sa(received.destination, spi)
            .ok_or(DropReason::InNoStates)?;
        if sa.config.direction == Some(SaDirection::Out) {
            return Err(DropReason::InStateDirError);
        }
        if !sa.state.is_valid() {
            return Err(DropReason::InStateInvalid);
        }
        let in_udp = matches!(sa.config.encapsulation, Encapsulation::Udp { .. });
        if in_udp != received.encapsulated {
            return Err(DropReason::InStateMismatch);
        }
        if octets.len() < esp::smallest(&sa.transform) {
            return Err(DropReason::InStateProtoError);
        }
        Ok(Arc::clone(sa))
    }

    /// Steps 4 to 11 for packets of one SA.
    fn open_row(&mut self, tables: &Tables, sa: &Arc<Sa>, buffer: &mut [u8], row: &[Received]) {
        let device = self.device(tables, sa.config.if_id);
        let (mut packets, mut octets) = (0, 0);
        let path = SecPath {
            sas: vec![Arc::clone(sa)],
            verified: 0,
        };
        let window = Arc::clone(sa);
        let mut window = window
            .state
            .replay
            .lock()
            .expect("no worker panics while it holds the lock");
        for received in row {
            let packet = &mut buffer[received.start..received.start + received.length];
            if sa.expires(&self.events, packets, octets) {
                self.drop(device, DropReason::InStateExpired, received, packet, &[]);
                continue;
            }
            let opened = match unseal(sa, &mut window, packet) {
                Ok(opened) => opened,
                Err(reason) => {
                    self.drop(device, reason, received, packet, &[]);
                    continue;
                }
            };
            packets += 1;
            octets += opened.payload as u64;
            self.watch_mapping(sa, received);
            match self.unwrap(tables, sa, buffer, received, &opened) {
                Ok(Outcome::Packet(range)) => {
                    self.accept(tables, &path, device, buffer, received, range);
                }
                Ok(Outcome::Nested(received)) => {
                    let path = SecPath {
                        sas: path.sas.clone(),
                        verified: 0,
                    };
                    self.nested.push(Nested { received, path });
                }
                Err(reason) => {
                    let packet = &buffer[received.start..received.start + received.length];
                    self.drop(device, reason, received, packet, &[]);
                }
            }
        }
        let seq = window.seq();
        drop(window);
        sa.state.count(packets, octets);
        if tables.aevents && sa.state.replay_moved(seq) {
            self.events.tell(Event::Replay { sa: Arc::clone(sa) });
        }
    }

    /// The same for a packet that was inside another.
    fn open_nested(&mut self, tables: &Tables, buffer: &mut [u8], nested: Nested) {
        let Nested { received, mut path } = nested;
        let before = path.sas.last().map_or(0, |sa| sa.config.if_id);
        let device = self.device(tables, before);
        if let Err(reason) = self.open_inner(tables, buffer, &received, &mut path) {
            let packet = &buffer[received.start..received.start + received.length];
            self.drop(device, reason, &received, packet, &[]);
        }
    }

    fn open_inner(
        &mut self,
        tables: &Tables,
        buffer: &mut [u8],
        received: &Received,
        path: &mut SecPath,
    ) -> Result<(), DropReason> {
        if path.sas.len() == MOST_SAS {
            return Err(DropReason::InBufferError);
        }
        let range = received.start..received.start + received.length;
        let sa = self.look_up(tables, received, &buffer[range.clone()])?;
        path.sas.push(Arc::clone(&sa));
        if sa.expires(&self.events, 0, 0) {
            return Err(DropReason::InStateExpired);
        }
        let opened = {
            let mut window = sa
                .state
                .replay
                .lock()
                .expect("no worker panics while it holds the lock");
            unseal(&sa, &mut window, &mut buffer[range])?
        };
        sa.state.count(1, opened.payload as u64);
        self.watch_mapping(&sa, received);
        match self.unwrap(tables, &sa, buffer, received, &opened)? {
            Outcome::Packet(range) => {
                let device = self.device(tables, sa.config.if_id);
                self.accept(tables, path, device, buffer, received, range);
            }
            Outcome::Nested(received) => {
                let path = std::mem::take(path);
                self.nested.push(Nested { received, path });
            }
        }
        Ok(())
    }

    /// Step 8, and whether step 9 follows: what the mode makes of the payload.
    fn unwrap(
        &mut self,
        tables: &Tables,
        sa: &Sa,
        buffer: &mut [u8],
        received: &Received,
        opened: &Opened,
    ) -> Result<Outcome, DropReason> {
        let start = received.start + opened.start;
        let payload = start..start + opened.payload;
        let range = match sa.config.mode {
            Mode::Tunnel => {
                let inner = &mut buffer[payload.clone()];
                let version = inner.first().map_or(0, |octet| octet >> 4);
                let header = match (opened.next_header, version) {
                    (IPIP, 4) => 20,
                    (IPV6, 6) => 40,
                    _ => return Err(DropReason::InStateModeError),
                };
                if inner.len() < header {
                    return Err(DropReason::InStateModeError);
                }
                let length = ip::parse(inner).ok_or(DropReason::InHdrError)?.length;
                ecn::decapsulate(&sa.config, inner, received.tos)?;
                start..start + length
            }
            Mode::Transport => {
                if opened.next_header == ESP {
                    return Ok(Outcome::Nested(Received {
                        start,
                        length: opened.payload,
                        encapsulated: false,
                        ..*received
                    }));
                }
                let outer = Outer {
                    source: received.source,
                    destination: received.destination,
                    tos: received.tos,
                    hop_limit: Some(received.hop_limit),
                    df: received.df,
                };
                let mut header = ip_header(&outer, opened.next_header, opened.payload);
                modes::identify(&mut header, received.identification);
                let range = self.put_together(buffer, &header, payload)?;
                if received.encapsulated {
                    mend_checksum(&mut buffer[range.clone()]);
                }
                range
            }
            Mode::Beet => {
                let (header, skip) =
                    modes::beet_header(sa, opened.next_header, &buffer[payload.clone()], received)?;
                self.put_together(buffer, &header, payload.start + skip..payload.end)?
            }
        };
        let packet = ip::parse(&buffer[range.clone()]).ok_or(DropReason::InHdrError)?;
        Ok(match nested_in(tables, &buffer[range.clone()], &packet) {
            Some(inner) => Outcome::Nested(Received {
                start: range.start + inner.start,
                ..inner
            }),
            None => Outcome::Packet(range),
        })
    }

    /// A header and a payload of the buffer, in the arena.
    fn put_together(
        &mut self,
        buffer: &mut [u8],
        header: &[u8],
        payload: Range<usize>,
    ) -> Result<Range<usize>, DropReason> {
        let length = header.len() + payload.len();
        if self.arena.len() < length {
            return Err(DropReason::InBufferError);
        }
        let start = self.arena.start;
        self.arena.start += length;
        buffer[start..start + header.len()].copy_from_slice(header);
        buffer.copy_within(payload, start + header.len());
        Ok(start..start + length)
    }

    /// Steps 10 and 11.
    fn accept(
        &mut self,
        tables: &Tables,
        path: &SecPath,
        device: Option<usize>,
        buffer: &[u8],
        received: &Received,
        range: Range<usize>,
    ) {
        match self.check(tables, path, device, &buffer[range.clone()]) {
            Ok(device) => self.inners.push(Inner {
                start: range.start,
                length: range.len(),
                device,
            }),
            Err(reason) => {
                let packet = &buffer[received.start..received.start + received.length];
                self.drop(device, reason, received, packet, &buffer[range]);
            }
        }
    }

    fn check(
        &mut self,
        tables: &Tables,
        path: &SecPath,
        device: Option<usize>,
        packet: &[u8],
    ) -> Result<usize, DropReason> {
        let packet = ip::parse(packet).ok_or(DropReason::InHdrError)?;
        let device = device.ok_or(DropReason::InNoPols)?;
        let if_id = path.sas.last().map_or(0, |sa| sa.config.if_id);
        let policy = self.flows.get(if_id, &packet.flow, || {
            tables
                .policy(Direction::In, if_id, &packet.flow, 0)
                .cloned()
        });
        policy_check::check(tables, path, if_id, &packet.flow, policy.as_ref())?;
        if let Some(policy) = policy {
            policy.state.count(1, packet.length as u64);
        }
        Ok(device)
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

    /// Counts and records a drop. SPI and sequence number stand at the start of `esp` still, when the
    /// rest was opened; `inner` is empty where nothing authentic was found.
    fn drop(
        &self,
        device: Option<usize>,
        reason: DropReason,
        received: &Received,
        esp: &[u8],
        inner: &[u8],
    ) {
        self.stat.add(reason, 1);
        let mut if_id = 0;
        if let Some(device) = device {
            let device = &self.devices[device];
            device.stats.rx_errors.fetch_add(1, Relaxed);
            device.stats.rx_dropped.fetch_add(1, Relaxed);
            if_id = device.if_id;
        }
        self.ring.record(|| Dropped {
            esp: esp::header(esp),
            outer: Some((received.source, received.destination)),
            ..Dropped::new(reason.name(), Way::In, if_id).with_inner(inner)
        });
    }
}

/// Steps 4, 6 and 7 for one packet.
fn unseal(sa: &Sa, window: &mut ReplayWindow, packet: &mut [u8]) -> Result<Opened, DropReason> {
    let (_, low) = esp::header(packet).ok_or(DropReason::InHdrError)?;
    let sequence = window.check(low).inspect_err(|_| {
        let counter = if window.too_old(low) {
            &sa.state.replay_window_drops
        } else {
            &sa.state.replay_drops
        };
        counter.fetch_add(1, Relaxed);
    })?;
    if esp::authenticate(&sa.transform, sequence, sa.esn(), packet).is_err() {
        sa.state.integrity_failures.fetch_add(1, Relaxed);
        return Err(DropReason::InStateProtoError);
    }
    let opened = esp::trailer(&sa.transform, packet)?;
    if opened.next_header == ip::NO_NEXT_HEADER {
        // A dummy (RFC 4303, 2.6), which the kernel drops under this name (`esp_input_done2`).
        return Err(DropReason::InStateProtoError);
    }
    window.commit(sequence);
    Ok(opened)
}

/// A NAT keepalive (RFC 3948, 2.3), IKE behind the non-ESP marker (2.2), or no more than an ESP header,
/// which the kernel takes for IKE (`xfrm4_udp_encap_rcv`).
fn is_keepalive_or_ike(octets: &[u8]) -> bool {
    octets.len() <= esp::HEADER || octets.starts_with(&[0; 4])
}

/// The ESP packet in an inner packet, if an SA of ours is meant; places are within the packet.
fn nested_in(tables: &Tables, octets: &[u8], packet: &Packet) -> Option<Received> {
    let (start, encapsulated) = match packet.flow.protocol {
        ESP => (packet.transport, false),
        UDP => (packet.transport + 8, true),
        _ => return None,
    };
    if packet.fragment {
        return None;
    }
    let body = octets.get(start..packet.length)?;
    let (spi, _) = esp::header(body)?;
    let sa = tables.inbound_sa(packet.flow.destination, spi)?;
    if encapsulated {
        let Encapsulation::Udp {
            destination_port, ..
        } = sa.config.encapsulation
        else {
            return None;
        };
        if destination_port != packet.flow.destination_port {
            return None;
        }
    }
    let v4 = packet.is_ipv4();
    Some(Received {
        start,
        length: body.len(),
        source: packet.flow.source,
        source_port: if encapsulated {
            packet.flow.source_port
        } else {
            0
        },
        destination: packet.flow.destination,
        tos: packet.tos,
        hop_limit: octets[if v4 { 8 } else { 7 }],
        identification: if v4 {
            u16::from_be_bytes([octets[4], octets[5]])
        } else {
            0
        },
        df: !v4 || octets[6] & 0x40 != 0,
        encapsulated,
    })
}

/// RFC 3948, 3.1.2: a NAT has changed the addresses that the checksum was made with.
fn mend_checksum(octets: &mut [u8]) {
    let Some(packet) = ip::parse(octets).filter(|packet| !packet.fragment) else {
        return;
    };
    let at = match packet.flow.protocol {
        TCP => packet.transport + 16,
        UDP => packet.transport + 6,
        _ => return,
    };
    if at + 2 > packet.length {
        return;
    }
    let addresses = if packet.is_ipv4() { 12..20 } else { 8..40 };
    let length = packet.length - packet.transport;
    let pseudo = checksum::pseudo_header(&octets[addresses], &[], packet.flow.protocol, length);
    octets[at..at + 2].fill(0);
    let mut sum = checksum::finish(checksum::sum(
        &octets[packet.transport..packet.length],
        pseudo,
    ));
    if sum == [0, 0] && packet.flow.protocol == UDP {
        sum = [0xff, 0xff];
    }
    octets[at..at + 2].copy_from_slice(&sum);
}
