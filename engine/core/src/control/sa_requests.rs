//! NEWSA, UPDSA, DELSA, GETSA, FLUSHSA, GETSADINFO: errors and their words as in
//! `net/xfrm/xfrm_user.c`, where the kernel has the same ones.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::state::{Answer, State, GROUP_SA};
use crate::crypto::{Algorithms, Transform};
use crate::ip::ESP;
use crate::lifetime::Limits;
use crate::netlink::wire::{attributes, put_attribute, Refusal};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::Mark;
use crate::replay::ReplayWindow;
use crate::sa::{now, Encapsulation, Mode, Sa, SaConfig, SaDirection, SaState, XFRM_STATE_ESN};
use crate::sad::{self, SaKey};

const UDP_ENCAP_ESPINUDP: u16 = 2;
const MOST_WINDOW: u32 = 4096;
const SPI_RESERVED: u32 = 255;

fn invalid(words: &str) -> Refusal {
    Refusal::new(libc::EINVAL, words)
}

fn attributes_after(payload: &[u8], fixed: usize) -> Result<Vec<(u16, &[u8])>, Refusal> {
    payload
        .get(fixed.next_multiple_of(4).min(payload.len())..)
        .and_then(attributes)
        .ok_or_else(|| invalid("Attribute length does not fit"))
}

/// The last attribute of a number, as the kernel reads it.
pub fn find<'a>(attributes: &[(u16, &'a [u8])], number: u16) -> Option<&'a [u8]> {
    attributes
        .iter()
        .rev()
        .find(|(other, _)| *other == number)
        .map(|(_, payload)| *payload)
}

fn number(attributes: &[(u16, &[u8])], which: u16) -> Result<Option<u32>, Refusal> {
    match find(attributes, which) {
        None => Ok(None),
        Some(payload) => Fields(payload)
            .u32(0)
            .map(Some)
            .ok_or(invalid("Invalid attribute length")),
    }
}

/// NEWSA, or UPDSA of an SA that is there.
pub fn add(
    state: &mut State,
    payload: &[u8],
    update: bool,
) -> Result<super::state::Answer, Refusal> {
    let (config, transform, replay) = parse(payload)?;
    let identity = sad::key_of(&config);
    let old = state.sad.get(&identity).cloned();
    let sa = match (old, update) {
        (None, true) => return Err(Refusal::from(libc::ESRCH)),
        (Some(_), false) => return Err(Refusal::from(libc::EEXIST)),
        (Some(old), true) => {
            // What runs goes on: numbers never come again, and counters keep counting.
            let added = old.config.added;
            let mut window = old
                .state
                .replay
                .lock()
                .expect("no worker panics while it holds the lock");
            window.resize(replay.window, config.flags & XFRM_STATE_ESN != 0);
            drop(window);
            let config = SaConfig { added, ..config };
            state.sad.replace(Sa {
                config,
                transform,
                state: Arc::clone(&old.state),
            })
        }
        (None, false) => {
            let mut window = ReplayWindow::new(replay.window, config.flags & XFRM_STATE_ESN != 0);
            window.restore(replay.seq, &replay.bitmap);
            let running = Arc::new(SaState::new(replay.oseq, window));
            state
                .sad
                .add(Sa {
                    config,
                    transform,
                    state: running,
                })
                .expect("the identity is free")
        }
    };
    let kind = if update { x::UPDSA } else { x::NEWSA };
    state.insert_sa(&sa);
    state.notify(GROUP_SA, (kind, encode(&sa).to_vec()));
    Answer::done()
}

