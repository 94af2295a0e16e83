//! What the path of an SA takes, asked of the host: a packet too long for any path.

use std::io;

use super::sending::target_of;
use super::Socket;
use crate::outbound::Outer;
use crate::sa::Sa;
use crate::sys;

/// More than any IP packet holds: the host refuses it and tells the path's MTU; nothing is sent.
const OVERSIZE: usize = 65_536;
const ATTEMPTS: usize = 3;
static NOTHING: [u8; OVERSIZE] = [0; OVERSIZE];

impl Socket {
    /// The MTU of the host's route for an SA's packets, in bytes; None without a route. The error
    /// queue is on for this question alone, or the ICMP errors of one peer would make sends to
    /// others fail.
    pub fn path_mtu(&self, sa: &Sa, outer: &Outer) -> Option<u32> {
        let (level, option) = if self.kind.is_v4() {
            (libc::IPPROTO_IP, libc::IP_RECVERR)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        };
        let oversize = if self.kind.is_v4() {
            &NOTHING[1..]
        } else {
            &NOTHING[..]
        };
        let mut held = self.df.write().expect("no holder of the lock panics");
        self.turn_df(&mut held, true).ok()?;
        sys::set_option(self.fd(), level, option, 1).ok()?;
        self.drain_errors();
        let target = target_of(sa, outer, None);
        let mut mtu = None;
        // A refusal may be that of a packet before, which is told once.
        for _ in 0..ATTEMPTS {
            let refused = sys::send(self.fd(), &target, oversize);
            mtu = self.drain_errors().filter(|_| is_too_big(&refused));
            if mtu.is_some() || !self.kind.needs_error_queue() {
                break;
            }
        }
        if !self.kind.needs_error_queue() {
            sys::set_option(self.fd(), level, option, 0).ok()?;
        }
        mtu
    }

    /// Empties the error queue; gives the last MTU that stood in it.
    pub(super) fn drain_errors(&self) -> Option<u32> {
        let mut mtu = None;
        let mut quoted = [0; 64];
        while let Ok(meta) = sys::receive_error(self.fd(), &mut quoted) {
            mtu = meta.control.messages().find_map(told_mtu).or(mtu);
        }
        mtu
    }
}

fn is_too_big(result: &io::Result<()>) -> bool {
    let error = result.as_ref().err();
    error.and_then(io::Error::raw_os_error) == Some(libc::EMSGSIZE)
}

/// `struct sock_extended_err`: errno, origin, type, code, then what goes with EMSGSIZE.
fn told_mtu((level, kind, payload): (i32, i32, &[u8])) -> Option<u32> {
    let is_error = matches!(
        (level, kind),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    );
    let number = |at: usize| {
        Some(u32::from_ne_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    (is_error && number(0)? == libc::EMSGSIZE as u32)
        .then(|| number(8))
        .flatten()
}
