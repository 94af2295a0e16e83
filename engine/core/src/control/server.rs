//! The control thread's loop: connections, each one netlink socket.
//!
//! A datagram of requests is carried out whole, the tables are published, then the answers go out.
//! Answers that a client does not read wait for it alone, and so does its next datagram.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use zeroize::Zeroizing;

use super::client::{Answers, Client};
use super::state::{Effect, State};
use super::unix;
use crate::netlink::wire::{
    self, put_acknowledgement, put_message, Message, Refusal, HEADER, NLM_F_ACK, NLM_F_REQUEST,
};
use crate::sa::now;
use crate::sys;

const LONGEST_REQUEST: usize = 64 << 10;
const MOST_CONNECTIONS: usize = 64;
/// Seconds after which the clock is looked at again.
const LONGEST_WAIT: u64 = 3600;
/// Smallest type that is a request and no message about messages (`NLMSG_MIN_TYPE`).
const FIRST_TYPE: u16 = 0x10;

/// The engine's control socket and everything behind it.
pub struct Server {
    listener: OwnedFd,
    clients: Vec<Client>,
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
        sys::raise_descriptor_limit();
        Ok(Server {
            listener: unix::listen(path)?,
            clients: Vec::new(),
            state: State::new()?,
            buffer: vec![0; LONGEST_REQUEST],
        })
    }

    /// Serves until it is told to shut down.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            let timeout = self.tick();
            let mut waiting: Vec<(RawFd, bool)> = vec![(self.listener.as_raw_fd(), false)];
            let clients = self.clients.iter();
            waiting.extend(clients.map(|one| (one.fd.as_raw_fd(), one.is_waiting())));
            // What workers tell is looked at in `tick`.
            waiting.push((self.state.events.waker().fd().as_raw_fd(), false));
            let ready = unix::poll(&waiting, timeout)?;
            // From the end, so that closing one moves none that is still to come.
            for index in (0..self.clients.len()).rev() {
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
                    Then::Close => {
                        self.clients.swap_remove(index);
                        self.listen_for();
                    }
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
        if self.clients.len() == MOST_CONNECTIONS {
            eprintln!("plutino-engine: refused a connection: {MOST_CONNECTIONS} are open");
            return;
        }
        self.clients.push(Client::new(fd));
    }

    /// One datagram of requests.
    fn serve(&mut self, index: usize) -> Then {
        let client = &self.clients[index];
        let received = match unix::receive(client.fd.as_fd(), &mut self.buffer) {
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
        let mut answers = Answers::default();
        let mut shutdown = false;
        for message in messages {
            let mut result = Ok(());
            let mut warning = None;
            if answers.is_full() {
                result = Err(Refusal::from(libc::ENOBUFS));
            } else if message.flags & NLM_F_REQUEST != 0 && message.kind >= FIRST_TYPE {
                match self.state.handle(message, &mut descriptors) {
                    Ok(answer) => {
                        match answer.effect {
                            Effect::None | Effect::Dump(_) => {}
                            Effect::Join(groups) => {
                                self.clients[index].groups = groups;
                                self.listen_for();
                            }
                            Effect::Shutdown => shutdown = true,
                        }
                        warning = answer.warning;
                        if answers.put_replies(message, answer) {
                            continue;
                        }
                    }
                    Err(refusal) => result = Err(refusal),
                }
            }
            if message.flags & NLM_F_ACK != 0 || result.is_err() {
                answers.put(|target| put_acknowledgement(target, message, &result, warning));
            }
        }
        self.state.publish();
        self.notify();
        self.clients[index].queue(answers);
        match self.flush(index) {
            Then::GoOn if shutdown => Then::Shutdown,
            then => then,
        }
    }

    /// Sends what waits, as far as the client takes it.
    fn flush(&mut self, index: usize) -> Then {
        match self.clients[index].flush(&self.state.sad, &self.state.spd) {
            Ok(()) => Then::GoOn,
            Err(_) => Then::Close,
        }
    }

    /// Tells the members of each group. Who does not read loses notifications and is told so.
    fn notify(&mut self) {
        for notification in self.state.notifications.drain(..) {
            let (kind, payload) = notification.reply;
            let payload = Zeroizing::new(payload); // it may hold keys
            let about = Message {
                sequence: notification.sequence,
                port: notification.port,
                ..Message::NONE
            };
            let mut datagram = Zeroizing::new(Vec::with_capacity(HEADER + payload.len() + 4));
            put_message(&mut datagram, kind, 0, &about, &payload);
            for client in &mut self.clients {
                let told = client.notify(notification.group, &datagram);
                self.state.notifications_lost += u64::from(!told);
            }
        }
    }

    /// What the members of any group make worth telling.
    fn listen_for(&mut self) {
        let heard = self.clients.iter().fold(0, |all, one| all | one.groups);
        self.state.listen(heard);
    }

    /// What time brings about; gives the milliseconds to wait at most.
    fn tick(&mut self) -> i32 {
        let now = now();
        let deadline = self.state.tick(now);
        self.state.publish();
        self.notify();
        deadline.map_or(-1, |deadline| {
            let seconds = deadline.saturating_sub(now).clamp(1, LONGEST_WAIT);
            seconds as i32 * 1000
        })
    }
}