/// `verify_newsa_info()` and `xfrm_state_construct()`, for what the engine serves.
fn parse(payload: &[u8]) -> Result<(SaConfig, Transform, x::ReplayEsn), Refusal> {
    let info = payload
        .get(..x::SA_INFO)
        .ok_or(invalid("Message is too short"))?;
    let fields = Fields(info);
    let short = || invalid("Message is too short");
    let family = fields.u16(212).ok_or_else(short)?;
    let source = fields
        .address(80, family)
        .ok_or(invalid("Invalid address family"))?;
    let destination = fields
        .address(56, family)
        .ok_or(invalid("Invalid address family"))?;
    let selector =
        x::parse_selector(info, family).ok_or(invalid("Invalid address family in selector"))?;
    let longest = if selector.source.is_ipv4() { 32 } else { 128 };
    if selector.source_prefix > longest || selector.destination_prefix > longest {
        return Err(invalid("Invalid prefix length in selector"));
    }
    let protocol = fields.u8(76).ok_or_else(short)?;
    if protocol != ESP {
        return Err(invalid("Unsupported protocol"));
    }
    if fields.u8(214) != Some(Mode::Tunnel as u8) {
        return Err(invalid("Unsupported mode"));
    }
    let spi = fields.be32(72).ok_or_else(short)?;
    if spi <= SPI_RESERVED {
        return Err(invalid("SPI is reserved (RFC 4303, 2.1)"));
    }
    let attributes = attributes_after(payload, x::SA_INFO)?;
    for unsupported in [
        x::XFRMA_ALG_AUTH,
        x::XFRMA_ALG_CRYPT,
        x::XFRMA_ALG_COMP,
        x::XFRMA_ALG_AUTH_TRUNC,
    ] {
        if find(&attributes, unsupported).is_some() {
            return Err(Refusal::new(libc::ENOSYS, "Requested algorithm not found"));
        }
    }
    for unsupported in [x::XFRMA_TFCPAD, x::XFRMA_OFFLOAD_DEV] {
        if find(&attributes, unsupported).is_some() {
            return Err(Refusal::new(
                libc::EOPNOTSUPP,
                "The engine does not serve this attribute yet",
            ));
        }
    }
    let (transform, name, icv_bits) = parse_key(&attributes)?;
    let mark = match find(&attributes, x::XFRMA_MARK) {
        None => Mark::default(),
        Some(payload) => x::parse_mark(payload).ok_or(invalid("Invalid attribute length"))?,
    };
    let output_mark = match number(&attributes, x::XFRMA_SET_MARK)? {
        None => Mark::default(),
        Some(value) => Mark {
            value,
            mask: number(&attributes, x::XFRMA_SET_MARK_MASK)?.unwrap_or(u32::MAX),
        },
    };
    let direction = match find(&attributes, x::XFRMA_SA_DIR) {
        None => None,
        Some([1]) => Some(SaDirection::In),
        Some([2]) => Some(SaDirection::Out),
        Some(_) => return Err(invalid("Invalid attribute SA_DIR")),
    };
    let flags = fields.u8(216).ok_or_else(short)?;
    let replay = parse_replay(&attributes, &fields, flags, direction)?;
    let config = SaConfig {
        spi,
        source,
        destination,
        protocol,
        mark,
        if_id: number(&attributes, x::XFRMA_IF_ID)?.unwrap_or(0),
        reqid: fields.u32(208).ok_or_else(short)?,
        mode: Mode::Tunnel,
        flags,
        extra_flags: 0,
        direction,
        selector,
        output_mark,
        encapsulation: parse_encapsulation(&attributes)?,
        tfc_padding: 0,
        limits: Limits::NONE,
        mapping_threshold: 0,
        keepalive_interval: 0,
        algorithm_name: name,
        icv_bits,
        added: now(),
    };
    Ok((config, transform, replay))
}

fn parse_key(attributes: &[(u16, &[u8])]) -> Result<(Transform, String, u32), Refusal> {
    let payload = find(attributes, x::XFRMA_ALG_AEAD).ok_or(invalid(
        "Missing required attribute for ESP: at least one of AUTH, AUTH_TRUNC, CRYPT, AEAD",
    ))?;
    let aead = x::parse_aead(payload).ok_or(invalid("Invalid AEAD algorithm attribute length"))?;
    let transform = Transform::new(Algorithms::Aead {
        name: aead.name.clone(),
        keymat: aead.keymat.to_vec().into(),
        icv_bits: aead.icv_bits,
    })
    .map_err(|error| Refusal::new(error.errno(), error.words()))?;
    Ok((transform, aead.name, aead.icv_bits))
}

