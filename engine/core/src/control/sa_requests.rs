//! NEWSA, UPDSA, DELSA, GETSA, FLUSHSA and GETSADINFO, and the way of every request about SAs:
//! length, attributes, then what serves it (`xfrm_user_rcv_msg`).

use std::net::IpAddr;
use std::sync::Arc;

use super::dump::{Database, SaFilter};
use super::policy_requests::Request;
use super::sa_encode::{encode, encode_deleted, encode_larval};
use super::sa_parse::parse;
use super::state::{Answer, Effect, State, GROUP_SA};
use super::{acquire, aevents, allocate_spi, expiry, migrate_state};
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::{put_attribute, Message, Refusal, NLM_F_DUMP};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::Mark;
use crate::sa::{Encapsulation, Sa, SaConfig, DYING, TOLD};
use crate::sad::{key_of, protocol_matches, Found};

pub fn invalid(words: &str) -> Refusal {
    Refusal::new(libc::EINVAL, words)
}

/// The last attribute of a number, as the kernel reads it.
pub fn find<'a>(attributes: &[(u16, &'a [u8])], number: u16) -> Option<&'a [u8]> {
    attributes
        .iter()
        .rev()
        .find(|(other, _)| *other == number)
        .map(|(_, payload)| *payload)
}

/// Octets of the fixed structure (`xfrm_msg_min`); None for what is no request about SAs.
fn fixed_length(kind: u16) -> Option<usize> {
    match kind {
        x::NEWSA | x::UPDSA => Some(x::SA_INFO),
        x::DELSA | x::GETSA => Some(x::SA_ID),
        x::ALLOCSPI => Some(allocate_spi::LENGTH),
        x::ACQUIRE => Some(acquire::LENGTH),
        x::EXPIRE => Some(expiry::LENGTH),
        x::FLUSHSA => Some(1),
        x::NEWAE | x::GETAE => Some(aevents::LENGTH),
        x::GETSADINFO => Some(4),
        x::MIGRATE_STATE => Some(migrate_state::LENGTH),
        _ => None,
    }
}

/// Whether a request is about SAs.
pub fn serves(kind: u16) -> bool {
    fixed_length(kind).is_some()
}

/// One request about SAs.
pub fn serve(state: &mut State, message: &Message) -> Result<Answer, Refusal> {
    // Either bit makes a dump of it.
    let dump = message.kind == x::GETSA && message.flags & NLM_F_DUMP != 0;
    let fixed = if dump {
        0
    } else {
        fixed_length(message.kind).unwrap_or(0)
    };
    let attributes = Attributes::parse(message.payload, fixed)?;
    let warning = attributes.warning;
    let request = Request {
        message,
        attributes,
    };
    let result = if dump {
        self::dump(&request.attributes)
    } else {
        carry_out(state, &request)
    };
    match result {
        Ok(answer) => Ok(Answer { warning, ..answer }),
        Err(mut refusal) => {
            refusal.words = refusal.words.or(warning.map(str::to_owned));
            Err(refusal)
        }
    }
}

fn carry_out(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let kind = request.message.kind;
    reject_unused(kind, &request.attributes)?;
    match kind {
        x::NEWSA => add(state, request),
        x::UPDSA => update(state, request),
        x::DELSA => delete(state, request),
        x::GETSA => get(state, request),
        x::FLUSHSA => flush(state, request),
        x::GETSADINFO => info(state, request),
        x::ALLOCSPI => allocate_spi::allocate(state, request),
        x::ACQUIRE => acquire::ask(state, request),
        x::EXPIRE => expiry::expire(state, request),
        x::NEWAE => aevents::set(state, request),
        x::GETAE => aevents::get(state, request),
        x::MIGRATE_STATE => migrate_state::migrate(state, request),
        _ => Err(Refusal::from(libc::EINVAL)),
    }
}

