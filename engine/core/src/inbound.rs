//! From received ESP packets in a buffer to inner packets, ready for TUN. No I/O here.
//!
//! 1. length and SPI: else XfrmInHdrError; NAT keepalives and IKE are passed over
//! 2. SA by destination, SPI: else XfrmInNoStates
//! 3. encapsulation and direction are the SA's: else XfrmInStateMismatch, XfrmInStateDirError
//! 4. replay check: else XfrmInStateSeqError
//! 5. integrity and decryption: else XfrmInStateProtoError
//! 6. replay commit
//! 7. next header and inner header: else XfrmInStateModeError, XfrmInHdrError; dummies vanish
//! 8. device of the SA's if_id, served: else XfrmInNoPols
//! 9. policy of direction in, if_id by strict equality, whose template fits the SA: else
//!    XfrmInNoPols, XfrmInPolBlock, XfrmInTmplMismatch
//! 10. ECN of the outer header (RFC 6040, 4.2)
//!
//! The engine cannot know whether the kernel will deliver or forward the inner packet, so it is the
//! policy of direction in that is checked; those of direction fwd are kept for who lists them.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::checksum;
use crate::device::Device;
use crate::esp;
use crate::flow_cache::FlowCache;
use crate::ip::{self, Packet, IPIP, IPV6, NO_NEXT_HEADER};
use crate::offload::coalesce::Inner;
use crate::policy::{Action, Direction, Policy};
use crate::sa::{Encapsulation, Sa, SaDirection};
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
    /// Outer type of service or traffic class.
    pub tos: u8,
    /// Came in UDP.
    pub encapsulated: bool,
}

/// The inbound half of a worker.
pub struct Inbound {
    stat: Arc<XfrmStat>,
    flows: FlowCache<Option<Arc<Policy>>>,
    /// Those of the batch, by the index that `Inner::device` holds.
    pub devices: Vec<Arc<Device>>,
    pub inners: Vec<Inner>,
}

const ECN: u8 = 3;
const ECT1: u8 = 1;
const CE: u8 = 3;

impl Inbound {
    pub fn new(stat: Arc<XfrmStat>) -> Self {
        Inbound {
            stat,
            flows: FlowCache::new(),
            devices: Vec::new(),
            inners: Vec::new(),
        }
    }

    /// Forgets what was found in older tables.
    pub fn tables_changed(&mut self) {
        self.flows.clear();
        self.devices.clear();
    }

    /// Opens a batch in place; what is good is in `inners` afterwards, in its order.
    pub fn open(&mut self, tables: &Tables, buffer: &mut [u8], received: &[Received]) {
        self.inners.clear();
        self.devices.clear();
        let mut rest = received;
        while let [first, ..] = rest {
            let octets = &buffer[first.start..first.start + first.length];
            let Some(sa) = self.find(tables, first, octets) else {
                rest = &rest[1..];
                continue;
            };
            // One lock for all packets of the SA that stand in a row.
            let spi = sa.config.spi;
            let same = |one: &&Received| {
                let octets = &buffer[one.start..one.start + one.length];
                one.destination == first.destination
                    && one.encapsulated == first.encapsulated
                    && esp::header(octets).is_some_and(|(other, _)| other == spi)
            };
            let count = rest.iter().take_while(same).count();
            self.open_row(tables, &sa, buffer, &rest[..count]);
            rest = &rest[count..];
        }
    }

    /// Steps 1 to 3.
    fn find(&self, tables: &Tables, received: &Received, octets: &[u8]) -> Option<Arc<Sa>> {
        if received.encapsulated && is_keepalive_or_ike(octets) {
            return None;
        }
        let Some((spi, _)) = esp::header(octets) else {
            self.stat.add(DropReason::InHdrError, 1);
            return None;
        };
        let reason = match tables.inbound_sa(received.destination, spi) {
            None => DropReason::InNoStates,
            Some(sa) if sa.config.direction == Some(SaDirection::Out) => {
                DropReason::InStateDirError
            }
            Some(sa) => {
                let in_udp = matches!(sa.config.encapsulation, Encapsulation::Udp { .. });
                if in_udp == received.encapsulated {
                    return Some(Arc::clone(sa));
                }
                DropReason::InStateMismatch
            }
        };
        self.stat.add(reason, 1);
        None
    }