fn parse_encapsulation(attributes: &[(u16, &[u8])]) -> Result<Encapsulation, Refusal> {
    let Some(payload) = find(attributes, x::XFRMA_ENCAP) else {
        return Ok(Encapsulation::Esp);
    };
    let fields = Fields(payload);
    let (Some(kind), Some(source_port), Some(destination_port)) =
        (fields.u16(0), fields.be16(2), fields.be16(4))
    else {
        return Err(invalid("Invalid attribute length"));
    };
    if kind != UDP_ENCAP_ESPINUDP {
        return Err(invalid("Unsupported encapsulation type for ESP"));
    }
    Ok(Encapsulation::Udp {
        source_port,
        destination_port,
    })
}

/// `verify_replay()`, and what a direction forbids (`verify_sa_dir`).
fn parse_replay(
    attributes: &[(u16, &[u8])],
    fields: &Fields,
    flags: u8,
    direction: Option<SaDirection>,
) -> Result<x::ReplayEsn, Refusal> {
    let legacy = u32::from(fields.u8(215).unwrap_or(0));
    let esn = flags & XFRM_STATE_ESN != 0;
    let replay = match find(attributes, x::XFRMA_REPLAY_ESN_VAL) {
        None if esn => return Err(invalid("Missing required attribute for ESN")),
        None => {
            let window = legacy.min(32);
            x::ReplayEsn {
                oseq: 0,
                seq: 0,
                window,
                bitmap: Vec::new(),
                words: 0,
            }
        }
        Some(payload) => {
            let replay = x::parse_replay(payload).ok_or(invalid(
                "ESN replay length doesn't match with replay window",
            ))?;
            if replay.words > MOST_WINDOW / 32 || replay.window > replay.words * 32 {
                return Err(invalid("Replay window is longer than its bitmap"));
            }
            if legacy != 0 {
                return Err(invalid("Replay window must be 0 beside REPLAY_ESN_VAL"));
            }
            replay
        }
    };
    if direction == Some(SaDirection::Out) && (replay.window > 0 || legacy > 0) {
        return Err(invalid("Replay window should NOT be set for OUT SA"));
    }
    Ok(replay)
}

/// `struct xfrm_usersa_info` and its attributes, as a dump gives them (`copy_to_user_state_extra`).
fn encode(sa: &Sa) -> zeroize::Zeroizing<Vec<u8>> {
    let config = &sa.config;
    let state = &sa.state;
    let family = x::family_of(config.destination);
    let mut info = zeroize::Zeroizing::new(vec![0; x::SA_INFO]);
    // A selector that holds nothing back is told without family, as it came.
    let any = config.selector.source_prefix == 0 && config.selector.destination_prefix == 0;
    let selector_family = if any {
        0
    } else {
        x::family_of(config.selector.source)
    };
    info[..56].copy_from_slice(&x::encode_selector(&config.selector, selector_family));
    info[56..72].copy_from_slice(&x::address_octets(config.destination));
    info[72..76].copy_from_slice(&config.spi.to_be_bytes());
    info[76] = config.protocol;
    info[80..96].copy_from_slice(&x::address_octets(config.source));
    info[96..160].copy_from_slice(&x::unlimited());
    info[160..192].copy_from_slice(&x::current_lifetime(
        state.octets.load(Relaxed),
        state.packets.load(Relaxed),
        config.added,
        state.first_used.load(Relaxed),
    ));
    for (at, counter) in [
        (192, &state.replay_window_drops),
        (196, &state.replay_drops),
        (200, &state.integrity_failures),
    ] {
        info[at..at + 4].copy_from_slice(&(counter.load(Relaxed) as u32).to_ne_bytes());
    }
    info[208..212].copy_from_slice(&config.reqid.to_ne_bytes());
    info[212..214].copy_from_slice(&family.to_ne_bytes());
    info[214] = config.mode as u8;
    info[216] = config.flags;
    put_attribute(
        &mut info,
        x::XFRMA_LASTUSED,
        &state.last_used.load(Relaxed).to_ne_bytes(),
    );
    if let Algorithms::Aead { keymat, .. } = sa.transform.algorithms() {
        let key = x::encode_aead(&config.algorithm_name, keymat, config.icv_bits);
        put_attribute(&mut info, x::XFRMA_ALG_AEAD, &key);
    }
    if let Encapsulation::Udp {
        source_port,
        destination_port,
    } = config.encapsulation
    {
        let mut template = [0; 24];
        template[..2].copy_from_slice(&UDP_ENCAP_ESPINUDP.to_ne_bytes());
        template[2..4].copy_from_slice(&source_port.to_be_bytes());
        template[4..6].copy_from_slice(&destination_port.to_be_bytes());
        put_attribute(&mut info, x::XFRMA_ENCAP, &template);
    }
    if config.mark.mask != 0 {
        put_attribute(&mut info, x::XFRMA_MARK, &x::encode_mark(config.mark));
    }
    if config.output_mark.mask != 0 {
        put_attribute(
            &mut info,
            x::XFRMA_SET_MARK,
            &config.output_mark.value.to_ne_bytes(),
        );
        put_attribute(
            &mut info,
            x::XFRMA_SET_MARK_MASK,
            &config.output_mark.mask.to_ne_bytes(),
        );
    }
    let (seq, window, bitmap) = {
        let replay = state
            .replay
            .lock()
            .expect("no worker panics while it holds the lock");
        (replay.seq(), replay.window(), replay.bitmap())
    };
    let replay = x::encode_replay(state.oseq.load(Relaxed), seq, window, &bitmap);
    put_attribute(&mut info, x::XFRMA_REPLAY_ESN_VAL, &replay);
    if config.if_id != 0 {
        put_attribute(&mut info, x::XFRMA_IF_ID, &config.if_id.to_ne_bytes());
    }
    match config.direction {
        Some(SaDirection::In) => put_attribute(&mut info, x::XFRMA_SA_DIR, &[1]),
        Some(SaDirection::Out) => put_attribute(&mut info, x::XFRMA_SA_DIR, &[2]),
        None => {}
    }
    info
}

