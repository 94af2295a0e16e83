//! Where IKE goes that comes to the socket for ESP in UDP: by a socket of its own, so that a flood is
//! no work for the control thread and takes no room from its other events.
//!
//! What cannot be IKE ends here, and so does what the reader has no room for (docs/engine-protocol.md).

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::RwLock;

use crate::received::Received;
use crate::sys;

/// Octets of the longest message.
const LONGEST: usize = 16 * 1024;
/// Octets of an IKE header, and where it has its version and its length (RFC 7296, 3.1).
const HEADER: usize = 28;
const VERSION: usize = 17;
const LENGTH: std::ops::Range<usize> = 24..28;
/// Octets before each message: two addresses of 16, the sender's and ours, and the sender's port.
const PREFIX: usize = 34;
/// Octets that may wait, as the kernel counts them.
const ROOM: i32 = 4 << 20;

/// A way that may lead nowhere.
#[derive(Default)]
pub struct IkeWay {
    socket: RwLock<Option<OwnedFd>>,
}

impl IkeWay {
    /// From now on by another socket, which keeps the bounds of messages.
    pub fn lead_to(&self, socket: OwnedFd) -> io::Result<()> {
        sys::set_nonblocking(socket.as_fd(), true)?;
        // Without the privilege it stays as it was.
        let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, ROOM);
        *self.socket.write().expect("no holder of the lock panics") = Some(socket);
        Ok(())
    }

    /// A message without its marker; never waits.
    pub fn pass(&self, came: &Received, message: &[u8]) {
        if !may_be_ike(message) {
            return;
        }
        let socket = self.socket.read().expect("no holder of the lock panics");
        if let Some(socket) = socket.as_ref() {
            let mut prefix = [0; PREFIX];
            prefix[..16].copy_from_slice(&octets(came.source));
            prefix[16..32].copy_from_slice(&octets(came.destination));
            prefix[32..].copy_from_slice(&came.source_port.to_be_bytes());
            let parts = [IoSlice::new(&prefix), IoSlice::new(message)];
            let _ = sys::write_parts(socket.as_fd(), &parts); // lost, as on any full queue
        }
    }
}

/// As the filter on IKE's own sockets has it: of version 2 or later, and as long as it says.
fn may_be_ike(message: &[u8]) -> bool {
    (HEADER..=LONGEST).contains(&message.len())
        && message[VERSION] >= 0x20
        && message[LENGTH] == (message.len() as u32).to_be_bytes()
}

/// Of 16 octets, IPv4 mapped (RFC 4291, 2.5.5.2).
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
