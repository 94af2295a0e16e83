//! Limits of an SA or a policy (`struct xfrm_lifetime_cfg`), and what was used of them
//! (`struct xfrm_lifetime_cur`).

use crate::sparse::Usual;

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

/// What time has brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub hard: bool,
    pub soft: bool,
    /// Seconds until the next look.
    pub next: Option<u64>,
}

impl Limits {
    /// Which limits an SA of some age, used for so many seconds, has reached
    /// (`xfrm_timer_handler`). Of one that is dying only the hard limits count.
    pub fn due(&self, age: u64, used_for: u64, dying: bool) -> Due {
        let left = |limit: u64, spent: u64| (limit != 0).then(|| limit.saturating_sub(spent));
        let hard = [
            left(self.hard_add_seconds, age),
            left(self.hard_use_seconds, used_for),
        ];
        let soft = [
            left(self.soft_add_seconds, age),
            left(self.soft_use_seconds, used_for),
        ];
        if hard.contains(&Some(0)) {
            return Due {
                hard: true,
                ..Due::default()
            };
        }
        let reached = !dying && soft.contains(&Some(0));
        let soft = soft.into_iter().filter(|_| !dying).flatten();
        Due {
            hard: false,
            soft: reached,
            next: hard
                .into_iter()
                .flatten()
                .chain(soft)
                .filter(|left| *left > 0)
                .min(),
        }
    }
}

impl Usual for Limits {
    const USUAL: &'static [Limits] = &[Limits::NONE];
}

impl Default for Limits {
    fn default() -> Self {
        Limits::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Soft and hard limits since adding and first use, what time has passed, and what is due.
    #[test]
    fn times_that_are_due() {
        let due = |hard, soft, next| Due { hard, soft, next };
        for (limits, age, used_for, dying, expected) in [
            (
                [0, 0, 0, 0],
                1 << 40,
                1 << 40,
                false,
                due(false, false, None),
            ),
            ([0, 10, 0, 0], 0, 0, false, due(false, false, Some(10))),
            ([0, 10, 0, 0], 9, 0, false, due(false, false, Some(1))),
            ([0, 10, 0, 0], 10, 0, false, due(true, false, None)),
            ([5, 10, 0, 0], 5, 0, false, due(false, true, Some(5))),
            ([5, 10, 0, 0], 7, 0, true, due(false, false, Some(3))),
            ([0, 0, 3, 8], 99, 0, false, due(false, false, Some(3))),
            ([0, 0, 3, 8], 99, 3, false, due(false, true, Some(5))),
            ([0, 0, 3, 8], 99, 8, true, due(true, false, None)),
            ([5, 5, 0, 0], 5, 0, false, due(true, false, None)),
            ([5, 0, 9, 0], 4, 1, false, due(false, false, Some(1))),
            (
                [0, u64::MAX, 0, 0],
                5,
                0,
                false,
                due(false, false, Some(u64::MAX - 5)),
            ),
        ] {
            let limits_of = Limits {
                soft_add_seconds: limits[0],
                hard_add_seconds: limits[1],
                soft_use_seconds: limits[2],
                hard_use_seconds: limits[3],
                ..Limits::NONE
            };
            assert_eq!(
                limits_of.due(age, used_for, dying),
                expected,
                "{limits:?} at {age}, {used_for}"
            );
        }
    }
}
