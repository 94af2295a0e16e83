//! A TUN device bound to an if_id.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use crate::stats::LinkStats;
use crate::sys;

/// One interface. Its queues are TUN descriptors with vnet_hdr, each read by one worker.
pub struct Device {
    /// As it was when it was given; `current_name` tells whether it was renamed since.
    pub name: String,
    /// `tables::EXTERNAL` for the external device.
    pub if_id: u32,
    pub ifindex: u32,
    /// Bytes of the inner packet.
    pub mtu: AtomicU32,
    /// False once the TUN device was deleted under us (`EBADFD` from the descriptor).
    pub attached: AtomicBool,
    pub queues: Vec<OwnedFd>,
    pub stats: Arc<LinkStats>,
}

impl Device {
    /// The interface's name now, in whatever namespace it is; an error once it was deleted.
    pub fn current_name(&self) -> io::Result<String> {
        let queue = self.queues.first().ok_or(io::ErrorKind::NotFound)?;
        sys::tun_name(queue.as_fd())
    }

    /// The queue that a packet is written to. The host sends the packets of a connection to the
    /// queue that the other direction was last written to (`tun_flow_update`), so each connection
    /// keeps to one queue, and to one worker in each direction.
    pub fn queue_of(&self, packet: &[u8]) -> &OwnedFd {
        if let [only] = self.queues.as_slice() {
            return only;
        }
        &self.queues[flow_hash(packet) as usize % self.queues.len()]
    }
}

/// The same for all packets between two addresses and ports; a fragment has no ports.
fn flow_hash(packet: &[u8]) -> u32 {
    let flow = match packet.first().map_or(0, |octet| octet >> 4) {
        4 if packet.len() >= 24 && packet[6] & 0x3f == 0 && packet[7] == 0 => &packet[12..24],
        4 if packet.len() >= 20 => &packet[12..20],
        6 if packet.len() >= 44 && matches!(packet[6], 6 | 17) => &packet[8..44],
        6 if packet.len() >= 40 => &packet[8..40],
        _ => packet,
    };
    // FNV-1a with a last mix, since few bits are used.
    let hash = flow.iter().fold(0x811c_9dc5u32, |hash, octet| {
        (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    });
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::segment::tests::tcp;

    #[test]
    fn packets_of_a_connection_have_one_hash_and_connections_spread() {
        for version in [4, 6] {
            let first = tcp(version, 1, 0x10, b"one");
            let second = tcp(version, 900, 0x18, &[7; 300]);
            assert_eq!(flow_hash(&first), flow_hash(&second));
            let ports = if version == 4 { 20 } else { 40 };
            let mut seen = [0; 4];
            for port in 0..1000u16 {
                let mut other = first.clone();
                other[ports..ports + 2].copy_from_slice(&port.to_be_bytes());
                seen[flow_hash(&other) as usize % 4] += 1;
            }
            assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        }
        let mut fragment = tcp(4, 1, 0x10, b"one");
        fragment[6] = 0x20;
        let mut later = fragment.clone();
        later[7] = 9;
        later[20..24].fill(0xee);
        assert_eq!(flow_hash(&fragment), flow_hash(&later));
    }
}
