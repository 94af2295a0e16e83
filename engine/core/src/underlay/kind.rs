//! Which of the four sockets: raw or UDP, IPv4 or IPv6.

use crate::sa::{Encapsulation, Sa};

/// The numbers of `SOCK_KIND` (docs/engine-protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SocketKind {
    RawV4 = 1,
    RawV6 = 2,
    UdpV4 = 3,
    UdpV6 = 4,
}

impl SocketKind {
    pub const ALL: [SocketKind; 4] = [
        SocketKind::RawV4,
        SocketKind::RawV6,
        SocketKind::UdpV4,
        SocketKind::UdpV6,
    ];

    /// The socket that an SA's packets leave by.
    pub fn of(sa: &Sa) -> SocketKind {
        match (&sa.config.encapsulation, sa.config.destination.is_ipv4()) {
            (Encapsulation::Esp, true) => SocketKind::RawV4,
            (Encapsulation::Esp, false) => SocketKind::RawV6,
            (Encapsulation::Udp { .. }, true) => SocketKind::UdpV4,
            (Encapsulation::Udp { .. }, false) => SocketKind::UdpV6,
        }
    }

    pub(super) fn is_udp(self) -> bool {
        matches!(self, SocketKind::UdpV4 | SocketKind::UdpV6)
    }

    /// A raw socket of IPv6 does path MTU discovery only while its error queue is on
    /// (`rawv6_err`); what stands in it must be taken out and is worth nothing else.
    pub(super) fn needs_error_queue(self) -> bool {
        self == SocketKind::RawV6
    }

    pub(super) fn is_v4(self) -> bool {
        matches!(self, SocketKind::RawV4 | SocketKind::UdpV4)
    }
}

impl TryFrom<u32> for SocketKind {
    type Error = ();

    fn try_from(number: u32) -> Result<Self, ()> {
        SocketKind::ALL
            .into_iter()
            .find(|kind| *kind as u32 == number)
            .ok_or(())
    }
}
