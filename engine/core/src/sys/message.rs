//! Datagrams with ancillary data, one or several per call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

pub const CONTROL: usize = 160;
/// `struct sockaddr_in6` is the longest address.
pub const NAME: usize = 28;

/// Control messages (`CMSG_*` of cmsg(3)), aligned as `struct cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Control {
    octets: [u8; CONTROL],
    used: usize,
}

const CMSG_HEADER: usize = 16;

impl Control {
    pub const fn new() -> Self {
        Control {
            octets: [0; CONTROL],
            used: 0,
        }
    }

    /// Appends a message; more than `CONTROL` octets is a mistake of the caller.
    pub fn push(&mut self, level: i32, kind: i32, payload: &[u8]) {
        let length = CMSG_HEADER + payload.len();
        let at = self.used;
        self.octets[at..at + 8].copy_from_slice(&length.to_ne_bytes());
        self.octets[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
        self.octets[at + 12..at + 16].copy_from_slice(&kind.to_ne_bytes());
        self.octets[at + CMSG_HEADER..at + length].copy_from_slice(payload);
        self.used = at + length.next_multiple_of(8);
    }

    /// Level, type and payload of each message that the kernel left here.
    pub fn messages(&self) -> impl Iterator<Item = (i32, i32, &[u8])> {
        let octets = &self.octets[..self.used.min(CONTROL)];
        let mut at = 0;
        std::iter::from_fn(move || {
            let header = octets.get(at..at + CMSG_HEADER)?;
            let length = usize::from_ne_bytes(header[..8].try_into().ok()?);
            let level = i32::from_ne_bytes(header[8..12].try_into().ok()?);
            let kind = i32::from_ne_bytes(header[12..].try_into().ok()?);
            let payload = octets.get(at + CMSG_HEADER..at.checked_add(length)?)?;
            at += length.next_multiple_of(8);
            Some((level, kind, payload))
        })
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

/// What `receive` tells of a packet besides its octets.
pub struct Meta {
    pub length: usize,
    pub truncated: bool,
    pub name: [u8; NAME],
    pub control: Control,
}

fn zeroed_message() -> libc::msghdr {
    // SAFETY: `msghdr` is a C structure of numbers and pointers, for which all zero is valid.
    unsafe { std::mem::zeroed() }
}

/// One datagram into `buffer`, without waiting.
pub fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<Meta> {
    receive_with(fd, buffer, 0)
}

/// One error from the socket's queue (`struct sock_extended_err` in the control messages), and the
/// start of the packet that met it.
pub fn receive_error(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<Meta> {
    receive_with(fd, buffer, libc::MSG_ERRQUEUE)
}

fn receive_with(fd: BorrowedFd, buffer: &mut [u8], flags: i32) -> io::Result<Meta> {
    let mut meta = Meta {
        length: 0,
        truncated: false,
        name: [0; NAME],
        control: Control::new(),
    };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = zeroed_message();
    message.msg_name = meta.name.as_mut_ptr().cast();
    message.msg_namelen = NAME as u32;
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = meta.control.octets.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    // SAFETY: every pointer in `message` is to a local buffer or the caller's, with its length.
    let length =
        check(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags | libc::MSG_DONTWAIT) })?;
    meta.length = length;
    meta.truncated = message.msg_flags & libc::MSG_TRUNC != 0;
    meta.control.used = message.msg_controllen;
    Ok(meta)
}

/// Up to `metas.len()` datagrams, each into its `slot` octets of `buffer`; gives how many came.
pub fn receive_many(
    fd: BorrowedFd,
    buffer: &mut [u8],
    slot: usize,
    metas: &mut [Meta],
) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = buffer
        .chunks_exact_mut(slot)
        .take(metas.len())
        .map(|chunk| libc::iovec {
            iov_base: chunk.as_mut_ptr().cast(),
            iov_len: slot,
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .zip(metas.iter_mut())
        .map(|(part, meta)| {
            let mut message = zeroed_message();
            message.msg_name = meta.name.as_mut_ptr().cast();
            message.msg_namelen = NAME as u32;
            message.msg_iov = part;
            message.msg_iovlen = 1;
            message.msg_control = meta.control.octets.as_mut_ptr().cast();
            message.msg_controllen = CONTROL;
            libc::mmsghdr {
                msg_hdr: message,
                msg_len: 0,
            }
        })
        .collect();
    // SAFETY: `messages` points into `parts`, `metas` and `buffer`, which all outlive the call.
    let count = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let count = check(count as libc::ssize_t)?;
    let filled: Vec<(usize, usize, bool)> = messages[..count]
        .iter()
        .map(|message| {
            let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            (
                message.msg_len as usize,
                message.msg_hdr.msg_controllen,
                truncated,
            )
        })
        .collect();
    for (meta, (length, control, truncated)) in metas.iter_mut().zip(filled) {
        meta.length = length;
        meta.truncated = truncated;
        meta.control.used = control;
    }
    Ok(count)
}

/// Where a datagram goes: `sockaddr` octets and control messages.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: [u8; NAME],
    pub name_length: usize,
    pub control: Control,
}

fn outgoing(target: &Target, part: *mut libc::iovec) -> libc::msghdr {
    let mut message = zeroed_message();
    // The kernel only reads through these pointers.
    message.msg_name = target.name.as_ptr().cast_mut().cast();
    message.msg_namelen = target.name_length as u32;
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = target.control.octets.as_ptr().cast_mut().cast();
    message.msg_controllen = target.control.used;
    message
}

/// One datagram; waits while the socket's buffer is full.
pub fn send(fd: BorrowedFd, target: &Target, octets: &[u8]) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: octets.as_ptr().cast_mut().cast(),
        iov_len: octets.len(),
    };
    let message = outgoing(target, &mut part);
    // SAFETY: `message` points to `target`, `part` and `octets`, which outlive the call.
    check(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_NOSIGNAL) }).map(|_| ())
}

/// Several datagrams to one target; gives how many went, at least one.
pub fn send_many(fd: BorrowedFd, target: &Target, datagrams: &[&[u8]]) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = datagrams
        .iter()
        .map(|octets| libc::iovec {
            iov_base: octets.as_ptr().cast_mut().cast(),
            iov_len: octets.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| libc::mmsghdr {
            msg_hdr: outgoing(target, part),
            msg_len: 0,
        })
        .collect();
    // SAFETY: `messages` points to `target`, `parts` and `datagrams`, which outlive the call.
    let count = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            libc::MSG_NOSIGNAL,
        )
    };
    check(count as libc::ssize_t)
}
