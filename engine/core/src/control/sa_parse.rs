//! From NEWSA and UPDSA to an SA: conditions, their order, errno and words of
//! `verify_newsa_info()`, `xfrm_state_construct()` and `__xfrm_init_state()`
//! (`net/xfrm/xfrm_user.c`, `xfrm_state.c`).

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::policy_parse::{invalid, mark_and_if_id, verify_security};
use crate::crypto::{AlgorithmError, Algorithms, AuthNamed, Named, Transform};
use crate::ip::ESP;
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::Refusal;
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::Mark;
use crate::replay::ReplayWindow;
use crate::sa::{
    clock, now, Encapsulation, Mode, ReplayForm, Sa, SaConfig, SaDirection, SaState,
    DEFAULT_REPLAY_AGE, XFRM_SA_XFLAG_DONT_ENCAP_DSCP, XFRM_SA_XFLAG_OSEQ_MAY_WRAP,
    XFRM_STATE_AF_UNSPEC, XFRM_STATE_DECAP_DSCP, XFRM_STATE_ESN, XFRM_STATE_ICMP,
    XFRM_STATE_NOPMTUDISC, XFRM_STATE_WILDRECV,
};

const UDP_ENCAP_ESPINUDP: u16 = 2;
/// `XFRMA_REPLAY_ESN_MAX`, in words.
const MOST_WORDS: u32 = 4096 / 32;
const AH: u8 = 51;
const COMP: u8 = 108;
const DESTINATION_OPTIONS: u8 = 60;
const ROUTING: u8 = 43;
const MODE_ROUTEOPTIMIZATION: u8 = 2;

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
const REPLAY_WINDOW: usize = 215;
const FLAGS: usize = 216;

fn refuse(condition: bool, words: &str) -> Result<(), Refusal> {
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
struct Info<'a>(Fields<'a>);

