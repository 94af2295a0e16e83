//! Both directions of the packet path against each other: what one side seals the other opens.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use crate::control::allocate_spi::larval_config;
use crate::crypto::{Algorithms, Transform};
use crate::device::Device;
use crate::events::Events;
use crate::inbound::{Inbound, Received};
use crate::ip;
use crate::lifetime::Limits;
use crate::modes;
use crate::offload::segment::tests::tcp;
use crate::offload::vnet::VnetHeader;
use crate::outbound::{Datagram, Outbound, Outer, Staging};
use crate::policy::tests::policy;
use crate::policy::{Direction, Policy, Selector, Template};
use crate::replay::ReplayWindow;
use crate::sa::*;
use crate::stats::{DropReason, LinkStats, XfrmStat};
use crate::tables::Tables;

mod delivery;
mod drops;
mod fragments;
mod life;
mod nesting;
mod outer_header;
mod rekeying;
mod rows;
mod verdicts;

const IF_ID: u32 = 7;
const ARENA: usize = 1 << 18;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const IN_UDP: Encapsulation = Encapsulation::Udp {
    source_port: 4500,
    destination_port: 4500,
};

fn any(source: IpAddr, destination: IpAddr) -> Selector {
    Selector {
        source_prefix: 0,
        destination_prefix: 0,
        ..Selector::between_hosts(source, destination)
    }
}

/// An SA between two ends, whose SPI is its reqid as well.
fn config(mode: Mode, number: u32, source: &str, destination: &str) -> SaConfig {
    let (source, destination) = (address(source), address(destination));
    SaConfig {
        spi: 0x1000 + number,
        if_id: IF_ID,
        reqid: number,
        flags: XFRM_STATE_ESN,
        selector: any(source, destination).into(),
        limits: Limits::NONE.into(),
        replay_form: ReplayForm::Bitmap { words: 2 },
        added: 1,
        added_clock: 1,
        ..larval_config(source, destination, ip::ESP, mode)
    }
}

/// The two ends of an SA: each has a state of its own.
fn ends(make: impl Fn() -> SaConfig) -> (Arc<Sa>, Arc<Sa>) {
    let one = || {
        let config = make();
        let window = ReplayWindow::new(64, config.flags & XFRM_STATE_ESN != 0);
        let algorithms = Algorithms::Aead {
            name: "rfc4106(gcm(aes))".into(),
            keymat: vec![9; 20].into_boxed_slice().into(),
            icv_bits: 128,
        };
        Arc::new(Sa {
            config,
            transform: Arc::new(Transform::new(algorithms).unwrap()),
            state: Arc::new(SaState::new(0, window)),
        })
    };
    (one(), one())
}

fn template(sa: &Sa) -> Template {
    Template {
        source: sa.config.source,
        destination: sa.config.destination,
        spi: 0,
        protocol: ip::ESP,
        reqid: sa.config.reqid,
        mode: sa.config.mode as u8,
        share: 0,
        optional: false,
        aalgos: !0,
        ealgos: !0,
        calgos: !0,
    }
}

fn policies(direction: Direction, templates: &[Template]) -> Vec<Arc<Policy>> {
    [("10.0.0.0", "10.0.0.0"), ("fd00::", "fd00::")]
        .iter()
        .map(|(source, destination)| {
            let one = policy(address(source), address(destination));
            Arc::new(Policy {
                direction,
                index: 8 + direction as u32,
                if_id: IF_ID,
                selector: any(one.selector.source, one.selector.destination),
                templates: templates.to_vec(),
                ..one
            })
        })
        .collect()
}

/// An ESP packet and what its outer header tells.
type OnWire = (Received, Vec<u8>);

/// A sender and a receiver with the same SAs.
struct Pair {
    sender: Tables,
    receiver: Tables,
    device: Arc<Device>,
    outbound: Outbound,
    inbound: Inbound,
    stat: Arc<XfrmStat>,
    events: Arc<Events>,
    sas: Vec<(Arc<Sa>, Arc<Sa>)>,
}

impl Pair {
    fn new(sas: Vec<(Arc<Sa>, Arc<Sa>)>) -> Pair {
        let templates: Vec<Template> = sas.iter().map(|(sa, _)| template(sa)).collect();
        Pair::with(sas, &templates, &templates)
    }

