//! From NEWSA and UPDSA to an SA: what `verify` has let pass becomes one, with the conditions, their
//! order, errno and words of `xfrm_state_construct()` and `__xfrm_init_state()`
//! (`net/xfrm/xfrm_user.c`, `xfrm_state.c`).

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::policy_parse::{invalid, mark_and_if_id};
use super::sa_verify::{verify, verify_keepalive};
use crate::crypto::{AlgorithmError, Algorithms, AuthNamed, Key, Named, Transform};
use crate::ip::ESP;
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::Refusal;
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::Mark;
use crate::replay::ReplayWindow;
use crate::sa::{
    clock, now, Encapsulation, Mode, ReplayForm, Sa, SaConfig, SaDirection, SaState,
    DEFAULT_REPLAY_AGE, XFRM_STATE_AF_UNSPEC, XFRM_STATE_ESN,
};

const UDP_ENCAP_ESPINUDP: u16 = 2;
/// Where the members of `struct xfrm_usersa_info` stand.
pub const DESTINATION: usize = 56;
pub const SPI: usize = 72;
pub const PROTOCOL: usize = 76;
pub const SOURCE: usize = 80;
pub const LIMITS: usize = 96;
pub const SEQUENCE: usize = 204;
pub const REQID: usize = 208;
pub const FAMILY: usize = 212;
pub const MODE: usize = 214;
pub const REPLAY_WINDOW: usize = 215;
const FLAGS: usize = 216;

pub fn refuse(condition: bool, words: &str) -> Result<(), Refusal> {
    if condition {
        return Err(invalid(words));
    }
    Ok(())
}

pub fn direction(attributes: &Attributes) -> Option<SaDirection> {
    match attributes.get(x::XFRMA_SA_DIR)? {
        [1] => Some(SaDirection::In),
        _ => Some(SaDirection::Out),
    }
}

/// The fixed structure, whose length was checked.
pub struct Info<'a>(pub Fields<'a>);

impl Info<'_> {
    pub fn u8(&self, at: usize) -> u8 {
        self.0.u8(at).unwrap_or(0)
    }

    pub fn u16(&self, at: usize) -> u16 {
        self.0.u16(at).unwrap_or(0)
    }

    pub fn u32(&self, at: usize) -> u32 {
        self.0.u32(at).unwrap_or(0)
    }

    pub fn has(&self, flag: u8) -> bool {
        self.u8(FLAGS) & flag != 0
    }

    /// AF_UNSPEC becomes the outer family, unless it is asked for.
    pub fn selector_family(&self) -> u16 {
        match self.u16(40) {
            0 if !self.has(XFRM_STATE_AF_UNSPEC) => self.u16(FAMILY),
            family => family,
        }
    }
}

/// An SA as a request describes it, not yet anywhere.
pub fn parse(payload: &[u8], attributes: &Attributes) -> Result<Sa, Refusal> {
    let info = Info(Fields(&payload[..x::SA_INFO]));
    verify(&info, attributes)?;
    construct(&info, attributes)
}

/// The processors that XFRMA_SA_PCPU can name.
pub fn cpu(attributes: &Attributes, errno: i32) -> Result<Option<u32>, Refusal> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    match attributes.get_u32(x::XFRMA_SA_PCPU) {
        Some(number) if number >= processors => Err(Refusal::new(errno, "pCPU number too big")),
        number => Ok(number),
    }
}

/// XFRMA_SET_MARK; a mask that is not told is all ones.
pub fn output_mark(attributes: &Attributes) -> Option<Mark> {
    Some(Mark {
        value: attributes.get_u32(x::XFRMA_SET_MARK)?,
        mask: attributes
            .get_u32(x::XFRMA_SET_MARK_MASK)
            .unwrap_or(u32::MAX),
    })
}

/// XFRMA_ENCAP: what it makes of packets, and the address that it remembers.
pub fn encapsulation(octets: &[u8]) -> Option<(Encapsulation, [u8; 16])> {
    let fields = Fields(octets);
    let kind = Encapsulation::Udp {
        source_port: fields.be16(2)?,
        destination_port: fields.be16(4)?,
    };
    let address = octets.get(8..24)?.try_into().ok()?;
    (fields.u16(0)? == UDP_ENCAP_ESPINUDP).then_some((kind, address))
}

