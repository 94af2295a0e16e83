//! What a description of an SA must not say: conditions, their order, errno and words of
//! `verify_newsa_info()` (`net/xfrm/xfrm_user.c`).

use super::policy_parse::{invalid, verify_security};
use super::sa_parse::{direction, refuse, Info, FAMILY, MODE, PROTOCOL, REPLAY_WINDOW, SPI};
use crate::ip::ESP;
use crate::netlink::attributes::Attributes;
use crate::netlink::wire::Refusal;
use crate::netlink::xfrm::{self as x, Fields};
use crate::sa::{
    Encapsulation, Mode, SaDirection, XFRM_SA_XFLAG_DONT_ENCAP_DSCP, XFRM_SA_XFLAG_OSEQ_MAY_WRAP,
    XFRM_STATE_DECAP_DSCP, XFRM_STATE_ESN, XFRM_STATE_ICMP, XFRM_STATE_NOPMTUDISC,
    XFRM_STATE_WILDRECV,
};

/// `XFRMA_REPLAY_ESN_MAX`, in words.
const MOST_WORDS: u32 = 4096 / 32;
const AH: u8 = 51;
const COMP: u8 = 108;
const DESTINATION_OPTIONS: u8 = 60;
const ROUTING: u8 = 43;
const MODE_ROUTEOPTIMIZATION: u8 = 2;

pub fn verify(info: &Info, attributes: &Attributes) -> Result<(), Refusal> {
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
fn verify_mapping_threshold(
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

/// Keepalives are for what goes out in UDP (`__xfrm_init_state`).
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