    fn with(sas: Vec<(Arc<Sa>, Arc<Sa>)>, out: &[Template], inward: &[Template]) -> Pair {
        let device = Arc::new(Device {
            name: "ipsec7".into(),
            if_id: IF_ID,
            ifindex: 1,
            mtu: AtomicU32::new(1400),
            attached: AtomicBool::new(true),
            queues: Vec::new(),
            stats: Arc::new(LinkStats::default()),
        });
        let (mut sender, mut receiver) = (Tables::default(), Tables::default());
        for (there, here) in &sas {
            sender.insert_sa(there);
            receiver.insert_sa(here);
        }
        for one in policies(Direction::Out, out) {
            sender.insert_policy(&one);
        }
        for one in policies(Direction::In, inward) {
            receiver.insert_policy(&one);
        }
        sender.insert_device(&device);
        receiver.insert_device(&device);
        let stat = Arc::new(XfrmStat::new());
        let events = Arc::new(Events::new().unwrap());
        Pair {
            sender,
            receiver,
            device,
            outbound: Outbound::new(Arc::clone(&stat), Arc::clone(&events)),
            inbound: Inbound::new(Arc::clone(&stat), Arc::clone(&events)),
            stat,
            events,
            sas,
        }
    }

    /// What goes out, packet by packet, and the ICMP answer.
    fn seal(&mut self, packet: &[u8]) -> (Vec<OnWire>, Option<Vec<u8>>) {
        let read = [VnetHeader::default().encode().as_slice(), packet].concat();
        let mut staging = Staging::new();
        let answer = self
            .outbound
            .seal(&self.sender, &self.device, &read, &mut staging);
        (on_the_wire(&staging), answer)
    }

    /// What comes out of them, in the order in which they came in.
    fn open(&mut self, packets: &[OnWire]) -> Vec<Vec<u8>> {
        let mut buffer = Vec::new();
        let mut received = Vec::new();
        for (one, octets) in packets {
            received.push(Received {
                start: buffer.len(),
                length: octets.len(),
                ..*one
            });
            buffer.extend(octets);
        }
        let arena = buffer.len()..buffer.len() + ARENA;
        buffer.resize(arena.end, 0);
        self.inbound
            .open(&self.receiver, &mut buffer, &received, arena);
        let inners = &self.inbound.inners;
        inners
            .iter()
            .map(|inner| buffer[inner.start..inner.start + inner.length].to_vec())
            .collect()
    }

    fn through(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let (packets, answer) = self.seal(packet);
        assert_eq!(answer, None);
        self.open(&packets)
    }

    fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter();
        all.map(|reason| (*reason, self.stat.get(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

fn on_the_wire(staging: &Staging) -> Vec<OnWire> {
    let mut packets = Vec::new();
    for row in &staging.datagrams {
        let Datagram {
            outer,
            start,
            length,
            segment,
            ..
        } = row;
        for octets in staging.buffer[*start..start + length].chunks(*segment) {
            let udp = match row.sa.config.encapsulation {
                Encapsulation::Esp => None,
                Encapsulation::Udp { source_port, .. } => Some(source_port),
            };
            let received = Received {
                start: 0,
                length: 0,
                source: outer.source,
                source_port: udp.unwrap_or(0),
                destination: outer.destination,
                tos: outer.tos,
                hop_limit: outer.hop_limit.unwrap_or(64),
                identification: 0,
                df: outer.df,
                encapsulated: udp.is_some(),
            };
            packets.push((received, octets.to_vec()));
        }
    }
    packets
}

/// A TCP packet whose identification is nothing, as a socket would send it.
fn packet(version: u8) -> Vec<u8> {
    let mut octets = tcp(version, 1, 0x10, b"some data");
    if version == 4 {
        octets[8] = 33;
        modes::identify(&mut octets, 0);
    } else {
        octets[7] = 33;
    }
    octets
}

const V4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const V6: (&str, &str) = ("2001:db8::1", "2001:db8::2");

/// Those of `packet`.
fn addresses(version: u8) -> (&'static str, &'static str) {
    if version == 4 {
        return ("10.1.0.1", "10.2.0.2");
    }
    (
        "1111:1111:1111:1111:1111:1111:1111:1111",
        "2222:2222:2222:2222:2222:2222:2222:2222",
    )
}
