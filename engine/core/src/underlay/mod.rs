//! The sockets that ESP travels through: raw ESP, and UDP port 4500 (RFC 3948).
//!
//! UDP takes and gives whole rows of equal packets (UDP_SEGMENT, UDP_GRO); raw sockets take and give
//! one message per packet, several per call.
//!
//! Packets go out with DF, and a send that the path does not take is refused; those that may be cut
//! on the way are sent while the option is turned off. Fragments that come in are put together by
//! the host's kernel, which bounds them (`net.ipv4.ipfrag_high_thresh`).

mod kind;
mod path_mtu;
mod receiving;
mod sending;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::RwLock;

pub use kind::SocketKind;
pub use sending::{Plain, Unsent, MARKER};

use crate::sys;

/// Octets that a receive buffer should hold; the kernel doubles them.
const SOCKET_BUFFER: i32 = 8 << 20;
/// Milliseconds that a send waits for room before its packets are dropped.
const SEND_TIMEOUT: i64 = 100;
/// Packets per call on a raw socket, and octets of each at most.
const RAW_BATCH: usize = 64;
const SLOT: usize = 65_536;
const UDP_GRO: i32 = 104;
const IPV6_AUTOFLOWLABEL: i32 = 70;

/// Octets that `Socket::receive` needs in its buffer.
pub const RECEIVE_BUFFER: usize = RAW_BATCH * SLOT;

/// A socket that was handed to the engine.
pub struct Socket {
    pub kind: SocketKind,
    fd: OwnedFd,
    pub errors: AtomicU64,
    /// Whether the socket sets DF; held for reading while a row is sent.
    df: RwLock<bool>,
}

impl Socket {
    /// Sets what the engine needs: ancillary data, receive offload, buffers.
    pub fn new(kind: SocketKind, fd: OwnedFd) -> io::Result<Socket> {
        let socket = fd.as_fd();
        sys::set_nonblocking(socket, false)?;
        sys::set_send_timeout(socket, SEND_TIMEOUT)?;
        for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
            if sys::set_option(socket, libc::SOL_SOCKET, option, SOCKET_BUFFER).is_err() {
                let soft = if option == libc::SO_RCVBUFFORCE {
                    libc::SO_RCVBUF
                } else {
                    libc::SO_SNDBUF
                };
                sys::set_option(socket, libc::SOL_SOCKET, soft, SOCKET_BUFFER)?;
            }
        }
        if kind.is_v4() {
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
        } else {
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            // The host would choose one for the socket, which is neither the packet's nor 0.
            sys::set_option(socket, libc::IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0)?;
        }
        if kind.is_udp() {
            sys::set_option(socket, libc::IPPROTO_UDP, UDP_GRO, 1)?;
        }
        let socket = Socket {
            kind,
            fd,
            errors: AtomicU64::new(0),
            df: RwLock::new(true),
        };
        socket.set_df(true)?;
        if kind.needs_error_queue() {
            sys::set_option(socket.fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        }
        Ok(socket)
    }

    /// Whether what is longer than the path is refused, or cut.
    fn set_df(&self, on: bool) -> io::Result<()> {
        let (level, option) = if self.kind.is_v4() {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
        };
        // The values are the same for both families.
        let value = if on {
            libc::IP_PMTUDISC_DO
        } else {
            libc::IP_PMTUDISC_DONT
        };
        sys::set_option(self.fd(), level, option, value)
    }

    fn turn_df(&self, is_on: &mut bool, wanted: bool) -> io::Result<()> {
        if *is_on != wanted {
            self.set_df(wanted)?;
            *is_on = wanted;
        }
        Ok(())
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
