//! A security association as the packet path sees it (`struct xfrm_state`).
//!
//! The configuration of an SA never changes after it is published; UPDSA publishes a new `Sa` that
//! takes over the running parts (`SaState`) of the old one. What changes per packet is atomic or,
//! for the replay window, behind a lock that is taken once per batch.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::crypto::{random, Transform};
use crate::events::{Event, Events};
use crate::lifetime::Limits;
use crate::policy::{Flow, Mark, Selector};
use crate::replay::ReplayWindow;

/// Bits of `usersa_info.flags`.
pub const XFRM_STATE_NOECN: u8 = 1;
pub const XFRM_STATE_DECAP_DSCP: u8 = 2;
pub const XFRM_STATE_NOPMTUDISC: u8 = 4;
pub const XFRM_STATE_WILDRECV: u8 = 8;
pub const XFRM_STATE_ICMP: u8 = 16;
pub const XFRM_STATE_AF_UNSPEC: u8 = 32;
pub const XFRM_STATE_ALIGN4: u8 = 64;
pub const XFRM_STATE_ESN: u8 = 128;
/// Bits of XFRMA_SA_EXTRA_FLAGS.
pub const XFRM_SA_XFLAG_DONT_ENCAP_DSCP: u32 = 1;
pub const XFRM_SA_XFLAG_OSEQ_MAY_WRAP: u32 = 2;

/// XFRM_MODE_* that the engine serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    Transport = 0,
    Tunnel = 1,
    Beet = 4,
}

impl TryFrom<u8> for Mode {
    type Error = ();

    fn try_from(number: u8) -> Result<Self, ()> {
        [Mode::Transport, Mode::Tunnel, Mode::Beet]
            .into_iter()
            .find(|mode| *mode as u8 == number)
            .ok_or(())
    }
}

/// Where and how ESP of an SA travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// IP protocol 50.
    Esp,
    /// UDP_ENCAP_ESPINUDP (RFC 3948); ports in host order.
    Udp {
        source_port: u16,
        destination_port: u16,
    },
}

/// XFRMA_SA_DIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaDirection {
    In,
    Out,
}

/// What an SA is told to be.
#[derive(Clone)]
pub struct SaConfig {
    pub spi: u32,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub mark: Mark,
    pub if_id: u32,
    pub reqid: u32,
    pub mode: Mode,
    pub flags: u8,
    /// XFRMA_SA_EXTRA_FLAGS.
    pub extra_flags: u32,
    pub direction: Option<SaDirection>,
    /// Which inner packets it takes; in BEET mode also the addresses that they have.
    pub selector: Selector,
    /// XFRMA_SET_MARK: what the outer packet's mark becomes.
    pub output_mark: Mark,
    pub encapsulation: Encapsulation,
    /// XFRMA_TFCPAD: octets up to which payloads are padded (RFC 4303, 2.7), 0 for no padding.
    pub tfc_padding: u32,
    pub limits: Limits,
    /// XFRMA_MTIMER_THRESH: seconds between two notifications of a changed mapping.
    pub mapping_threshold: u32,
    /// XFRMA_NAT_KEEPALIVE_INTERVAL: seconds, 0 for none.
    pub keepalive_interval: u32,
    pub algorithm_name: String,
    pub icv_bits: u32,
    /// Seconds since the epoch.
    pub added: u64,
}

/// A soft limit was reached: another SA should come (`km.dying`).
pub const DYING: u8 = 1;
/// A hard limit was reached (XFRM_STATE_EXPIRED).
pub const EXPIRED: u8 = 2;
/// It was deleted (XFRM_STATE_DEAD); workers may still hold it.
pub const DELETED: u8 = 4;