/// `xfrm_reject_unused_attr()`.
fn reject_unused(kind: u16, attributes: &Attributes) -> Result<(), Refusal> {
    let describes = matches!(kind, x::NEWSA | x::UPDSA | x::ALLOCSPI);
    if attributes.get(x::XFRMA_SA_DIR).is_some() && !describes {
        return Err(invalid("Invalid attribute SA_DIR"));
    }
    if attributes.get(x::XFRMA_SA_PCPU).is_some() && !describes && kind != x::ACQUIRE {
        return Err(invalid("Invalid attribute SA_PCPU"));
    }
    Ok(())
}

/// `xfrm_state_add()`.
fn add(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let sa = parse(request.payload(), &request.attributes)?;
    if locate(state, &sa.config).is_some() {
        return Err(Refusal::from(libc::EEXIST));
    }
    forget_larval(state, &sa.config);
    let sa = state.sad.add(sa).ok_or(Refusal::from(libc::EEXIST))?;
    state.insert_sa(&sa);
    state.notify_of(GROUP_SA, request.message, || {
        (x::NEWSA, encode(&sa).to_vec())
    });
    Answer::done()
}

/// What has the identity of an SA (`__xfrm_state_locate`).
fn locate(state: &State, config: &SaConfig) -> Option<Found> {
    let mark = config.mark.value & config.mark.mask;
    state
        .sad
        .find(config.destination, config.spi, config.protocol, mark)
}

/// The larval SA that an SA was asked for by goes when it comes: the one of its acquire, or one that
/// is like it.
fn forget_larval(state: &mut State, config: &SaConfig) {
    let mark = config.mark.value & config.mark.mask;
    let of_sequence = (config.sequence != 0)
        .then(|| {
            state
                .sad
                .larval_of_sequence(mark, config.sequence, config.cpu)
        })
        .flatten()
        .filter(|larval| {
            larval.config.protocol == config.protocol
                && larval.config.destination == config.destination
        });
    let found = of_sequence.or_else(|| state.sad.larval_like(config));
    if let Some(number) = found.map(|larval| larval.number) {
        state.remove_larval(number);
    }
}

/// `xfrm_state_update()`. Of an SA with keys only its encapsulation, care-of address, limits, output
/// mark and if_id change: keys, sequence numbers and window stay as they are, so no number comes
/// twice under one key. A larval SA is replaced by all that is told.
fn update(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let told = parse(request.payload(), &request.attributes)?;
    let told = match locate(state, &told.config).ok_or(Refusal::from(libc::ESRCH))? {
        Found::Larval(larval) => {
            let direction = told.config.direction;
            if direction.is_some() && larval.config.direction != direction {
                return Err(Refusal::from(libc::ESRCH));
            }
            state.remove_larval(larval.number);
            let sa = state.sad.add(told).ok_or(Refusal::from(libc::EEXIST))?;
            state.insert_sa(&sa);
            sa
        }
        Found::Sa(old) => {
            if old.config.direction != told.config.direction {
                return Err(Refusal::from(libc::ESRCH));
            }
            change(state, &old, &told)?;
            Arc::new(told)
        }
    };
    state.notify_of(GROUP_SA, request.message, || {
        (x::UPDSA, encode(&told).to_vec())
    });
    Answer::done()
}

fn change(state: &mut State, old: &Arc<Sa>, told: &Sa) -> Result<(), Refusal> {
    let encapsulated = |sa: &Sa| sa.config.encapsulation != Encapsulation::Esp;
    if !old.state.is_valid() || encapsulated(old) != encapsulated(told) {
        return Err(Refusal::from(libc::EINVAL));
    }
    let (before, after) = (&old.config, &told.config);
    let has_mark = after.output_mark.value | after.output_mark.mask != 0;
    let config = SaConfig {
        encapsulation: after.encapsulation,
        original_address: after.original_address.clone(),
        care_of: before
            .care_of
            .as_ref()
            .map(|old| after.care_of.as_ref().unwrap_or(old).clone()),
        limits: after.limits.clone(),
        output_mark: if has_mark {
            after.output_mark
        } else {
            before.output_mark
        },
        if_id: if after.if_id != 0 {
            after.if_id
        } else {
            before.if_id
        },
        ..before.clone()
    };
    old.state.clear_life(DYING | TOLD);
    let new = state.sad.replace(Sa {
        config,
        transform: Arc::clone(&old.transform),
        state: Arc::clone(&old.state),
    });
    state.replace_sa(old, &new);
    expiry::look_at_limits(state, &new);
    Ok(())
}

