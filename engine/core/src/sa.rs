//! A security association as the packet path sees it (`struct xfrm_state`).
//!
//! The configuration of an SA never changes after it is published; UPDSA publishes a new `Sa` that
//! takes over the running parts (`SaState`) of the old one. What changes per packet is atomic or,
//! for the replay window, behind a lock that is taken once per batch.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::crypto::{random, Transform};
use crate::events::{Event, Events};
use crate::lifetime::Limits;
use crate::policy::{Flow, Mark, Selector};
use crate::replay::ReplayWindow;
use crate::sparse::Sparse;

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

/// `XFRM_AE_SEQT_SIZE`, what net.core.xfrm_aevent_rseqth starts as.
pub const DEFAULT_REPLAY_THRESHOLD: u32 = 2;
/// `XFRM_AE_ETIME` in tenths of a second, net.core.xfrm_aevent_etime.
pub const DEFAULT_REPLAY_AGE: u32 = 10;

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
    pub selector: Sparse<Selector>,
    /// XFRMA_SET_MARK: what the outer packet's mark becomes.
    pub output_mark: Mark,
    pub encapsulation: Encapsulation,
    /// XFRMA_TFCPAD: octets up to which payloads are padded (RFC 4303, 2.7), 0 for no padding.
    pub tfc_padding: u32,
    pub limits: Sparse<Limits>,
    /// XFRMA_MTIMER_THRESH: seconds between two notifications of a changed mapping.
    pub mapping_threshold: u32,
    /// XFRMA_NAT_KEEPALIVE_INTERVAL: seconds, 0 for none.
    pub keepalive_interval: u32,
    /// XFRMA_ETIMER_THRESH: tenths of a second between two aevents, 0 for none.
    pub replay_age: u32,
    /// The selector's family as it is told: AF_UNSPEC lets in packets of both families.
    pub selector_family: u16,
    /// `xfrm_encap_tmpl.encap_oa`, which means nothing to the engine; None for zeros.
    pub original_address: Option<Box<[u8; 16]>>,
    /// XFRMA_COADDR, likewise.
    pub care_of: Option<Box<[u8; 16]>>,
    /// `km.seq`: what ties it to an acquire.
    pub sequence: u32,
    /// XFRMA_SA_PCPU.
    pub cpu: Option<u32>,
    pub replay_form: ReplayForm,
    /// Seconds since the epoch.
    pub added: u64,
    /// The same moment by `clock()`, which no change of the time of day moves.
    pub added_clock: u64,
}

/// In which structure the replay state travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayForm {
    /// `xfrm_replay_state`: a window of at most 32 packets, told in `xfrm_usersa_info`.
    Legacy { window: u8 },
    /// `xfrm_replay_state_esn` with a bitmap of so many words, with ESN or without.
    Bitmap { words: u32 },
}

/// A soft limit was reached: another SA should come (`km.dying`).
pub const DYING: u8 = 1;
/// A hard limit was reached (XFRM_STATE_EXPIRED).
pub const EXPIRED: u8 = 2;
/// It was deleted (XFRM_STATE_DEAD); workers may still hold it.
pub const DELETED: u8 = 4;
/// Listeners were told that a soft limit was reached.
pub const TOLD: u8 = 8;

/// What an SA counts and remembers while it runs.
pub struct SaState {
    /// Bits `DYING` to `TOLD`.
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
    /// `struct xfrm_stats`, whose numbers have 32 bits.
    pub replay_window_drops: AtomicU32,
    pub replay_drops: AtomicU32,
    pub integrity_failures: AtomicU32,
    /// XFRMA_REPLAY_THRESH: packets between two aevents, 0 for none.
    pub replay_threshold: AtomicU32,
    /// Numbers received and sent that the last aevent told (`preplay`).
    pub told_seq: AtomicU64,
    pub told_oseq: AtomicU64,
    /// When and with which port MAPPING was told last: seconds of `clock()` above 16 bits of port.
    pub mapping_told: AtomicU64,
}

