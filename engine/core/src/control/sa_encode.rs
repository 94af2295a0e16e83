//! From an SA to the messages that tell of it (`copy_to_user_state_extra` and what stands around it).
//!
//! Keys are in GETSA's answers and in the notifications of NEWSA, UPDSA and DELSA, as the kernel has
//! it: whoever can open the socket may read them. Every buffer that held them is wiped.

use std::sync::atomic::Ordering::Relaxed;

use zeroize::Zeroizing;

use super::sa_parse::{DESTINATION, FAMILY, LIMITS, MODE, PROTOCOL, REQID, SEQUENCE, SOURCE, SPI};
use crate::crypto::Algorithms;
use crate::netlink::wire::put_attribute;
use crate::netlink::xfrm as x;
use crate::sa::{Encapsulation, ReplayForm, Sa, SaConfig, SaDirection, SaState, XFRM_STATE_ESN};
use crate::sad::Larval;

const UDP_ENCAP_ESPINUDP: u16 = 2;
/// What an SA tells at most beside its replay bitmap, so that no buffer with a key is outgrown.
const ROOM: usize = 1024;

/// `struct xfrm_usersa_info` (`copy_to_user_state`).
pub fn info(config: &SaConfig, state: &SaState) -> [u8; x::SA_INFO] {
    let mut info = [0; x::SA_INFO];
    info[..56].copy_from_slice(&x::encode_selector(
        &config.selector,
        config.selector_family,
    ));
    info[DESTINATION..SPI].copy_from_slice(&x::address_octets(config.destination));
    info[SPI..PROTOCOL].copy_from_slice(&config.spi.to_be_bytes());
    info[PROTOCOL] = config.protocol;
    info[SOURCE..LIMITS].copy_from_slice(&x::address_octets(config.source));
    info[LIMITS..160].copy_from_slice(&x::encode_limits(&config.limits));
    info[160..192].copy_from_slice(&current_lifetime(config, state));
    for (at, counter) in [
        (192, &state.replay_window_drops),
        (196, &state.replay_drops),
        (200, &state.integrity_failures),
    ] {
        info[at..at + 4].copy_from_slice(&counter.load(Relaxed).to_ne_bytes());
    }
    info[SEQUENCE..REQID].copy_from_slice(&config.sequence.to_ne_bytes());
    info[REQID..FAMILY].copy_from_slice(&config.reqid.to_ne_bytes());
    info[FAMILY..MODE].copy_from_slice(&x::family_of(config.destination).to_ne_bytes());
    info[MODE] = config.mode as u8;
    if let ReplayForm::Legacy { window } = config.replay_form {
        info[215] = window;
    }
    info[216] = config.flags;
    info
}

/// `struct xfrm_lifetime_cur`.
pub fn current_lifetime(config: &SaConfig, state: &SaState) -> [u8; 32] {
    x::current_lifetime(
        state.octets.load(Relaxed),
        state.packets.load(Relaxed),
        config.added,
        state.first_used.load(Relaxed),
    )
}

/// `struct xfrm_usersa_id`.
pub fn id(config: &SaConfig) -> [u8; x::SA_ID] {
    let mut id = [0; x::SA_ID];
    id[..16].copy_from_slice(&x::address_octets(config.destination));
    id[16..20].copy_from_slice(&config.spi.to_be_bytes());
    id[20..22].copy_from_slice(&x::family_of(config.destination).to_ne_bytes());
    id[22] = config.protocol;
    id
}

/// NEWSA and UPDSA.
pub fn encode(sa: &Sa) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::with_capacity(ROOM + 4 * 128));
    message.extend(info(&sa.config, &sa.state));
    put_attributes(
        &mut message,
        &sa.config,
        Some(sa.transform.algorithms()),
        &sa.state,
    );
    message
}

/// The same for an SA without keys.
pub fn encode_larval(larval: &Larval) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(info(&larval.config, &larval.state).to_vec());
    put_attributes(&mut message, &larval.config, None, &larval.state);
    message
}

/// DELSA as a notification (`xfrm_notify_sa`): its name, then all that it was.
pub fn encode_deleted(
    config: &SaConfig,
    algorithms: Option<&Algorithms>,
    state: &SaState,
) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::with_capacity(ROOM + 4 * 128));
    message.extend(id(config));
    put_attribute(&mut message, x::XFRMA_SA, &info(config, state));
    put_attributes(&mut message, config, algorithms, state);
    message
}

/// EXPIRE (`build_expire`).
pub fn encode_expired(config: &SaConfig, state: &SaState, hard: bool) -> Vec<u8> {
    let mut message = info(config, state).to_vec();
    message.extend([u8::from(hard), 0, 0, 0, 0, 0, 0, 0]);
    put_mark(&mut message, config);
    put_number(&mut message, x::XFRMA_IF_ID, config.if_id);
    put_cpu(&mut message, config);
    put_direction(&mut message, config);
    message
}

fn put_number(message: &mut Vec<u8>, attribute: u16, number: u32) {
    if number != 0 {
        put_attribute(message, attribute, &number.to_ne_bytes());
    }
}

pub fn put_mark(message: &mut Vec<u8>, config: &SaConfig) {
    if config.mark.value | config.mark.mask != 0 {
        put_attribute(message, x::XFRMA_MARK, &x::encode_mark(config.mark));
    }
}