/// `struct xfrm_usersa_id` with its mark.
fn parse_identity(payload: &[u8]) -> Result<SaKey, Refusal> {
    let id = payload
        .get(..x::SA_ID)
        .ok_or(invalid("Message is too short"))?;
    let fields = Fields(id);
    let family = fields.u16(20).unwrap_or(0);
    let destination: IpAddr = fields
        .address(0, family)
        .ok_or(invalid("Invalid address family"))?;
    let attributes = attributes_after(payload, x::SA_ID)?;
    let mark = match find(&attributes, x::XFRMA_MARK) {
        None => Mark::default(),
        Some(payload) => x::parse_mark(payload).ok_or(invalid("Invalid attribute length"))?,
    };
    Ok(sad::key(
        destination,
        fields.be32(16).unwrap_or(0),
        fields.u8(22).unwrap_or(0),
        mark,
    ))
}

pub fn delete(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let key = parse_identity(payload)?;
    let sa = state.sad.remove(&key).ok_or(Refusal::from(libc::ESRCH))?;
    state.remove_sa(&sa);
    state.notify(GROUP_SA, (x::DELSA, payload[..x::SA_ID].to_vec()));
    Answer::done()
}

pub fn get(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    let sa = state
        .sad
        .get(&parse_identity(payload)?)
        .ok_or(Refusal::from(libc::ESRCH))?;
    Answer::of(vec![(x::NEWSA, encode(sa).to_vec())])
}

pub fn dump(state: &State) -> Result<Answer, Refusal> {
    Answer::of(
        state
            .sad
            .iter()
            .map(|sa| (x::NEWSA, encode(sa).to_vec()))
            .collect(),
    )
}

pub fn flush(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let protocol = *payload.first().ok_or(invalid("Message is too short"))?;
    let gone = state.sad.flush(protocol);
    if gone.is_empty() {
        return Err(Refusal::from(libc::ESRCH));
    }
    for sa in &gone {
        state.remove_sa(sa);
    }
    state.notify(GROUP_SA, (x::FLUSHSA, vec![protocol]));
    Answer::done()
}

pub fn info(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    let flags = payload.get(..4).ok_or(invalid("Message is too short"))?;
    let mut reply = flags.to_vec();
    let count = state.sad.len() as u32;
    put_attribute(&mut reply, 1, &count.to_ne_bytes());
    let buckets = count.next_power_of_two().max(8);
    put_attribute(
        &mut reply,
        2,
        &[buckets.to_ne_bytes(), (1u32 << 20).to_ne_bytes()].concat(),
    );
    Answer::of(vec![(x::NEWSADINFO, reply)])
}
