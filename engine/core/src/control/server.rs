//! The control thread's loop: connections, each one netlink socket.
//!
//! A datagram of requests is carried out whole, the tables are published, then the answers go out.
//! Answers that a client does not read wait for it alone, and so does its next datagram.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::state::{Answer, Effect, State};
use super::unix;
use crate::netlink::wire::{
    self, put_acknowledgement, put_message, Message, Refusal, NLMSG_DONE, NLM_F_ACK, NLM_F_DUMP,
    NLM_F_MULTI, NLM_F_REQUEST,
};

const LONGEST_REQUEST: usize = 64 << 10;
const LONGEST_REPLY: usize = 32 << 10;
const MOST_CONNECTIONS: usize = 64;
/// Smallest type that is a request and no message about messages (`NLMSG_MIN_TYPE`).
const FIRST_TYPE: u16 = 0x10;

struct Connection {
    fd: OwnedFd,
    groups: u32,
    /// Datagrams that the client has not taken yet.
    outgoing: VecDeque<Vec<u8>>,
    /// Notifications were lost, which it is told before the next one.
    overrun: bool,
}

/// The engine's control socket and everything behind it.
pub struct Server {
    listener: OwnedFd,
    connections: Vec<Connection>,
    state: State,
    buffer: Vec<u8>,
}

/// What the loop does with a connection after a datagram.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
    Shutdown,
}

impl Server {
    /// Listens at `path`, where a socket that nobody serves any more is replaced.
    pub fn bind(path: &Path) -> io::Result<Server> {
        if unix::is_answered(path) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another engine answers there",
            ));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Server {
            listener: unix::listen(path)?,
            connections: Vec::new(),
            state: State::new()?,
            buffer: vec![0; LONGEST_REQUEST],
        })
    }

    /// Serves until it is told to shut down.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            let mut waiting: Vec<(RawFd, bool)> = vec![(self.listener.as_raw_fd(), false)];
            waiting.extend(
                self.connections
                    .iter()
                    .map(|one| (one.fd.as_raw_fd(), !one.outgoing.is_empty())),
            );
            let ready = unix::poll(&waiting)?;
            // From the end, so that closing one moves none that is still to come.
            for index in (0..self.connections.len()).rev() {
                if !ready[index + 1] {
                    continue;
                }
                let then = if waiting[index + 1].1 {
                    self.flush(index)
                } else {
                    self.serve(index)
                };
                match then {
                    Then::GoOn => {}
                    Then::Close => drop(self.connections.swap_remove(index)),
                    Then::Shutdown => return Ok(()),
                }
            }
            if ready[0] {
                self.accept();
            }
        }
    }

    fn accept(&mut self) {
        let Ok(fd) = unix::accept(self.listener.as_fd()) else {
            return;
        };
        if self.connections.len() == MOST_CONNECTIONS {
            eprintln!("plutino-engine: refused a connection: {MOST_CONNECTIONS} are open");
            return;
        }
        self.connections.push(Connection {
            fd,
            groups: 0,
            outgoing: VecDeque::new(),
            overrun: false,
        });
    }

    /// One datagram of requests.
    fn serve(&mut self, index: usize) -> Then {
        let connection = &mut self.connections[index];
        let received = match unix::receive(connection.fd.as_fd(), &mut self.buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Then::GoOn,
            Err(_) => return Then::Close,
        };
        let octets = std::mem::take(&mut self.buffer);
        let then = if received.length == 0 || received.truncated {
            Then::Close
        } else {
            match wire::messages(&octets[..received.length]) {
                None => Then::Close,
                Some(messages) => self.carry_out(index, &messages, received.descriptors.into()),
            }
        };
        self.buffer = octets;
        self.buffer[..received.length].fill(0); // it may have held keys
        then
    }

    fn carry_out(
        &mut self,
        index: usize,
        messages: &[Message],
        mut descriptors: VecDeque<OwnedFd>,
    ) -> Then {
        let mut outgoing = Outgoing::default();
        let mut shutdown = false;
        for message in messages {
            let mut result = Ok(());
            if message.flags & NLM_F_REQUEST != 0 && message.kind >= FIRST_TYPE {
                match self.state.handle(message, &mut descriptors) {
                    Ok(answer) => {
                        match answer.effect {
                            Effect::None => {}
                            Effect::Join(groups) => self.connections[index].groups = groups,
                            Effect::Shutdown => shutdown = true,
                        }
                        if outgoing.put_replies(message, answer) {
                            continue;
                        }
                    }
                    Err(refusal) => result = Err(refusal),
                }
            }
            if message.flags & NLM_F_ACK != 0 || result.is_err() {
                outgoing.put(|target| put_acknowledgement(target, message, &result));
            }
        }
        self.state.publish();
        self.notify();
        self.connections[index].outgoing.extend(outgoing.finish());
        match self.flush(index) {
            Then::GoOn if shutdown => Then::Shutdown,
            then => then,
        }
    }

    /// Sends what waits, as far as the client takes it.
    fn flush(&mut self, index: usize) -> Then {
        let connection = &mut self.connections[index];
        while let Some(datagram) = connection.outgoing.front() {
            match unix::send(connection.fd.as_fd(), datagram) {
                Ok(()) => drop(connection.outgoing.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Then::Close,
            }
        }
        Then::GoOn
    }

    /// Tells the members of each group. Who does not read loses notifications and is told so.
    fn notify(&mut self) {
        for notification in self.state.notifications.drain(..) {
            let (kind, payload) = notification.reply;
            let about = Message {
                kind: 0,
                flags: 0,
                sequence: 0,
                port: 0,
                payload: &[],
            };
            let mut datagram = Vec::new();
            put_message(&mut datagram, kind, 0, &about, &payload);
            for connection in &mut self.connections {
                if connection.groups >> (notification.group - 1) & 1 == 0 {
                    continue;
                }
                if connection.overrun {
                    let mut lost = Vec::new();
                    let refusal = Refusal::from(libc::ENOBUFS);
                    put_acknowledgement(&mut lost, &about, &Err(refusal));
                    connection.overrun = unix::send(connection.fd.as_fd(), &lost).is_err();
                }
                // After answers that still wait nothing may overtake them.
                connection.overrun = connection.overrun
                    || !connection.outgoing.is_empty()
                    || unix::send(connection.fd.as_fd(), &datagram).is_err();
            }
        }
    }
}

/// Answers, split into datagrams.
#[derive(Default)]
struct Outgoing {
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Outgoing {
    fn put(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.current.len() > LONGEST_REPLY {
            self.done.push(std::mem::take(&mut self.current));
        }
        encode(&mut self.current);
    }

    /// The messages before the acknowledgement; true if a dump has ended, which needs none.
    fn put_replies(&mut self, to: &Message, answer: Answer) -> bool {
        let dump = to.flags & NLM_F_DUMP == NLM_F_DUMP && is_get(to.kind);
        let flags = if dump { NLM_F_MULTI } else { 0 };
        for (kind, payload) in answer.replies {
            self.put(|target| put_message(target, kind, flags, to, &payload));
        }
        if dump {
            self.put(|target| put_message(target, NLMSG_DONE, NLM_F_MULTI, to, &[0; 4]));
        }
        dump
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.current.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

/// Requests that may be dumps; for others the same bits are REPLACE and EXCL.
fn is_get(kind: u16) -> bool {
    use crate::netlink::{engine, xfrm};
    matches!(
        kind,
        xfrm::GETSA | xfrm::GETPOLICY | engine::GETDEV | engine::GETSOCK
    )
}
