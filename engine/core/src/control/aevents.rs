//! NEWAE and GETAE: replay and lifetime state of an SA, set, asked for and told from time to time
//! (`xfrm_new_ae`, `xfrm_get_ae`, `xfrm_replay_notify`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use super::expiry::Subject;
use super::policy_parse::invalid;
use super::policy_requests::Request;
use super::sa_encode::{current_lifetime, id, put_cpu, put_direction, put_mark, put_replay};
use super::sa_parse::set_lifetime;
use super::sa_requests::mark_of;
use super::state::{Answer, State, GROUP_AEVENTS};
use crate::netlink::wire::{put_attribute, Message, Refusal};
use crate::netlink::xfrm::{self as x, Fields, ReplayEsn};
use crate::replay::ReplayWindow;
use crate::sa::{clock, now, ReplayForm, Sa, SaConfig, SaState, DELETED};
use crate::sad::{key_of, Found, SaKey};

/// `struct xfrm_aevent_id`.
pub const LENGTH: usize = x::SA_ID + 24;
const SOURCE: usize = x::SA_ID;
const FLAGS: usize = SOURCE + 16;
const NLM_F_REPLACE: u16 = 0x100;

/// `XFRM_AE_*`: what an aevent holds, and why it came.
const RTHR: u32 = 1;
const ETHR: u32 = 8;
const CR: u32 = 16;
const CE: u32 = 32;
const CU: u32 = 64;

fn named(state: &State, request: &Request) -> Result<Found, Refusal> {
    let fields = Fields(request.payload());
    let destination = fields.address(0, fields.u16(20).unwrap_or(0));
    let (spi, protocol) = (fields.be32(16).unwrap_or(0), fields.u8(22).unwrap_or(0));
    destination
        .and_then(|address| {
            state
                .sad
                .find(address, spi, protocol, mark_of(&request.attributes))
        })
        .ok_or(Refusal::from(libc::ESRCH))
}

/// `build_aevent()`.
fn encode(config: &SaConfig, state: &SaState, flags: u32) -> Vec<u8> {
    let mut message = id(config).to_vec();
    message.extend(x::address_octets(config.source));
    message.extend(flags.to_ne_bytes());
    message.extend(config.reqid.to_ne_bytes());
    put_replay(&mut message, config, state);
    put_attribute(
        &mut message,
        x::XFRMA_LTIME_VAL,
        &current_lifetime(config, state),
    );
    if flags & RTHR != 0 {
        let threshold = state.replay_threshold.load(Relaxed);
        put_attribute(
            &mut message,
            x::XFRMA_REPLAY_THRESH,
            &threshold.to_ne_bytes(),
        );
    }
    if flags & ETHR != 0 {
        put_attribute(
            &mut message,
            x::XFRMA_ETIMER_THRESH,
            &config.replay_age.to_ne_bytes(),
        );
    }
    put_mark(&mut message, config);
    if config.if_id != 0 {
        put_attribute(&mut message, x::XFRMA_IF_ID, &config.if_id.to_ne_bytes());
    }
    put_cpu(&mut message, config);
    put_direction(&mut message, config);
    message
}

pub fn get(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let flags = Fields(request.payload()).u32(FLAGS).unwrap_or(0);
    let message = match named(state, request)? {
        Found::Sa(sa) => encode(&sa.config, &sa.state, flags),
        Found::Larval(larval) => encode(&larval.config, &larval.state, flags),
    };
    Answer::of(vec![(x::NEWAE, message)])
}

pub fn set(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let attributes = &request.attributes;
    let changing = [
        x::XFRMA_LTIME_VAL,
        x::XFRMA_REPLAY_VAL,
        x::XFRMA_REPLAY_ESN_VAL,
        x::XFRMA_ETIMER_THRESH,
        x::XFRMA_REPLAY_THRESH,
    ];
    if changing
        .iter()
        .all(|number| attributes.get(*number).is_none())
    {
        return Err(invalid("Missing required attribute for AE"));
    }
    if request.message.flags & NLM_F_REPLACE == 0 {
        return Err(invalid("NLM_F_REPLACE flag is required"));
    }
    let sa = match named(state, request)? {
        Found::Sa(sa) if sa.state.is_valid() => sa,
        _ => return Err(invalid("SA must be in VALID state")),
    };
    let replay = told_replay(&sa.config, request)?;
    let sa = change(state, &sa, replay, request);
    state.notify_of(GROUP_AEVENTS, request.message, || {
        (x::NEWAE, encode(&sa.config, &sa.state, CU))
    });
    Answer::done()
}

/// The replay state of a request in the form that the SA has (`xfrm_replay_verify_len`); of the
/// other form it means nothing.
fn told_replay(config: &SaConfig, request: &Request) -> Result<Option<ReplayEsn>, Refusal> {
    match config.replay_form {
        ReplayForm::Legacy { window } => {
            let Some(fields) = request.attributes.get(x::XFRMA_REPLAY_VAL).map(Fields) else {
                return Ok(None);
            };
            let number = |at| fields.u32(at).unwrap_or(0);
            let mut ring = ReplayWindow::new(u32::from(window), false);
            ring.restore_legacy(number(4), number(8));
            Ok(Some(ReplayEsn {
                oseq: u64::from(number(0)),
                seq: ring.seq(),
                window: ring.window(),
                bitmap: ring.bitmap(),
                words: 0,
            }))
        }
        ReplayForm::Bitmap { words } => {
            let Some(octets) = request.attributes.get(x::XFRMA_REPLAY_ESN_VAL) else {
                return Ok(None);
            };
            let told = x::parse_replay(octets).ok_or(invalid("ESN attribute is too short"))?;
            if octets.len() < x::REPLAY_HEADER + 4 * told.words as usize {
                return Err(invalid("ESN attribute is too short"));
            }
            if told.words != words {
                return Err(invalid(
                    "New ESN size doesn't match the existing SA's ESN size",
                ));
            }
            if told.window > 32 * words {
                return Err(invalid("ESN replay window is longer than the bitmap"));
            }
            Ok(Some(told))
        }
    }
}

