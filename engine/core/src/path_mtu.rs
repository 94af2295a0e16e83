//! What fits a path: the MTU of the host's route to a peer, and what is left of it for an inner
//! packet (`xfrm_state_mtu`).
//!
//! The host's kernel does path MTU discovery for our ESP as for any other packet of a socket: it
//! checks the ICMP errors, holds them to its lowest MTU, and lets them age. A worker asks the host
//! through the socket, and takes the answer for granted for a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::Transform;
use crate::modes::Wrapping;
use crate::netlink::xfrm::AF_INET;
use crate::outbound::Outer;
use crate::policy::Mark;
use crate::sa::{Encapsulation, Mode, Sa};

const GOOD_FOR: Duration = Duration::from_secs(1);
/// Paths that a worker remembers; more make room by forgetting all.
const MOST: usize = 4096;
/// Packets up to this length fit any path once an SA has sealed them, so nobody need be asked: the
/// least path MTU of Linux (`net.ipv4.route.min_pmtu`) less the most that an SA adds.
pub const ALWAYS_FITS: usize = 552 - 160;
const UDP: usize = 8;
const ESP: usize = 8;
const TRAILER: usize = 2;

/// Asks the host for the MTU of an SA's way, in bytes of the outer IP packet; None without a route.
pub type Ask = Box<dyn FnMut(&Arc<Sa>, &Outer) -> Option<u32>>;

/// What one worker knows of the ways to the peers.
pub struct Paths {
    ask: Ask,
    known: HashMap<(IpAddr, Mark), (Option<u32>, Instant)>,
}

impl Paths {
    pub fn new(ask: Ask) -> Paths {
        Paths {
            ask,
            known: HashMap::new(),
        }
    }

    /// Knows of no limit.
    pub fn unlimited() -> Paths {
        Paths::new(Box::new(|_, _| None))
    }

    /// The MTU of the way of an SA's packets, asked for if it is not known.
    pub fn mtu(&mut self, sa: &Arc<Sa>, outer: &Outer) -> Option<u32> {
        let key = (outer.destination, sa.config.output_mark);
        let now = Instant::now();
        if let Some((mtu, since)) = self.known.get(&key) {
            if now.duration_since(*since) < GOOD_FOR {
                return *mtu;
            }
        }
        if self.known.len() == MOST {
            self.known.clear();
        }
        let mtu = (self.ask)(sa, outer);
        self.known.insert(key, (mtu, now));
        mtu
    }
}

/// The same for a packet that another SA has sealed, whose IP header has neither options nor
/// extensions.
pub fn nested_mtu(mtu: u32, sa: &Arc<Sa>) -> u32 {
    let header = |is_ipv4: bool| if is_ipv4 { 20 } else { 40 };
    let config = &sa.config;
    let kept = match config.mode {
        Mode::Tunnel => 0,
        Mode::Transport => header(config.source.is_ipv4()),
        Mode::Beet => header(config.selector_family == AF_INET),
    };
    payload_mtu(&sa.transform, config.encapsulation, &Outer::of(sa), mtu) as u32 + kept
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