impl SaState {
    /// At rest, with what a dump of the SA told before.
    pub fn new(oseq: u64, replay: ReplayWindow) -> Self {
        SaState {
            replay_threshold: AtomicU32::new(DEFAULT_REPLAY_THRESHOLD),
            told_seq: AtomicU64::new(replay.seq()),
            told_oseq: AtomicU64::new(oseq),
            mapping_told: AtomicU64::new(0),
            life: AtomicU8::new(0),
            oseq: AtomicU64::new(oseq),
            iv_mask: u64::from_ne_bytes(random()),
            replay: Mutex::new(replay),
            octets: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            first_used: AtomicU64::new(0),
            last_used: AtomicU64::new(0),
            replay_window_drops: AtomicU32::new(0),
            replay_drops: AtomicU32::new(0),
            integrity_failures: AtomicU32::new(0),
        }
    }

    /// Sets bits of its life; true if one of them is new.
    pub fn set_life(&self, bits: u8) -> bool {
        self.life.fetch_or(bits, Ordering::Relaxed) & bits != bits
    }

    /// Takes bits of its life back, as UPDSA does for a soft limit that was raised.
    pub fn clear_life(&self, bits: u8) {
        self.life.fetch_and(!bits, Ordering::Relaxed);
    }

    /// Goes on with another's life.
    pub fn take_life(&self, other: &SaState) {
        let life = other.life.load(Ordering::Relaxed) & !DELETED;
        self.life.store(life, Ordering::Relaxed);
    }

    /// Whether so much has moved since the last aevent that another is due
    /// (`xfrm_replay_notify`); `seq` is the highest number received. For a worker, after a batch.
    pub fn replay_moved(&self, seq: u64) -> bool {
        let threshold = u64::from(self.replay_threshold.load(Ordering::Relaxed));
        let moved = |now: u64, told: &AtomicU64| {
            now.wrapping_sub(told.load(Ordering::Relaxed)) >= threshold
        };
        threshold != 0
            && (moved(seq, &self.told_seq)
                || moved(self.oseq.load(Ordering::Relaxed), &self.told_oseq))
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

/// Seconds by a clock that only goes ahead; it began as seconds since the epoch, so that what was
/// before the engine has a place on it.
pub fn clock() -> u64 {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (epoch, start) = START.get_or_init(|| (now(), Instant::now()));
    epoch + start.elapsed().as_secs()
}

/// One SA: what it is, its key, and its running state.
pub struct Sa {
    pub config: SaConfig,
    /// Shared by an SA and what UPDSA or a migration makes of it.
    pub transform: Arc<Transform>,
    pub state: Arc<SaState>,
}

impl Sa {
    /// Whether an inner packet is one of those that the SA is for; one without a selector's family
    /// takes all.
    pub fn takes(&self, flow: &Flow) -> bool {
        self.config.selector_family == 0 || self.config.selector.matches(flow)
    }

    pub fn esn(&self) -> bool {
        self.config.flags & XFRM_STATE_ESN != 0
    }

    /// Marks the SA where octets or packets have reached a limit, with those of a batch that are not
    /// counted yet (`xfrm_state_check_expire`). Gives whether it is a hard limit, and whether that
    /// is new.
    pub fn check_limits(&self, packets: u64, octets: u64) -> (bool, bool) {
        let limits = &self.config.limits;
        let counted = self.state.octets.load(Ordering::Relaxed);
        let octets = counted.saturating_add(octets);
        let counted = self.state.packets.load(Ordering::Relaxed);
        let packets = counted.saturating_add(packets);
        let hard = limits.hard_reached(octets, packets);
        let reached = hard || limits.soft_reached(octets, packets);
        if reached && self.state.first_used.load(Ordering::Relaxed) == 0 {
            self.state.first_used.store(now(), Ordering::Relaxed);
        }
        let new = reached && self.state.set_life(if hard { EXPIRED } else { DYING });
        (hard, new)
    }

    /// The same for a worker, which tells the control thread of what is new; true at a hard limit.
    pub fn expires(self: &Arc<Self>, events: &Events, packets: u64, octets: u64) -> bool {
        let (hard, new) = self.check_limits(packets, octets);
        if new {
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