/// What an SA counts and remembers while it runs.
pub struct SaState {
    /// Bits `DYING` to `DELETED`.
    life: AtomicU8,
    /// Last sequence number sent, 64 bits; workers reserve a run of numbers per batch.
    pub oseq: AtomicU64,
    /// Random per SA instance: the explicit IV is `oseq ^ iv_mask`, so a restart repeats no nonce.
    pub iv_mask: u64,
    pub replay: Mutex<ReplayWindow>,
    /// Inner octets and packets (`struct xfrm_lifetime_cur`).
    pub octets: AtomicU64,
    pub packets: AtomicU64,
    /// Seconds since the epoch, 0 while unused.
    pub first_used: AtomicU64,
    pub last_used: AtomicU64,
    /// `struct xfrm_stats`.
    pub replay_window_drops: AtomicU64,
    pub replay_drops: AtomicU64,
    pub integrity_failures: AtomicU64,
}

impl SaState {
    /// At rest, with what a dump of the SA told before.
    pub fn new(oseq: u64, replay: ReplayWindow) -> Self {
        SaState {
            life: AtomicU8::new(0),
            oseq: AtomicU64::new(oseq),
            iv_mask: u64::from_ne_bytes(random()),
            replay: Mutex::new(replay),
            octets: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            first_used: AtomicU64::new(0),
            last_used: AtomicU64::new(0),
            replay_window_drops: AtomicU64::new(0),
            replay_drops: AtomicU64::new(0),
            integrity_failures: AtomicU64::new(0),
        }
    }

    /// Sets bits of its life; true if one of them is new.
    pub fn set_life(&self, bits: u8) -> bool {
        self.life.fetch_or(bits, Ordering::Relaxed) & bits != bits
    }

    pub fn has_life(&self, bits: u8) -> bool {
        self.life.load(Ordering::Relaxed) & bits != 0
    }

    /// XFRM_STATE_VALID.
    pub fn is_valid(&self) -> bool {
        !self.has_life(EXPIRED | DELETED)
    }

    /// Counts inner packets of a batch, and when they came.
    pub fn count(&self, packets: u64, octets: u64) {
        if packets == 0 {
            return;
        }
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
        let now = now();
        self.last_used.store(now, Ordering::Relaxed);
        if self.first_used.load(Ordering::Relaxed) == 0 {
            self.first_used.store(now, Ordering::Relaxed);
        }
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// One SA: what it is, its key, and its running state.
pub struct Sa {
    pub config: SaConfig,
    pub transform: Transform,
    pub state: Arc<SaState>,
}

impl Sa {
    pub fn esn(&self) -> bool {
        self.config.flags & XFRM_STATE_ESN != 0
    }

    /// Whether its selector takes a flow; one that holds nothing back takes both families.
    pub fn takes(&self, flow: &Flow) -> bool {
        let selector = &self.config.selector;
        let any = selector.source_prefix == 0
            && selector.destination_prefix == 0
            && selector.protocol == 0
            && selector.ifindex == 0;
        any || selector.matches(flow)
    }

    /// `xfrm_state_check_expire()`, with packets and octets of a batch that are not counted yet. At a
    /// soft limit somebody is told once; true at a hard limit, of which somebody is told as well.
    pub fn expires(self: &Arc<Self>, events: &Events, packets: u64, octets: u64) -> bool {
        let limits = &self.config.limits;
        let octets = self.state.octets.load(Ordering::Relaxed) + octets;
        let packets = self.state.packets.load(Ordering::Relaxed) + packets;
        let hard = limits.hard_reached(octets, packets);
        let reached = hard || limits.soft_reached(octets, packets);
        if reached && self.state.set_life(if hard { EXPIRED } else { DYING }) {
            let sa = Arc::clone(self);
            events.tell(Event::Expire { sa, hard });
        }
        hard
    }

    /// Takes `count` consecutive sequence numbers and returns the first, or None when they are
    /// used up (RFC 4303, 3.3.3: a sequence number must never repeat).
    pub fn reserve_sequence(&self, count: u64) -> Option<u64> {
        let may_wrap = self.config.extra_flags & XFRM_SA_XFLAG_OSEQ_MAY_WRAP != 0;
        let limit = if self.esn() || may_wrap {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        };
        self.state
            .oseq
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                last.checked_add(count).filter(|end| *end <= limit)
            })
            .ok()
            .map(|last| last + 1)
    }
}
