//! The end of SAs: by time, by what workers told, by request (`xfrm_timer_handler`,
//! `xfrm_add_sa_expire`), and the agenda that says when to look.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::policy_parse::invalid;
use super::policy_requests::Request;
use super::sa_encode::encode_expired;
use super::sa_parse::{DESTINATION, FAMILY, PROTOCOL, SPI};
use super::sa_requests::mark_of;
use super::state::{Answer, State, GROUP_EXPIRE};
use super::{acquire, aevents, keepalive, mapping};
use crate::events::Event;
use crate::netlink::wire::{Message, Refusal};
use crate::netlink::xfrm::{self as x, Fields};
use crate::sa::{clock, now, Sa, DYING, EXPIRED, TOLD};
use crate::sad::{key_of, Found, SaKey};

/// `struct xfrm_user_expire`.
pub const LENGTH: usize = x::SA_INFO + 8;
const HARD: usize = x::SA_INFO;

/// What the agenda is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Sa(SaKey),
    Larval(u64),
    /// The replay state of an SA, whose listeners are told from time to time.
    Replay(SaKey),
    /// The NAT keepalives of an SA.
    Keepalive(SaKey),
}

/// When to look at what, by `clock()`; each subject stands there once at most.
#[derive(Default)]
pub struct Agenda {
    queue: BTreeSet<(u64, Subject)>,
    due: HashMap<Subject, u64>,
}

impl Agenda {
    /// Looks at a subject at a time, instead of the time before.
    pub fn put(&mut self, subject: Subject, at: u64) {
        self.remove(subject);
        self.due.insert(subject, at);
        self.queue.insert((at, subject));
    }

    pub fn remove(&mut self, subject: Subject) {
        if let Some(at) = self.due.remove(&subject) {
            self.queue.remove(&(at, subject));
        }
    }

    /// One subject whose time has come.
    pub fn take(&mut self, now: u64) -> Option<Subject> {
        let (at, subject) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.remove(subject);
        Some(subject)
    }

    /// When the next time comes.
    pub fn next(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }
}

/// What workers told and what time brings about; gives the `clock()` at which there may be more.
pub fn tick(state: &mut State) -> Option<u64> {
    tick_at(state, clock())
}

fn tick_at(state: &mut State, clock: u64) -> Option<u64> {
    let lost = state.events.lost();
    for event in state.events.take() {
        match event {
            Event::Acquire {
                policy,
                template,
                flow,
            } => acquire::acquire(state, &policy, template, &flow),
            Event::Expire { sa, .. } => look_at_life(state, &sa),
            Event::Mapping {
                sa,
                source,
                source_port,
            } => mapping::changed(state, &sa, source, source_port),
            Event::Replay { sa } => aevents::moved(state, &sa),
        }
    }
    if lost != state.events_lost {
        state.events_lost = lost;
        let all: Vec<Arc<Sa>> = state.sad.iter().cloned().collect();
        all.iter().for_each(|sa| look_at_life(state, sa));
    }
    while let Some(subject) = state.agenda.take(clock) {
        look(state, subject, clock);
    }
    state.agenda.next()
}

fn look(state: &mut State, subject: Subject, clock: u64) {
    match subject {
        Subject::Sa(key) => {
            if let Some(sa) = state.sad.get(&key).cloned() {
                look_at_times(state, &sa, clock);
            }
        }
        Subject::Larval(number) => {
            let Some(larval) = state.remove_larval(number) else {
                return;
            };
            state.notify_of(GROUP_EXPIRE, &Message::NONE, || {
                (
                    x::EXPIRE,
                    encode_expired(&larval.config, &larval.state, true),
                )
            });
        }
        Subject::Replay(key) => aevents::look(state, key, clock),
        Subject::Keepalive(key) => keepalive::look(state, key, clock),
    }
}

/// `xfrm_timer_handler()` for an SA with keys.
fn look_at_times(state: &mut State, sa: &Arc<Sa>, clock: u64) {
    let used = sa.state.first_used.load(Relaxed);
    let used_for = if used == 0 {
        0
    } else {
        now().saturating_sub(used)
    };
    let age = clock.saturating_sub(sa.config.added_clock);
    let due = sa
        .config
        .limits
        .due(age, used_for, sa.state.has_life(DYING));
    if due.hard {
        expire_hard(state, sa, &Message::NONE);
        return;
    }
    if due.soft {
        sa.state.set_life(DYING);
        tell_soft(state, sa);
    }
    if let Some(next) = due.next {
        state
            .agenda
            .put(Subject::Sa(key_of(&sa.config)), clock.saturating_add(next));
    }
}

/// After limits were changed: octets and packets at once, times when they come.
pub fn look_at_limits(state: &mut State, sa: &Arc<Sa>) {
    if sa.state.first_used.load(Relaxed) != 0 {
        sa.check_limits(0, 0);
    }
    look_at_life(state, sa);
}

/// What a worker's mark on an SA brings about, if the SA is still in force.
fn look_at_life(state: &mut State, sa: &Arc<Sa>) {
    let key = key_of(&sa.config);
    let Some(sa) = state
        .sad
        .get(&key)
        .filter(|one| Arc::ptr_eq(&one.state, &sa.state))
        .cloned()
    else {
        return;
    };
    if sa.state.has_life(EXPIRED) {
        expire_hard(state, &sa, &Message::NONE);
    } else if sa.state.has_life(DYING) {
        tell_soft(state, &sa);
    }
}

fn tell_soft(state: &mut State, sa: &Arc<Sa>) {
    if sa.state.set_life(TOLD) {
        tell(state, sa, false, &Message::NONE);
    }
}

/// The SA goes, and listeners of EXPIRE are told; those of SA are not, as with the kernel.
fn expire_hard(state: &mut State, sa: &Arc<Sa>, cause: &Message) {
    tell(state, sa, true, cause);
    state.sad.remove(&key_of(&sa.config));
    state.remove_sa(sa);
}

fn tell(state: &mut State, sa: &Sa, hard: bool, cause: &Message) {
    let cause = Message {
        sequence: 0,
        ..*cause
    };
    state.notify_of(GROUP_EXPIRE, &cause, || {
        (x::EXPIRE, encode_expired(&sa.config, &sa.state, hard))
    });
}

/// EXPIRE as a request (`xfrm_add_sa_expire`).
pub fn expire(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let fields = Fields(request.payload());
    let found = fields
        .address(DESTINATION, fields.u16(FAMILY).unwrap_or(0))
        .and_then(|destination| {
            let spi = fields.be32(SPI).unwrap_or(0);
            let protocol = fields.u8(PROTOCOL).unwrap_or(0);
            let mark = mark_of(&request.attributes);
            state.sad.find(destination, spi, protocol, mark)
        })
        .ok_or(Refusal::from(libc::ENOENT))?;
    let sa = match found {
        Found::Sa(sa) if sa.state.is_valid() => sa,
        _ => return Err(invalid("SA must be in VALID state")),
    };
    if fields.u8(HARD).unwrap_or(0) != 0 {
        expire_hard(state, &sa, request.message);
    } else {
        tell(state, &sa, false, request.message);
    }
    Answer::done()
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;