/// `xfrm_state_construct()`.
fn construct(info: &Info, attributes: &Attributes) -> Result<Sa, Refusal> {
    let transform = algorithms(attributes).and_then(|algorithms| match algorithms {
        None => Ok(None),
        Some(algorithms) => Transform::new(algorithms).map(Some),
    });
    // Names first, as the kernel looks them up before anything else; keys with the rest.
    let unknown = |error: &AlgorithmError| {
        matches!(
            error,
            AlgorithmError::Aead
                | AlgorithmError::Crypt
                | AlgorithmError::Auth
                | AlgorithmError::IcvLength
        )
    };
    let refused = |error: AlgorithmError| {
        let truncated = attributes.get(x::XFRMA_ALG_AUTH_TRUNC).is_some();
        // `esp_init_authenc()` says nothing of a key that does not fit.
        if error == AlgorithmError::KeyLength && attributes.get(x::XFRMA_ALG_AEAD).is_none() {
            return Refusal::from(error.errno());
        }
        let words = match error {
            AlgorithmError::Auth if truncated => "Requested AUTH_TRUNC algorithm not found",
            error => error.words(),
        };
        Refusal::new(error.errno(), words)
    };
    if let Err(error) = &transform {
        if unknown(error) {
            return Err(refused(*error));
        }
    }
    if attributes.get(x::XFRMA_ALG_COMP).is_some() {
        return Err(Refusal::new(
            libc::ENOSYS,
            "Requested COMP algorithm not found",
        ));
    }
    let cpu = cpu(attributes, libc::ERANGE)?;
    let direction = direction(attributes);
    let (encapsulation, original_address) = init(info, attributes)?;
    let transform = transform
        .map_err(refused)?
        .ok_or(invalid("ESP: AEAD or CRYPT must be provided"))?;
    let keepalive_interval = attributes
        .get_u32(x::XFRMA_NAT_KEEPALIVE_INTERVAL)
        .unwrap_or(0);
    let encapsulation = match (attributes.get(x::XFRMA_ENCAP), encapsulation) {
        (Some(_), None) => return Err(invalid("Unsupported encapsulation type for ESP")),
        (_, encapsulation) => encapsulation.unwrap_or(Encapsulation::Esp),
    };
    verify_keepalive(keepalive_interval, direction, encapsulation)?;
    let (window, form, oseq) = replay(info, attributes, direction)?;
    if attributes.get(x::XFRMA_OFFLOAD_DEV).is_some() {
        return Err(invalid("Type doesn't support offload"));
    }
    let (mark, if_id) = mark_and_if_id(attributes);
    let family = info.u16(FAMILY);
    let address = |at| {
        info.0
            .address(at, family)
            .ok_or(invalid("Invalid address family"))
    };
    let current = attributes.get(x::XFRMA_LTIME_VAL).map(Fields);
    let time = |at| current.and_then(|current| current.u64(at));
    let added = time(16).unwrap_or_else(now);
    let config = SaConfig {
        spi: info.0.be32(SPI).unwrap_or(0),
        source: address(SOURCE)?,
        destination: address(DESTINATION)?,
        protocol: info.u8(PROTOCOL),
        // The kernel stores it so (`__xfrm_state_insert`).
        mark: Mark {
            value: mark.value & mark.mask,
            ..mark
        },
        if_id,
        reqid: info.u32(REQID),
        mode: Mode::try_from(info.u8(MODE)).map_err(|()| invalid("Unsupported mode"))?,
        flags: info.u8(FLAGS),
        extra_flags: attributes.get_u32(x::XFRMA_SA_EXTRA_FLAGS).unwrap_or(0),
        direction,
        selector: x::parse_selector(info.0 .0, family)
            .ok_or(invalid("Invalid address family in selector"))?
            .into(),
        selector_family: info.selector_family(),
        output_mark: output_mark(attributes).unwrap_or_default(),
        encapsulation,
        original_address: (original_address != [0; 16]).then(|| Box::new(original_address)),
        tfc_padding: attributes.get_u32(x::XFRMA_TFCPAD).unwrap_or(0),
        limits: x::parse_limits(info.0 .0, LIMITS)
            .unwrap_or_default()
            .into(),
        mapping_threshold: attributes.get_u32(x::XFRMA_MTIMER_THRESH).unwrap_or(0),
        keepalive_interval,
        replay_age: attributes
            .get_u32(x::XFRMA_ETIMER_THRESH)
            .unwrap_or(DEFAULT_REPLAY_AGE),
        care_of: attributes
            .get(x::XFRMA_COADDR)
            .and_then(|octets| Some(Box::new(octets.get(..16)?.try_into().ok()?))),
        sequence: info.u32(SEQUENCE),
        cpu,
        replay_form: form,
        added,
        added_clock: clock().saturating_sub(now().saturating_sub(added)),
    };
    if config.spi == 0 {
        // The kernel takes it; on the wire it is the non-ESP marker (RFC 3948, 2.2).
        return Err(invalid("SPI 0 is reserved (RFC 4303, 2.1)"));
    }
    let state = SaState::new(oseq, window);
    set_lifetime(&state, current);
    if let Some(threshold) = attributes.get_u32(x::XFRMA_REPLAY_THRESH) {
        state.replay_threshold.store(threshold, Relaxed);
    }
    Ok(Sa {
        config,
        transform: Arc::new(transform),
        state: Arc::new(state),
    })
}

