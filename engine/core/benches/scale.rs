//! What a packet costs beside few SAs and policies and beside many: JSON, nanoseconds per packet,
//! for each number of SAs and policies given as an argument.
//!
//! Packets have 64 octets and AES-GCM-16, so that what is looked up weighs against what is sealed.
//! "cached" are packets of 64 flows over and over, "new" are packets of a flow each, which are
//! looked up: both of the same ten peers, however many there are. "every peer" are packets of a
//! flow each of all peers in turn: at 100,000 none of what a packet needs is in the processor's
//! caches, and the key schedule alone has a kilobyte.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plutino_engine_core::control::allocate_spi::larval_config;
use plutino_engine_core::crypto::{Algorithms, Transform};
use plutino_engine_core::device::Device;
use plutino_engine_core::events::Events;
use plutino_engine_core::inbound::{Inbound, Received};
use plutino_engine_core::ip;
use plutino_engine_core::lifetime::Limits;
use plutino_engine_core::netlink::xfrm::{encode_selector, AF_INET};
use plutino_engine_core::offload::vnet::VnetHeader;
use plutino_engine_core::outbound::{Outbound, Staging};
use plutino_engine_core::policy::{Action, Direction, Mark, Policy, Selector, Template, Told};
use plutino_engine_core::replay::ReplayWindow;
use plutino_engine_core::sa::{Mode, ReplayForm, Sa, SaConfig, SaState, XFRM_STATE_ESN};
use plutino_engine_core::stats::{LinkStats, XfrmStat};
use plutino_engine_core::tables::Tables;

const LENGTH: usize = 64;
/// Flows that are all remembered.
const FEW_FLOWS: u32 = 64;
/// Peers of those flows.
const FEW_PEERS: u32 = 10;
const BATCH: u32 = 64;
/// Batches per round: 16,384 flows, twice as many as are remembered.
const BATCHES: u32 = 256;
const TIME: Duration = Duration::from_millis(600);
const ARENA: usize = 1 << 12;

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn peer(number: u32) -> IpAddr {
    Ipv4Addr::from(0x6440_0000 + number).into()
}

/// The network behind a peer, of 256 addresses.
fn network(number: u32) -> u32 {
    0x0a00_0000 + (number << 8)
}

/// What one end has: SAs, policies, devices, and a shared half of the SAs.
struct End {
    tables: Tables,
    devices: Vec<Arc<Device>>,
}

/// From us to each peer; the receiver's SA has a state of its own.
fn sa(number: u32) -> Arc<Sa> {
    let algorithms = Algorithms::Aead {
        name: "rfc4106(gcm(aes))".into(),
        keymat: vec![9; 36].into_boxed_slice().into(),
        icv_bits: 128,
    };
    Arc::new(Sa {
        config: SaConfig {
            spi: 0x1000 + number,
            if_id: number + 1,
            reqid: number + 1,
            flags: XFRM_STATE_ESN,
            selector: Selector::any(Ipv4Addr::UNSPECIFIED.into()).into(),
            limits: Limits::NONE.into(),
            replay_form: ReplayForm::Bitmap { words: 2 },
            added: 1,
            added_clock: 1,
            ..larval_config(US, peer(number), ip::ESP, Mode::Tunnel)
        },
        transform: Arc::new(Transform::new(algorithms).expect("a known algorithm")),
        state: Arc::new(SaState::new(0, ReplayWindow::new(64, true))),
    })
}

fn policy(direction: Direction, number: u32) -> Arc<Policy> {
    let selector = Selector {
        destination: Ipv4Addr::from(network(number)).into(),
        destination_prefix: 24,
        ..Selector::any(Ipv4Addr::UNSPECIFIED.into())
    };
    Arc::new(Policy {
        index: number * 8 + direction as u32,
        position: u64::from(number),
        order: u64::from(number),
        direction,
        told: Told {
            selector: encode_selector(&selector, AF_INET),
            templates: Box::default(),
        },
        selector,
        if_id: number + 1,
        mark: Mark::default(),
        priority: 100,
        action: Action::Allow,
        flags: 0,
        templates: vec![Template {
            source: US,
            destination: peer(number),
            spi: 0,
            protocol: ip::ESP,
            reqid: number + 1,
            mode: Mode::Tunnel as u8,
            share: 0,
            optional: false,
            aalgos: !0,
            ealgos: !0,
            calgos: !0,
        }],
        limits: Limits::NONE.into(),
        added: 1,
        state: Arc::default(),
    })
}

fn end(count: u32, direction: Direction) -> End {
    let mut tables = Tables::default();
    let mut devices = Vec::new();
    for number in 0..count {
        tables.insert_sa(&sa(number));
        tables.insert_policy(&policy(direction, number));
        let device = Arc::new(Device {
            name: format!("ipsec{number}"),
            if_id: number + 1,
            ifindex: number + 1,
            mtu: AtomicU32::new(1400),
            attached: AtomicBool::new(true),
            queues: Vec::new(),
            stats: Arc::new(LinkStats::default()),
        });
        tables.insert_device(&device);
        devices.push(device);
    }
    End { tables, devices }
}

