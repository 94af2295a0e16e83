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
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::decapsulation::{self, Arena, Inside};
use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::esp;
use crate::events::{Event, Events};
use crate::flow_cache::FlowCache;
use crate::ip;
use crate::offload::coalesce::Inner;
use crate::opening::{find, unseal, WithoutSa};
use crate::policy::{Direction, Policy};
use crate::policy_check::{self, SecPath, MOST_SAS};
use crate::received::{is_keepalive_or_ike, octets_of};
use crate::sa::Sa;
use crate::stats::{DropReason, XfrmStat};
use crate::tables::Tables;
use crate::underlay::MARKER;

pub use crate::received::Received;

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
            let opened = unseal(
                &self.events,
                sa,
                &mut window,
                (packets, octets),
                buffer,
                received,
            );
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
            let opened = unseal(&self.events, &sa, &mut window, (0, 0), buffer, &received);
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
