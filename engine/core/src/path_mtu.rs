//! What fits a path: the MTU of the ways to the peers, as their sockets told it, and what is left of
//! it for an inner packet (`xfrm_state_mtu`).
//!
//! The host's kernel does path MTU discovery for our ESP as for any other packet of a socket: it
//! checks the ICMP errors, holds them to its lowest MTU, and lets them age. A send that is refused
//! for its length brings the number here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::crypto::Transform;
use crate::modes::Wrapping;
use crate::outbound::Outer;
use crate::sa::{Encapsulation, Sa};

/// After which a number is tried again (`net.ipv4.route.mtu_expires`).
const LIFE: Duration = Duration::from_secs(600);
/// Peers whose number is known; more make room by forgetting all.
const MOST: usize = 4096;
const UDP: usize = 8;
const ESP: usize = 8;
const TRAILER: usize = 2;

type Known = HashMap<IpAddr, (u32, Instant)>;

/// The numbers of all peers, for all workers.
#[derive(Default)]
pub struct PathMtus {
    generation: AtomicU64,
    known: Mutex<Arc<Known>>,
}

impl PathMtus {
    /// Remembers the MTU of the way to a peer, in bytes of an outer IP packet.
    pub fn learn(&self, peer: IpAddr, mtu: u32, now: Instant) {
        let mut known = self.known.lock().expect("no holder of the lock panics");
        let mut next = Known::clone(&known);
        next.retain(|_, (_, since)| now.duration_since(*since) < LIFE);
        if next.len() == MOST {
            next.clear();
        }
        next.insert(peer, (mtu, now));
        *known = Arc::new(next);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// One worker's view of them.
pub struct Paths {
    shared: Arc<PathMtus>,
    generation: u64,
    known: Arc<Known>,
}

impl Paths {
    pub fn new(shared: Arc<PathMtus>) -> Paths {
        Paths {
            shared,
            generation: 0,
            known: Arc::default(),
        }
    }

    /// The MTU of the way to a peer, if it is known to be small.
    pub fn mtu(&mut self, peer: IpAddr) -> Option<u32> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            let known = self.shared.known.lock();
            self.known = Arc::clone(&known.expect("no holder of the lock panics"));
            self.generation = generation;
        }
        let (mtu, since) = self.known.get(&peer)?;
        (since.elapsed() < LIFE).then_some(*mtu)
    }
}

/// Octets of the longest inner packet that an SA's outer packet takes along without being longer
/// than `mtu`.
pub fn inner_mtu(sa: &Sa, wrapping: &Wrapping, mtu: u32) -> usize {
    payload_mtu(&sa.transform, sa.config.encapsulation, &wrapping.outer, mtu) + wrapping.skip
        - wrapping.prefix_length.min(wrapping.skip)
}

fn payload_mtu(
    transform: &Transform,
    encapsulation: Encapsulation,
    outer: &Outer,
    mtu: u32,
) -> usize {
    let ip = if outer.destination.is_ipv4() { 20 } else { 40 };
    let udp = match encapsulation {
        Encapsulation::Esp => 0,
        Encapsulation::Udp { .. } => UDP,
    };
    let overhead = ip + udp + ESP + transform.iv_length() + transform.icv_length();
    let text = (mtu as usize).saturating_sub(overhead);
    (text - text % transform.alignment()).saturating_sub(TRAILER)
}
