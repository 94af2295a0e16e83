//! UNIX sockets of type SOCK_SEQPACKET, with descriptors: what the standard library does not have.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Descriptors that one datagram may bring: the queues of one device.
const MOST_DESCRIPTORS: usize = 16;
const CONTROL: usize = 16 + 4 * MOST_DESCRIPTORS;

/// What came with a datagram.
pub struct Received {
    /// 0 at the end of the connection.
    pub length: usize,
    pub truncated: bool,
    pub descriptors: Vec<OwnedFd>,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a new descriptor, which nobody else owns.
    unsafe {
        Ok(OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_UNIX,
            kind,
            0,
        ))?))
    }
}

fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    let octets = OsStr::as_bytes(path.as_os_str());
    // SAFETY: `sockaddr_un` is a C structure of numbers, for which all zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if octets.len() >= address.sun_path.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a socket's path has at most {} bytes",
                address.sun_path.len() - 1
            ),
        ));
    }
    address.sun_family = libc::AF_UNIX as u16;
    for (target, octet) in address.sun_path.iter_mut().zip(octets) {
        *target = *octet as libc::c_char;
    }
    Ok((address, size_of::<libc::sockaddr_un>() as libc::socklen_t))
}

/// Whether somebody answers at a path.
pub fn is_answered(path: &Path) -> bool {
    let Ok((address, length)) = address(path) else {
        return false;
    };
    let Ok(fd) = socket() else { return false };
    // SAFETY: the address is local, with its length.
    unsafe { libc::connect(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) == 0 }
}

/// A listening socket that only its owner can reach.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let (address, length) = address(path)?;
    let fd = socket()?;
    // SAFETY: the address is local, with its length; umask takes and gives a number.
    unsafe {
        let mask = libc::umask(0o177);
        let bound = libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length);
        let result = check(bound);
        libc::umask(mask);
        result?;
        check(libc::listen(fd.as_raw_fd(), 16))?;
    }
    Ok(fd)
}

/// The next connection.
pub fn accept(listener: BorrowedFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for; the new descriptor is owned by nobody else.
    unsafe {
        let fd = libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        );
        Ok(OwnedFd::from_raw_fd(check(fd)?))
    }
}

#[repr(C, align(8))]
struct Ancillary([u8; CONTROL]);

/// One datagram and the descriptors that came with it.
pub fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Ancillary([0; CONTROL]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `msghdr` is a C structure of numbers and pointers, for which all zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    // SAFETY: every pointer in `message` is to a local buffer or the caller's, with its length.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Received {
        length: length as usize,
        truncated: message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        descriptors: descriptors(&control.0[..message.msg_controllen]),
    })
}

/// Owns what SCM_RIGHTS brought, so that nothing stays open by mistake.
fn descriptors(mut control: &[u8]) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    while control.len() >= 16 {
        let length = usize::from_ne_bytes(control[..8].try_into().expect("eight octets"));
        let level = i32::from_ne_bytes(control[8..12].try_into().expect("four octets"));
        let kind = i32::from_ne_bytes(control[12..16].try_into().expect("four octets"));
        if length < 16 || length > control.len() {
            break;
        }
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            for number in control[16..length].chunks_exact(4) {
                let number = RawFd::from_ne_bytes(number.try_into().expect("four octets"));
                // SAFETY: the kernel has just opened this descriptor for us.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        control = &control[length.next_multiple_of(8).min(control.len())..];
    }
    descriptors
}

/// One datagram; an error at once if the peer does not read.
pub fn send(fd: BorrowedFd, octets: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is the caller's, with its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), octets.as_ptr().cast(), octets.len(), flags) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Waits for input, or for room to write where `writing` says so, but no longer than some
/// milliseconds (-1: as long as it takes); gives which are ready.
pub fn poll(descriptors: &[(RawFd, bool)], timeout: libc::c_int) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|(fd, writing)| libc::pollfd {
            fd: *fd,
            events: if *writing {
                libc::POLLOUT
            } else {
                libc::POLLIN
            },
            revents: 0,
        })
        .collect();
    // SAFETY: the array is local, with its length.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Ok(vec![false; descriptors.len()])
        }
        Err(error) => Err(error),
        Ok(_) => Ok(polled.iter().map(|one| one.revents != 0).collect()),
    }
}
