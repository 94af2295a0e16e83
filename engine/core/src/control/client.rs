//! One connection to the control socket: what waits to be sent, and notifications that were lost.
//!
//! A client is read only after it has taken all answers to what it asked before. So what waits for it
//! are the answers to one datagram, bounded too, and a dump is made piece by piece as it is taken.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use zeroize::Zeroizing;

use super::dump::Dump;
use super::state::{Answer, Effect};
use super::unix;
use crate::netlink::wire::{
    put_acknowledgement, put_message, Message, Refusal, NLMSG_DONE, NLM_F_DUMP, NLM_F_MULTI,
};
use crate::sad::Sad;
use crate::spd::Spd;

/// Octets after which answers go on in another datagram.
const LONGEST_REPLY: usize = 32 << 10;
/// Octets of answers after which the rest of a datagram's requests is refused.
const MOST_WAITING: usize = 1 << 20;
/// Octets of one message.
const LONGEST_MESSAGE: usize = 4 << 10;
/// Pieces of a dump that are made for a client before others have their turn.
const PIECES: usize = 8;

enum Outgoing {
    /// It may hold keys.
    Datagram(Zeroizing<Vec<u8>>),
    Dump(Dump),
}

/// A connection; each is one netlink socket.
pub struct Client {
    pub fd: OwnedFd,
    /// Memberships, bit n-1 for group n.
    pub groups: u32,
    /// What the client has not taken yet.
    outgoing: VecDeque<Outgoing>,
    /// Notifications were lost, which it is told as soon as there is room.
    overrun: bool,
}

impl Client {
    pub fn new(fd: OwnedFd) -> Client {
        Client {
            fd,
            groups: 0,
            outgoing: VecDeque::new(),
            overrun: false,
        }
    }

    /// Whether something waits for the client to read; then nothing is read from it.
    pub fn is_waiting(&self) -> bool {
        self.overrun || !self.outgoing.is_empty()
    }

    pub fn queue(&mut self, answers: Answers) {
        self.outgoing.extend(answers.finish());
    }

    /// Sends what waits, as far as the client takes it. An error means that it is gone.
    pub fn flush(&mut self, sad: &Sad, spd: &Spd) -> io::Result<()> {
        let mut pieces = 0;
        while let Some(first) = self.outgoing.front_mut() {
            match first {
                Outgoing::Datagram(datagram) => {
                    if !try_send(&self.fd, datagram)? {
                        return Ok(());
                    }
                    self.outgoing.pop_front();
                }
                Outgoing::Dump(_) if pieces == PIECES => return Ok(()),
                Outgoing::Dump(dump) => {
                    pieces += 1;
                    // Never outgrown, so that no copy of a key is left behind.
                    let room = LONGEST_REPLY + LONGEST_MESSAGE;
                    let mut piece = Zeroizing::new(Vec::with_capacity(room));
                    if dump.go_on(sad, spd, &mut piece, LONGEST_REPLY) {
                        self.outgoing.pop_front();
                    }
                    self.outgoing.push_front(Outgoing::Datagram(piece));
                }
            }
        }
        if self.overrun {
            let mut lost = Vec::new();
            let refusal = Err(Refusal::from(libc::ENOBUFS));
            put_acknowledgement(&mut lost, &Message::NONE, &refusal, None);
            self.overrun = !try_send(&self.fd, &lost)?;
        }
        Ok(())
    }

    /// Tells of a change; false if that is lost. What does not go at once is: after answers that
    /// still wait, or the word of other losses, nothing may overtake.
    pub fn notify(&mut self, group: u32, datagram: &[u8]) -> bool {
        if self.groups >> (group - 1) & 1 == 0 {
            return true;
        }
        // One that is gone is found out when it is read next.
        self.overrun = self.is_waiting() || !try_send(&self.fd, datagram).unwrap_or(true);
        !self.overrun
    }
}

/// False if the client has no room.
fn try_send(fd: &OwnedFd, datagram: &[u8]) -> io::Result<bool> {
    match unix::send(fd.as_fd(), datagram) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The answers to a datagram of requests, split into datagrams.
#[derive(Default)]
pub struct Answers {
    done: Vec<Outgoing>,
    octets: usize,
    current: Zeroizing<Vec<u8>>,
}

impl Answers {
    pub fn put(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.current.len() > LONGEST_REPLY {
            self.close();
        }
        // Never outgrown, so that no copy of a key is left behind.
        if self.current.is_empty() {
            self.current.reserve(LONGEST_REPLY + LONGEST_MESSAGE);
        }
        let before = self.current.len();
        encode(&mut self.current);
        self.octets += self.current.len() - before;
    }

    /// Whether so much waits already that nothing more may be asked.
    pub fn is_full(&self) -> bool {
        self.octets > MOST_WAITING
    }

    /// The messages before the acknowledgement; true if a dump has ended, which needs none.
    pub fn put_replies(&mut self, to: &Message, answer: Answer) -> bool {
        if let Effect::Dump(database) = answer.effect {
            self.close();
            self.done.push(Outgoing::Dump(Dump::new(database, to)));
            return true;
        }
        let dump = to.flags & NLM_F_DUMP == NLM_F_DUMP && is_get(to.kind);
        let flags = if dump { NLM_F_MULTI } else { 0 };
        for (kind, payload) in answer.replies {
            let payload = Zeroizing::new(payload);
            self.put(|target| put_message(target, kind, flags, to, &payload));
        }
        if dump {
            self.put(|target| put_message(target, NLMSG_DONE, NLM_F_MULTI, to, &[0; 4]));
        }
        dump
    }

    fn close(&mut self) {
        if !self.current.is_empty() {
            let datagram = std::mem::take(&mut self.current);
            self.done.push(Outgoing::Datagram(datagram));
        }
    }

    fn finish(mut self) -> Vec<Outgoing> {
        self.close();
        self.done
    }
}

/// Requests that may be dumps; for others the same bits are REPLACE and EXCL.
fn is_get(kind: u16) -> bool {
    use crate::netlink::engine;
    matches!(
        kind,
        engine::GETDEV | engine::GETSOCK | engine::GETDROP | engine::GETMAP
    )
}