/// A read of the device: UDP towards the network of a peer.
fn read(number: u32, flow: u32) -> Vec<u8> {
    let mut packet = vec![0u8; LENGTH];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(LENGTH as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = ip::UDP;
    packet[12..16].copy_from_slice(&[172, 16, (flow >> 8) as u8, flow as u8]);
    packet[16..20].copy_from_slice(&(network(number) + (flow & 0xff)).to_be_bytes());
    packet[20..22].copy_from_slice(&((flow >> 16) as u16).to_be_bytes());
    packet[24..26].copy_from_slice(&((LENGTH - 20) as u16).to_be_bytes());
    [VnetHeader::default().encode().as_slice(), &packet].concat()
}

/// Which of `active` peers among `count` a flow belongs to: each in turn, far from each other.
fn peer_of(flow: u32, active: u32, count: u32) -> u32 {
    let turn = (u64::from(flow) * 0x9e37_79b1 % u64::from(active)) as u32;
    turn * (count / active)
}

/// The sealed packets of a batch.
struct Sealed {
    buffer: Vec<u8>,
    received: Vec<Received>,
}

struct Bench {
    count: u32,
    sender: End,
    receiver: End,
    outbound: Outbound,
    inbound: Inbound,
}

impl Bench {
    fn new(count: u32) -> Bench {
        let stat = Arc::new(XfrmStat::new());
        let events = Arc::new(Events::new().expect("a descriptor"));
        Bench {
            count,
            sender: end(count, Direction::Out),
            receiver: end(count, Direction::In),
            outbound: Outbound::new(Arc::clone(&stat), Arc::clone(&events)),
            inbound: Inbound::new(stat, events),
        }
    }

    /// Seals and opens a round of packets; the time of each direction.
    fn round(&mut self, flows: u32, peers: u32) -> (Duration, Duration) {
        let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
        let mut staging = Staging::new();
        for batch in 0..BATCHES {
            let wanted: Vec<(u32, Vec<u8>)> = (0..BATCH)
                .map(|n| {
                    let flow = (batch * BATCH + n) % flows;
                    let number = peer_of(flow, peers, self.count);
                    (number, read(number, flow))
                })
                .collect();
            staging.clear();
            let begin = Instant::now();
            for (number, read) in &wanted {
                let device = &self.sender.devices[*number as usize];
                let answer = self
                    .outbound
                    .seal(&self.sender.tables, device, read, &mut staging);
                assert!(answer.is_none(), "it was not sealed");
            }
            sealing += begin.elapsed();
            let mut sealed = take(&staging);
            assert_eq!(sealed.received.len(), BATCH as usize);
            let arena = sealed.buffer.len()..sealed.buffer.len() + ARENA;
            sealed.buffer.resize(arena.end, 0);
            let Sealed { buffer, received } = &mut sealed;
            let begin = Instant::now();
            self.inbound
                .open(&self.receiver.tables, buffer, received, arena);
            opening += begin.elapsed();
            assert_eq!(self.inbound.inners.len(), BATCH as usize);
        }
        (sealing, opening)
    }

    /// Nanoseconds per packet sealed and opened: the best round, since others may use the core.
    fn measure(&mut self, flows: u32, peers: u32) -> (f64, f64) {
        let mut best = (f64::MAX, f64::MAX);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(BATCH * BATCHES);
        self.round(flows, peers);
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            let (sealing, opening) = self.round(flows, peers);
            best = (best.0.min(each(sealing)), best.1.min(each(opening)));
        }
        best
    }
}

fn take(staging: &Staging) -> Sealed {
    let mut received = Vec::new();
    let mut buffer = Vec::new();
    for row in &staging.datagrams {
        for octets in staging.buffer[row.start..row.start + row.length].chunks(row.segment) {
            received.push(Received {
                start: buffer.len(),
                length: octets.len(),
                source: row.outer.source,
                source_port: 0,
                destination: row.outer.destination,
                tos: 0,
                hop_limit: 64,
                identification: 0,
                df: true,
                encapsulated: false,
            });
            buffer.extend_from_slice(octets);
        }
    }
    Sealed { buffer, received }
}

fn main() {
    let counts: Vec<u32> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let lines: Vec<String> = counts
        .iter()
        .map(|count| {
            let mut bench = Bench::new(*count);
            let (seal, open) = bench.measure(FEW_FLOWS, FEW_PEERS);
            let (seal_new, open_new) = bench.measure(BATCH * BATCHES, FEW_PEERS);
            let (seal_every, open_every) = bench.measure(BATCH * BATCHES, *count);
            format!(
                "{{\"count\": {count}, \"seal cached\": {seal:.1}, \"seal new\": {seal_new:.1}, \
                 \"open cached\": {open:.1}, \"open new\": {open_new:.1}, \
                 \"seal every peer\": {seal_every:.1}, \"open every peer\": {open_every:.1}}}"
            )
        })
        .collect();
    println!("[{}]", lines.join(",\n "));
}
