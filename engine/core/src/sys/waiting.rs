//! Waiting for descriptors, and being woken.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, read, write_parts};

/// A set of descriptors to wait for.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: a new descriptor, which nobody else owns.
        unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            check(fd as libc::ssize_t)?;
            Ok(Epoll(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Waits for input on `fd`, which `token` names.
    pub fn add(&self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        self.control(libc::EPOLL_CTL_ADD, fd, &mut event)
    }

    pub fn remove(&self, fd: BorrowedFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        self.control(libc::EPOLL_CTL_DEL, fd, &mut event)
    }

    fn control(&self, what: i32, fd: BorrowedFd, event: &mut libc::epoll_event) -> io::Result<()> {
        // SAFETY: both descriptors are open, the event is the caller's.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), event) };
        check(result as libc::ssize_t).map(|_| ())
    }

    /// The tokens of descriptors that are ready; waits for ever if none is.
    pub fn wait(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        tokens.clear();
        // SAFETY: the array is local, with its length.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), MOST as i32, -1) };
        match check(count as libc::ssize_t) {
            Ok(count) => {
                tokens.extend(events[..count].iter().map(|event| event.u64));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A counter that wakes who waits for it (eventfd(2)).
pub struct Waker(OwnedFd);

impl Waker {
    pub fn new() -> io::Result<Waker> {
        // SAFETY: a new descriptor, which nobody else owns.
        unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            check(fd as libc::ssize_t)?;
            Ok(Waker(OwnedFd::from_raw_fd(fd)))
        }
    }

    pub fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = write_parts(self.fd(), &[io::IoSlice::new(&1u64.to_ne_bytes())]);
    }

    /// Takes the wake-up.
    pub fn clear(&self) {
        let _ = read(self.fd(), &mut [0; 8]);
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}