/// What `struct xfrm_usersa_id` and its mark name (`xfrm_user_state_lookup`).
fn named(state: &State, request: &Request) -> Result<Found, Refusal> {
    let fields = Fields(request.payload());
    let protocol = fields.u8(22).unwrap_or(0);
    // Protocols without SPI are named by both addresses; the engine has none of them.
    if !protocol_matches(protocol, 255) && request.attributes.get(x::XFRMA_SRCADDR).is_none() {
        return Err(Refusal::from(libc::EINVAL));
    }
    let destination: Option<IpAddr> = fields.address(0, fields.u16(20).unwrap_or(0));
    let mark = mark_of(&request.attributes);
    destination
        .and_then(|address| {
            state
                .sad
                .find(address, fields.be32(16).unwrap_or(0), protocol, mark)
        })
        .ok_or(Refusal::from(libc::ESRCH))
}

/// `xfrm_mark_get()`.
pub fn mark_of(attributes: &Attributes) -> u32 {
    let mark = attributes.get(x::XFRMA_MARK).and_then(x::parse_mark);
    mark.map_or(0, |Mark { value, mask }| value & mask)
}

fn delete(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let message = match named(state, request)? {
        Found::Sa(sa) => {
            state.sad.remove(&key_of(&sa.config));
            state.remove_sa(&sa);
            encode_deleted(&sa.config, Some(sa.transform.algorithms()), &sa.state)
        }
        Found::Larval(larval) => {
            state.remove_larval(larval.number);
            encode_deleted(&larval.config, None, &larval.state)
        }
    };
    state.notify_of(GROUP_SA, request.message, || (x::DELSA, message.to_vec()));
    Answer::done()
}

fn get(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let message = match named(state, request)? {
        Found::Sa(sa) => encode(&sa),
        Found::Larval(larval) => encode_larval(&larval),
    };
    Answer::of(vec![(x::NEWSA, message.to_vec())])
}

/// `xfrm_dump_sa()`.
fn dump(attributes: &Attributes) -> Result<Answer, Refusal> {
    let filter = SaFilter::parse(attributes)?;
    Ok(Answer {
        effect: Effect::Dump(Database::Sad(filter)),
        ..Answer::default()
    })
}

/// `xfrm_flush_sa()`: of an empty database nobody is told.
fn flush(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let protocol = request.payload()[0];
    let gone = state.sad.flush(protocol);
    for sa in &gone {
        state.remove_sa(sa);
    }
    let larvae: Vec<u64> = state
        .sad
        .larvae()
        .filter(|larval| protocol_matches(larval.config.protocol, protocol))
        .map(|larval| larval.number)
        .collect();
    for number in &larvae {
        state.remove_larval(*number);
    }
    if !gone.is_empty() || !larvae.is_empty() {
        state.notify_of(GROUP_SA, request.message, || {
            // `struct xfrm_usersa_flush`, with the padding that the kernel counts in.
            (x::FLUSHSA, vec![protocol, 0, 0, 0])
        });
    }
    Answer::done()
}

fn info(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let mut reply = request.payload()[..4].to_vec();
    let count = state.sad.len() as u32;
    put_attribute(&mut reply, 1, &count.to_ne_bytes());
    let buckets = count.next_power_of_two().max(8);
    let most = 1u32 << 20;
    let hashes = [buckets.to_ne_bytes(), most.to_ne_bytes()].concat();
    put_attribute(&mut reply, 2, &hashes);
    Answer::of(vec![(x::NEWSADINFO, reply)])
}