    /// Steps 4 to 10 for packets of one SA.
    fn open_row(&mut self, tables: &Tables, sa: &Arc<Sa>, buffer: &mut [u8], row: &[Received]) {
        let device = self.device(tables, sa.config.if_id);
        let (mut packets, mut octets) = (0, 0);
        let mut window = sa
            .state
            .replay
            .lock()
            .expect("no worker panics while it holds the lock");
        for received in row {
            let packet = &mut buffer[received.start..received.start + received.length];
            let (_, low) = esp::header(packet).expect("long enough for a header");
            let sequence = match window.check(low) {
                Ok(sequence) => sequence,
                Err(reason) => {
                    let old = window.too_old(low);
                    let counter = if old {
                        &sa.state.replay_window_drops
                    } else {
                        &sa.state.replay_drops
                    };
                    counter.fetch_add(1, Relaxed);
                    self.drop(device, reason);
                    continue;
                }
            };
            let opened = match esp::open(&sa.transform, sequence, sa.esn(), packet) {
                Ok(opened) => opened,
                Err(reason) => {
                    sa.state.integrity_failures.fetch_add(1, Relaxed);
                    self.drop(device, reason);
                    continue;
                }
            };
            window.commit(sequence);
            packets += 1;
            octets += opened.payload as u64;
            let inner = &mut packet[opened.start..opened.start + opened.payload];
            match self.accept(tables, sa, device, inner, opened.next_header, received.tos) {
                Ok(Some(length)) => {
                    if let Some(device) = device {
                        let start = received.start + opened.start;
                        self.inners.push(Inner {
                            start,
                            length,
                            device,
                        });
                    }
                }
                Ok(None) => {}
                Err(reason) => self.drop(device, reason),
            }
        }
        drop(window);
        sa.state.count(packets, octets);
    }

    /// Steps 7 to 10; gives the inner packet's length, None for a dummy.
    fn accept(
        &mut self,
        tables: &Tables,
        sa: &Sa,
        device: Option<usize>,
        inner: &mut [u8],
        next_header: u8,
        tos: u8,
    ) -> Result<Option<usize>, DropReason> {
        let version = inner.first().map_or(0, |octet| octet >> 4);
        match (next_header, version) {
            (NO_NEXT_HEADER, _) => return Ok(None),
            (IPIP, 4) | (IPV6, 6) => {}
            _ => return Err(DropReason::InStateModeError),
        }
        let packet = ip::parse(inner).ok_or(DropReason::InHdrError)?;
        if device.is_none() {
            return Err(DropReason::InNoPols);
        }
        let if_id = sa.config.if_id;
        let policy = self.flows.get(if_id, &packet.flow, || {
            tables
                .policy(Direction::In, if_id, &packet.flow, 0)
                .cloned()
        });
        let policy = policy.ok_or(DropReason::InNoPols)?;
        if policy.action == Action::Block {
            return Err(DropReason::InPolBlock);
        }
        if !fits(&policy, sa) {
            return Err(DropReason::InTmplMismatch);
        }
        decapsulate_ecn(inner, &packet, tos)?;
        Ok(Some(packet.length))
    }

    /// The device of an if_id as an index of this batch, if it is there and served.
    fn device(&mut self, tables: &Tables, if_id: u32) -> Option<usize> {
        if let Some(index) = self.devices.iter().position(|device| device.if_id == if_id) {
            return Some(index);
        }
        let device = tables
            .device(if_id)
            .filter(|device| device.attached.load(Relaxed))?;
        self.devices.push(Arc::clone(device));
        Some(self.devices.len() - 1)
    }

    fn drop(&self, device: Option<usize>, reason: DropReason) {
        self.stat.add(reason, 1);
        if let Some(device) = device {
            self.devices[device].stats.rx_errors.fetch_add(1, Relaxed);
            self.devices[device].stats.rx_dropped.fetch_add(1, Relaxed);
        }
    }
}

/// A NAT keepalive (RFC 3948, 2.3), or IKE behind the non-ESP marker (2.2).
fn is_keepalive_or_ike(octets: &[u8]) -> bool {
    octets == [0xff] || octets.starts_with(&[0; 4])
}

/// `xfrm_state_ok()` for the one template of a tunnel.
fn fits(policy: &Policy, sa: &Sa) -> bool {
    let [template] = policy.templates.as_slice() else {
        return false;
    };
    template.protocol == sa.config.protocol
        && template.mode == sa.config.mode as u8
        && (template.reqid == 0 || template.reqid == sa.config.reqid)
        && (template.spi == 0 || template.spi == sa.config.spi)
        && (template.source.is_unspecified() || template.source == sa.config.source)
        && (template.destination.is_unspecified() || template.destination == sa.config.destination)
}

/// RFC 6040, 4.2: congestion that the outer header met is passed to the inner one; a sender that
/// knows no ECN cannot be told, so its packet is dropped.
fn decapsulate_ecn(inner: &mut [u8], packet: &Packet, outer: u8) -> Result<(), DropReason> {
    let inner_ecn = packet.tos & ECN;
    let ecn = match (inner_ecn, outer & ECN) {
        (0, CE) => return Err(DropReason::InError),
        (0, _) | (CE, _) => return Ok(()),
        (_, CE) => CE,
        (_, ECT1) => ECT1,
        _ => return Ok(()),
    };
    if ecn == inner_ecn {
        return Ok(());
    }
    if packet.is_ipv4() {
        inner[1] = inner[1] & !ECN | ecn;
        inner[10..12].fill(0);
        let header = usize::from(inner[0] & 15) * 4;
        let sum = checksum::finish(checksum::sum(&inner[..header], 0));
        inner[10..12].copy_from_slice(&sum);
    } else {
        inner[1] = inner[1] & !(ECN << 4) | ecn << 4;
    }
    Ok(())
}
