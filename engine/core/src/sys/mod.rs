//! The system calls of the packet path that the standard library does not have: the only unsafe
//! code of this crate beside `crypto/ipsec_mb.rs`, each block a call with buffers that live longer
//! than it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for the control messages of one packet: addresses, mark, class, segment size.
mod message;
mod waiting;

pub use message::*;
pub use waiting::{Epoll, Waker};

fn check(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// One read without waiting, if the descriptor is non-blocking.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is the caller's, with its length.
    check(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// One write of several parts.
pub fn write_parts(fd: BorrowedFd, parts: &[io::IoSlice]) -> io::Result<usize> {
    // SAFETY: `IoSlice` is guaranteed to have the layout of `iovec`.
    check(unsafe {
        libc::writev(
            fd.as_raw_fd(),
            parts.as_ptr().cast(),
            parts.len() as libc::c_int,
        )
    })
}

/// A socket option that is a number.
pub fn set_option(fd: BorrowedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value is a local number, whose size is told.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as u32,
        )
    };
    check(result as libc::ssize_t).map(|_| ())
}

/// How long a send may wait for room.
pub fn set_send_timeout(fd: BorrowedFd, milliseconds: i64) -> io::Result<()> {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: milliseconds * 1000,
    };
    // SAFETY: the value is a local structure, whose size is told.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            std::ptr::from_ref(&time).cast(),
            size_of::<libc::timeval>() as u32,
        )
    };
    check(result as libc::ssize_t).map(|_| ())
}

/// Sets or clears O_NONBLOCK.
pub fn set_nonblocking(fd: BorrowedFd, on: bool) -> io::Result<()> {
    // SAFETY: fcntl with numbers only.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        check(flags as libc::ssize_t)?;
        let flags = if on {
            flags | libc::O_NONBLOCK
        } else {
            flags & !libc::O_NONBLOCK
        };
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) as libc::ssize_t).map(|_| ())
    }
}

/// The name that a TUN descriptor's device has now; an error if it is none, or was deleted.
pub fn tun_name(fd: BorrowedFd) -> io::Result<String> {
    const TUNGETIFF: libc::Ioctl = 0x8004_54d2u32 as libc::Ioctl;
    const IFNAMSIZ: usize = 16;
    let mut request = [0u8; 40];
    // SAFETY: `struct ifreq` has 40 octets, which the kernel fills.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETIFF, request.as_mut_ptr()) };
    check(result as libc::ssize_t)?;
    let name = request[..IFNAMSIZ].split(|octet| *octet == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

/// As many open descriptors as the host allows: each queue of each device is one.
pub fn raise_descriptor_limit() {
    let both = |limit: libc::rlim_t| libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    let mut current = both(0);
    // SAFETY: the structures are local; what is refused changes nothing.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &both(1 << 20)) != 0
            && libc::getrlimit(libc::RLIMIT_NOFILE, &mut current) == 0
        {
            libc::setrlimit(libc::RLIMIT_NOFILE, &both(current.rlim_max));
        }
    }
}