pub fn put_cpu(message: &mut Vec<u8>, config: &SaConfig) {
    if let Some(cpu) = config.cpu {
        put_attribute(message, x::XFRMA_SA_PCPU, &cpu.to_ne_bytes());
    }
}

pub fn put_direction(message: &mut Vec<u8>, config: &SaConfig) {
    match config.direction {
        Some(SaDirection::In) => put_attribute(message, x::XFRMA_SA_DIR, &[1]),
        Some(SaDirection::Out) => put_attribute(message, x::XFRMA_SA_DIR, &[2]),
        None => {}
    }
}

pub fn put_output_mark(message: &mut Vec<u8>, config: &SaConfig) {
    let mark = config.output_mark;
    if mark.value | mark.mask != 0 {
        put_attribute(message, x::XFRMA_SET_MARK, &mark.value.to_ne_bytes());
        put_attribute(message, x::XFRMA_SET_MARK_MASK, &mark.mask.to_ne_bytes());
    }
}

/// XFRMA_ENCAP of an SA in UDP.
pub fn put_encapsulation(message: &mut Vec<u8>, config: &SaConfig) {
    if let Encapsulation::Udp {
        source_port,
        destination_port,
    } = config.encapsulation
    {
        let mut template = [0; 24];
        template[..2].copy_from_slice(&UDP_ENCAP_ESPINUDP.to_ne_bytes());
        template[2..4].copy_from_slice(&source_port.to_be_bytes());
        template[4..6].copy_from_slice(&destination_port.to_be_bytes());
        if let Some(address) = &config.original_address {
            template[8..].copy_from_slice(&address[..]);
        }
        put_attribute(message, x::XFRMA_ENCAP, &template);
    }
}

/// XFRMA_REPLAY_ESN_VAL or XFRMA_REPLAY_VAL, in the form the SA came with.
pub fn put_replay(message: &mut Vec<u8>, config: &SaConfig, state: &SaState) {
    let oseq = state.oseq.load(Relaxed);
    let window = state
        .replay
        .lock()
        .expect("no worker panics while it holds the lock");
    match config.replay_form {
        ReplayForm::Bitmap { words } => {
            let mut bitmap = window.bitmap();
            bitmap.resize(words as usize, 0);
            // Numbers that may wrap have no high half without ESN.
            let oseq = if config.flags & XFRM_STATE_ESN == 0 {
                oseq & u64::from(u32::MAX)
            } else {
                oseq
            };
            let replay = x::encode_replay(oseq, window.seq(), window.window(), &bitmap);
            put_attribute(message, x::XFRMA_REPLAY_ESN_VAL, &replay);
        }
        ReplayForm::Legacy { .. } => {
            let mut replay = [0; 12];
            replay[..4].copy_from_slice(&(oseq as u32).to_ne_bytes());
            replay[4..8].copy_from_slice(&(window.seq() as u32).to_ne_bytes());
            replay[8..].copy_from_slice(&window.legacy_bitmap().to_ne_bytes());
            put_attribute(message, x::XFRMA_REPLAY_VAL, &replay);
        }
    }
}

/// `copy_to_user_state_extra()`: the attributes in the kernel's order.
fn put_attributes(
    message: &mut Vec<u8>,
    config: &SaConfig,
    algorithms: Option<&Algorithms>,
    state: &SaState,
) {
    put_number(message, x::XFRMA_SA_EXTRA_FLAGS, config.extra_flags);
    if let Some(address) = &config.care_of {
        put_attribute(message, x::XFRMA_COADDR, &address[..]);
    }
    let last_used = state.last_used.load(Relaxed);
    if last_used != 0 {
        put_attribute(message, x::XFRMA_LASTUSED, &last_used.to_ne_bytes());
    }
    if let Some(algorithms) = algorithms {
        put_algorithms(message, algorithms);
    }
    put_encapsulation(message, config);
    put_number(message, x::XFRMA_TFCPAD, config.tfc_padding);
    put_mark(message, config);
    put_output_mark(message, config);
    put_replay(message, config, state);
    put_number(message, x::XFRMA_IF_ID, config.if_id);
    put_number(message, x::XFRMA_MTIMER_THRESH, config.mapping_threshold);
    put_cpu(message, config);
    put_direction(message, config);
    put_number(
        message,
        x::XFRMA_NAT_KEEPALIVE_INTERVAL,
        config.keepalive_interval,
    );
}

fn put_algorithms(message: &mut Vec<u8>, algorithms: &Algorithms) {
    match algorithms {
        Algorithms::Aead {
            name,
            keymat,
            icv_bits,
        } => {
            let octets = x::encode_algorithm(name, keymat, Some(*icv_bits));
            put_attribute(message, x::XFRMA_ALG_AEAD, &octets);
        }
        Algorithms::Separate { crypt, auth } => {
            if let Some(auth) = auth {
                let octets = x::encode_algorithm(&auth.name, &auth.key, None);
                put_attribute(message, x::XFRMA_ALG_AUTH, &octets);
                let octets = x::encode_algorithm(&auth.name, &auth.key, Some(auth.icv_bits));
                put_attribute(message, x::XFRMA_ALG_AUTH_TRUNC, &octets);
            }
            let octets = x::encode_algorithm(&crypt.name, &crypt.key, None);
            put_attribute(message, x::XFRMA_ALG_CRYPT, &octets);
        }
    }
}