impl Info<'_> {
    fn u8(&self, at: usize) -> u8 {
        self.0.u8(at).unwrap_or(0)
    }

    fn u16(&self, at: usize) -> u16 {
        self.0.u16(at).unwrap_or(0)
    }

    fn u32(&self, at: usize) -> u32 {
        self.0.u32(at).unwrap_or(0)
    }

    fn has(&self, flag: u8) -> bool {
        self.u8(FLAGS) & flag != 0
    }

    /// AF_UNSPEC becomes the outer family, unless it is asked for.
    fn selector_family(&self) -> u16 {
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

/// `verify_newsa_info()`.
fn verify(info: &Info, attributes: &Attributes) -> Result<(), Refusal> {
    let has = |number| attributes.get(number).is_some();
    let direction = direction(attributes);
    refuse(
        !matches!(info.u16(FAMILY), x::AF_INET | x::AF_INET6),
        "Invalid address family",
    )?;
    let longest = info.u8(42).max(info.u8(43));
    match info.selector_family() {
        0 => {}
        x::AF_INET => refuse(
            longest > 32,
            "Invalid prefix length in selector (must be <= 32 for IPv4)",
        )?,
        x::AF_INET6 => refuse(
            longest > 128,
            "Invalid prefix length in selector (must be <= 128 for IPv6)",
        )?,
        _ => return Err(invalid("Invalid address family in selector")),
    }
    verify_protocol(info, &has)?;
    for (number, header, words) in [
        (
            x::XFRMA_ALG_AEAD,
            x::ALGORITHM_WITH_ICV,
            "Invalid AEAD attribute length",
        ),
        (
            x::XFRMA_ALG_AUTH_TRUNC,
            x::ALGORITHM_WITH_ICV,
            "Invalid AUTH_TRUNC attribute length",
        ),
        (
            x::XFRMA_ALG_AUTH,
            x::ALGORITHM,
            "Invalid AUTH/CRYPT/COMP attribute length",
        ),
        (
            x::XFRMA_ALG_CRYPT,
            x::ALGORITHM,
            "Invalid AUTH/CRYPT/COMP attribute length",
        ),
        (
            x::XFRMA_ALG_COMP,
            x::ALGORITHM,
            "Invalid AUTH/CRYPT/COMP attribute length",
        ),
    ] {
        let octets = attributes.get(number);
        refuse(
            octets.is_some_and(|octets| x::parse_algorithm(octets, header).is_none()),
            words,
        )?;
    }
    verify_security(attributes)?;
    verify_replay(info, attributes, direction)?;
    refuse(
        Mode::try_from(info.u8(MODE)).is_err() && info.u8(MODE) != MODE_ROUTEOPTIMIZATION,
        "Unsupported mode",
    )?;
    if has(x::XFRMA_MTIMER_THRESH) {
        verify_mapping_threshold(has(x::XFRMA_ENCAP), direction)?;
    }
    match direction {
        Some(SaDirection::Out) => verify_out(info, attributes)?,
        Some(SaDirection::In) => verify_in(info, attributes)?,
        None => {}
    }
    refuse(
        direction.is_none() && has(x::XFRMA_SA_PCPU),
        "SA_PCPU only supported with SA_DIR",
    )
}

/// `verify_mtimer_thresh()` of newer kernels.
pub fn verify_mapping_threshold(
    encapsulated: bool,
    direction: Option<SaDirection>,
) -> Result<(), Refusal> {
    refuse(
        !encapsulated,
        "MTIMER_THRESH attribute can only be set on ENCAP states",
    )?;
    refuse(
        direction == Some(SaDirection::Out),
        "MTIMER_THRESH attribute should not be set on output SA",
    )
}

fn verify_protocol(info: &Info, has: &dyn Fn(u16) -> bool) -> Result<(), Refusal> {
    use x::{
        XFRMA_ALG_AEAD, XFRMA_ALG_AUTH, XFRMA_ALG_AUTH_TRUNC, XFRMA_ALG_COMP, XFRMA_ALG_CRYPT,
    };
    let any = |numbers: &[u16]| numbers.iter().any(|number| has(*number));
    let separate = [XFRMA_ALG_AUTH, XFRMA_ALG_AUTH_TRUNC, XFRMA_ALG_CRYPT];
    match info.u8(PROTOCOL) {
        AH => {
            refuse(
                !any(&separate[..2]),
                "Missing required attribute for AH: AUTH_TRUNC or AUTH",
            )?;
            refuse(
                any(&[
                    XFRMA_ALG_AEAD,
                    XFRMA_ALG_CRYPT,
                    XFRMA_ALG_COMP,
                    x::XFRMA_TFCPAD,
                ]),
                "Invalid attributes for AH: AEAD, CRYPT, COMP, TFCPAD",
            )
        }
        ESP => {
            refuse(has(XFRMA_ALG_COMP), "Invalid attribute for ESP: COMP")?;
            refuse(
                !any(&separate) && !has(XFRMA_ALG_AEAD),
                "Missing required attribute for ESP: at least one of AUTH, AUTH_TRUNC, CRYPT, AEAD",
            )?;
            refuse(
                any(&separate) && has(XFRMA_ALG_AEAD),
                "Invalid attribute combination for ESP: AEAD can't be used with AUTH, AUTH_TRUNC, CRYPT",
            )?;
            refuse(
                has(x::XFRMA_TFCPAD) && info.u8(MODE) != Mode::Tunnel as u8,
                "TFC padding can only be used in tunnel mode",
            )
        }
        COMP => {
            refuse(
                !has(XFRMA_ALG_COMP),
                "Missing required attribute for COMP: COMP",
            )?;
            refuse(
                any(&separate) || any(&[XFRMA_ALG_AEAD, x::XFRMA_TFCPAD]),
                "Invalid attributes for COMP: AEAD, AUTH, AUTH_TRUNC, CRYPT, TFCPAD",
            )?;
            refuse(
                info.0.be32(SPI).unwrap_or(0) >= 0x1_0000,
                "SPI is too large for COMP (must be < 0x10000)",
            )
        }
        DESTINATION_OPTIONS | ROUTING => {
            let never = [
                XFRMA_ALG_COMP,
                XFRMA_ALG_AEAD,
                x::XFRMA_ENCAP,
                x::XFRMA_SEC_CTX,
                x::XFRMA_TFCPAD,
            ];
            refuse(
                any(&separate) || any(&never),
                "Invalid attributes for DSTOPTS/ROUTING",
            )?;
            refuse(
                !has(x::XFRMA_COADDR),
                "Missing required COADDR attribute for DSTOPTS/ROUTING",
            )
        }
        _ => Err(invalid("Unsupported protocol")),
    }
}

/// `verify_replay()`.
fn verify_replay(
    info: &Info,
    attributes: &Attributes,
    direction: Option<SaDirection>,
) -> Result<(), Refusal> {
    let esn = info.has(XFRM_STATE_ESN);
    let Some(octets) = attributes.get(x::XFRMA_REPLAY_ESN_VAL) else {
        return refuse(esn, "Missing required attribute for ESN");
    };
    let words = Fields(octets).u32(0).unwrap_or(0);
    refuse(words > MOST_WORDS, "ESN bitmap length must be <= 128")?;
    refuse(
        octets.len() < x::REPLAY_HEADER + 4 * words as usize && octets.len() != x::REPLAY_HEADER,
        "ESN attribute is too short to fit the full bitmap length",
    )?;
    refuse(
        !matches!(info.u8(PROTOCOL), ESP | AH),
        "ESN only supported for ESP and AH",
    )?;
    refuse(
        info.u8(REPLAY_WINDOW) != 0,
        "ESN not compatible with legacy replay_window",
    )?;
    let Some(replay) = x::parse_replay(octets) else {
        return Ok(());
    };
    let half_full = |number: u64| number as u32 == u32::MAX;
    match direction {
        Some(SaDirection::Out) => {
            let oseq = replay.oseq;
            refuse(
                replay.window != 0,
                "Replay window should be 0 for output SA",
            )?;
            refuse(
                replay.seq != 0,
                "Replay seq and seq_hi should be 0 for output SA",
            )?;
            refuse(
                !esn && oseq >> 32 != 0,
                "Replay oseq_hi should be 0 in non-ESN mode for output SA",
            )?;
            refuse(
                !esn && half_full(oseq),
                "Replay oseq should be less than 0xFFFFFFFF in non-ESN mode for output SA",
            )?;
            refuse(
                oseq == u64::MAX,
                "Replay oseq and oseq_hi should be less than 0xFFFFFFFF for output SA",
            )?;
            refuse(words != 0, "Replay bmp_len should 0 for output SA")
        }
        Some(SaDirection::In) => {
            refuse(
                replay.oseq != 0,
                "Replay oseq and oseq_hi should be 0 for input SA",
            )?;
            refuse(
                !esn && replay.seq >> 32 != 0,
                "Replay seq_hi should be 0 in non-ESN mode for input SA",
            )?;
            refuse(
                !esn && half_full(replay.seq),
                "Replay seq should be less than 0xFFFFFFFF in non-ESN mode for input SA",
            )?;
            refuse(
                replay.seq == u64::MAX,
                "Replay seq and seq_hi should be less than 0xFFFFFFFF for input SA",
            )
        }
        None => Ok(()),
    }
}

fn verify_out(info: &Info, attributes: &Attributes) -> Result<(), Refusal> {
    for (flag, words) in [
        (
            XFRM_STATE_DECAP_DSCP,
            "Flag DECAP_DSCP should not be set for output SA",
        ),
        (XFRM_STATE_ICMP, "Flag ICMP should not be set for output SA"),
        (
            XFRM_STATE_WILDRECV,
            "Flag WILDRECV should not be set for output SA",
        ),
    ] {
        refuse(info.has(flag), words)?;
    }
    refuse(
        info.u8(REPLAY_WINDOW) != 0,
        "Replay window should be 0 for output SA",
    )?;
    let replay = attributes.get(x::XFRMA_REPLAY_VAL).map(Fields);
    refuse(
        replay.is_some_and(|replay| replay.u64(4) != Some(0)),
        "Replay seq and bitmap should be 0 for output SA",
    )
}

fn verify_in(info: &Info, attributes: &Attributes) -> Result<(), Refusal> {
    refuse(
        info.has(XFRM_STATE_NOPMTUDISC),
        "Flag NOPMTUDISC should not be set for input SA",
    )?;
    let extra = attributes.get_u32(x::XFRMA_SA_EXTRA_FLAGS).unwrap_or(0);
    refuse(
        extra & XFRM_SA_XFLAG_DONT_ENCAP_DSCP != 0,
        "Flag DONT_ENCAP_DSCP should not be set for input SA",
    )?;
    refuse(
        extra & XFRM_SA_XFLAG_OSEQ_MAY_WRAP != 0,
        "Flag OSEQ_MAY_WRAP should not be set for input SA",
    )
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
            .ok_or(invalid("Invalid address family in selector"))?,
        selector_family: info.selector_family(),
        output_mark: output_mark(attributes).unwrap_or_default(),
        encapsulation,
        original_address,
        tfc_padding: attributes.get_u32(x::XFRMA_TFCPAD).unwrap_or(0),
        limits: x::parse_limits(info.0 .0, LIMITS).unwrap_or_default(),
        mapping_threshold: attributes.get_u32(x::XFRMA_MTIMER_THRESH).unwrap_or(0),
        keepalive_interval,
        replay_age: attributes
            .get_u32(x::XFRMA_ETIMER_THRESH)
            .unwrap_or(DEFAULT_REPLAY_AGE),
        care_of: attributes
            .get(x::XFRMA_COADDR)
            .and_then(|octets| octets.get(..16)?.try_into().ok()),
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
            name: aead.name,
            keymat: aead.key.to_vec().into(),
            icv_bits: aead.icv_bits,
        }));
    }
    let auth = key(x::XFRMA_ALG_AUTH_TRUNC, x::ALGORITHM_WITH_ICV)
        .or_else(|| key(x::XFRMA_ALG_AUTH, x::ALGORITHM))
        .map(|auth| AuthNamed {
            name: auth.name,
            key: auth.key.to_vec().into(),
            icv_bits: auth.icv_bits,
        });
    let crypt = key(x::XFRMA_ALG_CRYPT, x::ALGORITHM).map(|crypt| Named {
        name: crypt.name,
        key: crypt.key.to_vec().into(),
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

pub fn verify_keepalive(
    interval: u32,
    direction: Option<SaDirection>,
    encapsulation: Encapsulation,
) -> Result<(), Refusal> {
    refuse(
        interval != 0 && direction != Some(SaDirection::Out),
        "NAT keepalive is only supported for outbound SAs",
    )?;
    refuse(
        interval != 0 && encapsulation == Encapsulation::Esp,
        "NAT keepalive is only supported for UDP encapsulation",
    )
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
