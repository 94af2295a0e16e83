//! Two engines without threads of packets: what one seals, the other opens.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use plutino_engine_core::control::state::State;
use plutino_engine_core::device::Device;
use plutino_engine_core::events::Events;
use plutino_engine_core::inbound::{Inbound, Received};
use plutino_engine_core::netlink::wire::Message;
use plutino_engine_core::netlink::xfrm as x;
use plutino_engine_core::outbound::{Outbound, Staging};
use plutino_engine_core::stats::{DropReason, LinkStats, XfrmStat};
use plutino_engine_core::tables::Tables;

use super::requests::{new_policy, new_sa, IF_ID, ONE, TWO};

pub const SPI: u32 = 0x1001;
/// Octets for a packet and for another header before it.
const BUFFER: usize = 256 << 10;

/// The sender's half and the receiver's half.
pub struct Peers {
    pub sender: Tables,
    pub receiver: Tables,
    pub device: Arc<Device>,
    pub outbound: Outbound,
    pub inbound: Inbound,
    pub staging: Staging,
    pub stat: Arc<XfrmStat>,
    buffer: Vec<u8>,
}

fn handle(state: &mut State, kind: u16, payload: &[u8]) {
    let request = Message {
        kind,
        flags: 0x605,
        sequence: 1,
        port: 0,
        payload,
    };
    if let Err(refusal) = state.handle(&request, &mut VecDeque::new()) {
        panic!("request {kind:#x} is refused: {refusal:?}");
    }
}

fn tables(outbound: bool, device: &Arc<Device>) -> Tables {
    let mut state = State::new().expect("threads can be started");
    handle(&mut state, x::NEWSA, &new_sa(ONE, TWO, SPI, outbound));
    for version in [4, 6] {
        let policy = new_policy(ONE, TWO, u8::from(outbound), version);
        handle(&mut state, x::NEWPOLICY, &policy);
    }
    state.tables.insert_device(device);
    state.tables.clone()
}

impl Peers {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Peers {
        let device = Arc::new(Device {
            name: "ipsec1".into(),
            if_id: IF_ID,
            ifindex: 1,
            mtu: AtomicU32::new(1400),
            attached: AtomicBool::new(true),
            queues: Vec::new(),
            stats: Arc::new(LinkStats::default()),
        });
        let stat = Arc::new(XfrmStat::new());
        let events = Arc::new(Events::new().expect("an eventfd can be made"));
        Peers {
            sender: tables(true, &device),
            receiver: tables(false, &device),
            device,
            outbound: Outbound::new(Arc::clone(&stat), Arc::clone(&events)),
            inbound: Inbound::new(Arc::clone(&stat), events),
            staging: Staging::new(),
            stat,
            buffer: vec![0; BUFFER],
        }
    }

    /// Seals one read of TUN; gives the ESP packets.
    pub fn seal(&mut self, read: &[u8]) -> Vec<Vec<u8>> {
        self.staging.clear();
        let _ = self
            .outbound
            .seal(&self.sender, &self.device, read, &mut self.staging);
        let mut packets = Vec::new();
        for row in &self.staging.datagrams {
            let octets = &self.staging.buffer[row.start..row.start + row.length];
            packets.extend(octets.chunks(row.segment).map(<[u8]>::to_vec));
        }
        packets
    }

    /// Opens one packet; gives the inner packet, if it is accepted.
    pub fn open(&mut self, packet: &[u8], tos: u8) -> Option<&[u8]> {
        let length = packet.len();
        self.buffer[..length].copy_from_slice(packet);
        let received = Received {
            start: 0,
            length,
            source: IpAddr::from(ONE),
            source_port: 0,
            destination: IpAddr::from(TWO),
            tos,
            hop_limit: 64,
            identification: 0,
            df: true,
            encapsulated: false,
        };
        let arena = length..BUFFER;
        self.inbound
            .open(&self.receiver, &mut self.buffer, &[received], arena);
        match self.inbound.inners.as_slice() {
            [] => None,
            [inner] => Some(&self.buffer[inner.start..inner.start + inner.length]),
            _ => panic!("one packet became several"),
        }
    }

    /// All drops so far.
    pub fn dropped(&self) -> u64 {
        let all = DropReason::ALL.iter();
        all.map(|reason| self.stat.get(*reason)).sum()
    }
}