/// `xfrm_update_ae_params()`. Sequence numbers that go back begin a new series of IVs, and who still
/// sends by the old one stops: no IV comes twice under one key.
fn change(
    state: &mut State,
    old: &Arc<Sa>,
    replay: Option<ReplayEsn>,
    request: &Request,
) -> Arc<Sa> {
    let attributes = &request.attributes;
    let mut running = Arc::clone(&old.state);
    if let Some(told) = replay {
        let mut window = ReplayWindow::new(told.window, old.esn());
        window.restore(told.seq, &told.bitmap);
        if told.oseq < running.oseq.load(Relaxed) {
            running = Arc::new(successor(&old.state, told.oseq, window));
            old.state.set_life(DELETED);
        } else {
            // A worker may reserve numbers meanwhile: the counter only goes up.
            running.oseq.fetch_max(told.oseq, Relaxed);
            *running
                .replay
                .lock()
                .expect("no worker panics while it holds the lock") = window;
        }
        running.told_seq.store(told.seq, Relaxed);
        running.told_oseq.store(told.oseq, Relaxed);
    }
    let mut config = old.config.clone();
    let lifetime = attributes.get(x::XFRMA_LTIME_VAL).map(Fields);
    set_lifetime(&running, lifetime);
    if let Some(added) = lifetime.and_then(|fields| fields.u64(16)) {
        config.added = added;
        config.added_clock = clock().saturating_sub(now().saturating_sub(added));
    }
    if let Some(age) = attributes.get_u32(x::XFRMA_ETIMER_THRESH) {
        config.replay_age = age;
    }
    if let Some(threshold) = attributes.get_u32(x::XFRMA_REPLAY_THRESH) {
        running.replay_threshold.store(threshold, Relaxed);
    }
    if let Some(threshold) = attributes.get_u32(x::XFRMA_MTIMER_THRESH) {
        config.mapping_threshold = threshold;
    }
    let new = state.sad.replace(Sa {
        config,
        transform: Arc::clone(&old.transform),
        state: running,
    });
    state.replace_sa(old, &new);
    new
}

/// State with another series of numbers and IVs, and the same counters.
fn successor(old: &SaState, oseq: u64, window: ReplayWindow) -> SaState {
    let new = SaState::new(oseq, window);
    let copy = |from: &AtomicU64, to: &AtomicU64| to.store(from.load(Relaxed), Relaxed);
    copy(&old.octets, &new.octets);
    copy(&old.packets, &new.packets);
    copy(&old.first_used, &new.first_used);
    copy(&old.last_used, &new.last_used);
    let copy = |from: &AtomicU32, to: &AtomicU32| to.store(from.load(Relaxed), Relaxed);
    copy(&old.replay_window_drops, &new.replay_window_drops);
    copy(&old.replay_drops, &new.replay_drops);
    copy(&old.integrity_failures, &new.integrity_failures);
    copy(&old.replay_threshold, &new.replay_threshold);
    new.take_life(old);
    new
}

fn numbers(state: &SaState) -> (u64, u64) {
    let window = state
        .replay
        .lock()
        .expect("no worker panics while it holds the lock");
    (window.seq(), state.oseq.load(Relaxed))
}

/// A worker told that an SA's replay state has moved by its threshold.
pub fn moved(state: &mut State, sa: &Arc<Sa>) {
    let key = key_of(&sa.config);
    let current = state.sad.get(&key).cloned();
    if let Some(sa) = current.filter(|one| Arc::ptr_eq(&one.state, &sa.state)) {
        let (seq, _) = numbers(&sa.state);
        if sa.state.replay_moved(seq) {
            tell(state, &sa, CR);
            await_next(state, &sa, clock());
        }
    }
}

/// The time between two aevents is over.
pub fn look(state: &mut State, key: SaKey, clock: u64) {
    let Some(sa) = state.sad.get(&key).cloned() else {
        return;
    };
    let told = (
        sa.state.told_seq.load(Relaxed),
        sa.state.told_oseq.load(Relaxed),
    );
    if sa.state.is_valid() && numbers(&sa.state) != told {
        tell(state, &sa, CE);
    }
    await_next(state, &sa, clock);
}

fn tell(state: &mut State, sa: &Sa, why: u32) {
    let (seq, oseq) = numbers(&sa.state);
    sa.state.told_seq.store(seq, Relaxed);
    sa.state.told_oseq.store(oseq, Relaxed);
    state.notify_of(GROUP_AEVENTS, &Message::NONE, || {
        (x::NEWAE, encode(&sa.config, &sa.state, why))
    });
}

/// Looks at an SA again after its XFRMA_ETIMER_THRESH, as long as somebody listens.
pub fn await_next(state: &mut State, sa: &Sa, clock: u64) {
    let age = u64::from(sa.config.replay_age).div_ceil(10);
    if age != 0 && state.tables.aevents {
        state
            .agenda
            .put(Subject::Replay(key_of(&sa.config)), clock + age);
    }
}
