//! Why packets are dropped: one counter each, under the kernel's names.
//!
//! The list is `/proc/net/xfrm_stat` in the kernel's order; `plutino.model.drop_reason` holds the
//! same names with their meanings for operators.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! drop_reasons {
    ($($name:ident),* $(,)?) => {
        /// A counted early exit of a packet (`enum LINUX_MIB_XFRM*` of `linux/snmp.h`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum DropReason { $($name),* }

        impl DropReason {
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),*];

            /// The kernel's name, as in `/proc/net/xfrm_stat`.
            pub fn name(self) -> &'static str {
                match self { $(DropReason::$name => concat!("Xfrm", stringify!($name))),* }
            }
        }
    };
}

drop_reasons!(
    InError,
    InBufferError,
    InHdrError,
    InNoStates,
    InStateProtoError,
    InStateModeError,
    InStateSeqError,
    InStateExpired,
    InStateMismatch,
    InStateInvalid,
    InTmplMismatch,
    InNoPols,
    InPolBlock,
    InPolError,
    OutError,
    OutBundleGenError,
    OutBundleCheckError,
    OutNoStates,
    OutStateProtoError,
    OutStateModeError,
    OutStateSeqError,
    OutStateExpired,
    OutPolBlock,
    OutPolDead,
    OutPolError,
    FwdHdrError,
    OutStateInvalid,
    AcquireError,
    OutStateDirError,
    InStateDirError,
    InIptfsError,
    OutNoQueueSpace,
);

/// All drop counters of one engine.
pub struct XfrmStat {
    counters: [AtomicU64; DropReason::ALL.len()],
}

impl XfrmStat {
    pub fn new() -> Self {
        XfrmStat {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts `packets` dropped for `reason`.
    pub fn add(&self, reason: DropReason, packets: u64) {
        self.counters[reason as usize].fetch_add(packets, Ordering::Relaxed);
    }

    pub fn get(&self, reason: DropReason) -> u64 {
        self.counters[reason as usize].load(Ordering::Relaxed)
    }
}

impl Default for XfrmStat {
    fn default() -> Self {
        Self::new()
    }
}

/// Counters of a device, in the order of `struct rtnl_link_stats64` where the engine counts them.
#[derive(Default)]
pub struct LinkStats {
    pub rx_packets: AtomicU64,
    pub tx_packets: AtomicU64,
    pub rx_bytes: AtomicU64,
    pub tx_bytes: AtomicU64,
    pub rx_errors: AtomicU64,
    pub tx_errors: AtomicU64,
    pub rx_dropped: AtomicU64,
    pub tx_dropped: AtomicU64,
    pub collisions: AtomicU64,
    pub tx_aborted_errors: AtomicU64,
    pub tx_carrier_errors: AtomicU64,
}

impl LinkStats {
    /// The 25 numbers of `struct rtnl_link_stats64`.
    pub fn rtnl_link_stats64(&self) -> [u64; 25] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut numbers = [0; 25];
        numbers[0] = get(&self.rx_packets);
        numbers[1] = get(&self.tx_packets);
        numbers[2] = get(&self.rx_bytes);
        numbers[3] = get(&self.tx_bytes);
        numbers[4] = get(&self.rx_errors);
        numbers[5] = get(&self.tx_errors);
        numbers[6] = get(&self.rx_dropped);
        numbers[7] = get(&self.tx_dropped);
        numbers[9] = get(&self.collisions);
        numbers[16] = get(&self.tx_aborted_errors);
        numbers[17] = get(&self.tx_carrier_errors);
        numbers
    }
}
