//! A TUN device bound to an if_id.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use crate::stats::LinkStats;

/// One interface. Its queues are TUN descriptors with vnet_hdr, each read by one worker.
pub struct Device {
    pub name: String,
    pub if_id: u32,
    pub ifindex: u32,
    /// Bytes of the inner packet.
    pub mtu: AtomicU32,
    /// False once the TUN device was deleted under us (`EBADFD` from the descriptor).
    pub attached: AtomicBool,
    pub queues: Vec<OwnedFd>,
    pub stats: Arc<LinkStats>,
}