/// XFRMA_LTIME_VAL, without the time of adding.
pub fn set_lifetime(state: &SaState, current: Option<Fields>) {
    let Some(current) = current else {
        return;
    };
    for (at, counter) in [
        (0, &state.octets),
        (8, &state.packets),
        (24, &state.first_used),
    ] {
        counter.store(current.u64(at).unwrap_or(0), Relaxed);
    }
}

/// XFRMA_ALG_*; None for integrity alone, which ESP does not have without NULL encryption.
fn algorithms(attributes: &Attributes) -> Result<Option<Algorithms>, AlgorithmError> {
    let key = |number, header| {
        attributes
            .get(number)
            .and_then(|octets| x::parse_algorithm(octets, header))
    };
    if let Some(aead) = key(x::XFRMA_ALG_AEAD, x::ALGORITHM_WITH_ICV) {
        return Ok(Some(Algorithms::Aead {
            name: aead.name.into(),
            keymat: Key::new(aead.key.into()),
            icv_bits: aead.icv_bits,
        }));
    }
    let auth = key(x::XFRMA_ALG_AUTH_TRUNC, x::ALGORITHM_WITH_ICV)
        .or_else(|| key(x::XFRMA_ALG_AUTH, x::ALGORITHM))
        .map(|auth| AuthNamed {
            name: auth.name.into(),
            key: Key::new(auth.key.into()),
            icv_bits: auth.icv_bits,
        })
        .map(Box::new);
    let crypt = key(x::XFRMA_ALG_CRYPT, x::ALGORITHM).map(|crypt| Named {
        name: crypt.name.into(),
        key: Key::new(crypt.key.into()),
    });
    Ok(crypt.map(|crypt| Algorithms::Separate { crypt, auth }))
}

/// `__xfrm_init_state()` up to the type's own; the encapsulation if it is one of ESP.
fn init(
    info: &Info,
    attributes: &Attributes,
) -> Result<(Option<Encapsulation>, [u8; 16]), Refusal> {
    let unsupported = |words| Err(Refusal::new(libc::EPROTONOSUPPORT, words));
    let Ok(mode) = Mode::try_from(info.u8(MODE)) else {
        return unsupported("Requested mode not found");
    };
    let inner = info.selector_family();
    if inner != 0 && mode == Mode::Transport && inner != info.u16(FAMILY) {
        return unsupported("Only tunnel modes can accommodate a change of family");
    }
    if info.u8(PROTOCOL) != ESP {
        return unsupported("Requested type not found");
    }
    let encapsulation = attributes.get(x::XFRMA_ENCAP).and_then(encapsulation);
    Ok(match encapsulation {
        None => (None, [0; 16]),
        Some((encapsulation, address)) => (Some(encapsulation), address),
    })
}

/// `xfrm_init_replay()`, and the state that comes with it.
fn replay(
    info: &Info,
    attributes: &Attributes,
    direction: Option<SaDirection>,
) -> Result<(ReplayWindow, ReplayForm, u64), Refusal> {
    let esn = info.has(XFRM_STATE_ESN);
    let Some(told) = attributes
        .get(x::XFRMA_REPLAY_ESN_VAL)
        .and_then(x::parse_replay)
    else {
        let size = info.u8(REPLAY_WINDOW).min(32);
        let mut window = ReplayWindow::new(u32::from(size), false);
        let fields = attributes.get(x::XFRMA_REPLAY_VAL).map(Fields);
        let number = |at| fields.and_then(|fields| fields.u32(at)).unwrap_or(0);
        window.restore_legacy(number(4), number(8));
        let form = ReplayForm::Legacy { window: size };
        return Ok((window, form, u64::from(number(0))));
    };
    refuse(
        told.window > told.words * 32,
        "ESN replay window is too large for the chosen bitmap size",
    )?;
    refuse(
        esn && told.window == 0 && direction != Some(SaDirection::Out),
        "ESN replay window must be > 0",
    )?;
    let mut window = ReplayWindow::new(told.window, esn);
    let low = |number: u64| {
        if esn {
            number
        } else {
            number & u64::from(u32::MAX)
        }
    };
    window.restore(low(told.seq), &told.bitmap);
    Ok((
        window,
        ReplayForm::Bitmap { words: told.words },
        low(told.oseq),
    ))
}
