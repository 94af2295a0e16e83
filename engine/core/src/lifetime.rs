//! Limits of an SA or a policy (`struct xfrm_lifetime_cfg`), and what was used of them
//! (`struct xfrm_lifetime_cur`).

/// XFRM_INF.
pub const UNLIMITED: u64 = u64::MAX;

/// Soft and hard limits; bytes and packets unlimited by `UNLIMITED`, seconds by 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub soft_bytes: u64,
    pub hard_bytes: u64,
    pub soft_packets: u64,
    pub hard_packets: u64,
    /// Seconds since the SA was added.
    pub soft_add_seconds: u64,
    pub hard_add_seconds: u64,
    /// Seconds since it was first used.
    pub soft_use_seconds: u64,
    pub hard_use_seconds: u64,
}

impl Limits {
    pub const NONE: Limits = Limits {
        soft_bytes: UNLIMITED,
        hard_bytes: UNLIMITED,
        soft_packets: UNLIMITED,
        hard_packets: UNLIMITED,
        soft_add_seconds: 0,
        hard_add_seconds: 0,
        soft_use_seconds: 0,
        hard_use_seconds: 0,
    };

    /// Whether time alone can reach a limit.
    pub fn has_times(&self) -> bool {
        self.soft_add_seconds != 0
            || self.hard_add_seconds != 0
            || self.soft_use_seconds != 0
            || self.hard_use_seconds != 0
    }

    /// Whether bytes or packets have reached the hard limit (`xfrm_state_check_expire`).
    pub fn hard_reached(&self, bytes: u64, packets: u64) -> bool {
        bytes >= self.hard_bytes || packets >= self.hard_packets
    }

    /// Whether bytes or packets have reached the soft limit.
    pub fn soft_reached(&self, bytes: u64, packets: u64) -> bool {
        bytes >= self.soft_bytes || packets >= self.soft_packets
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::NONE
    }
}
