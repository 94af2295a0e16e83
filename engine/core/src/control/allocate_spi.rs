//! ALLOCSPI: an SPI, and a larval SA that keeps it until UPDSA brings the keys
//! (`xfrm_alloc_userspi`, `xfrm_alloc_spi`).

use std::net::IpAddr;
use std::sync::Arc;

use super::policy_parse::{invalid, mark_and_if_id};
use super::policy_requests::Request;
use super::sa_encode::encode_larval;
use super::sa_parse::{
    cpu, direction, DESTINATION, FAMILY, MODE, PROTOCOL, REQID, SEQUENCE, SOURCE,
};
use super::sa_requests::mark_of;
use super::state::{Answer, State};
use crate::crypto::random;
use crate::netlink::wire::Refusal;
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Mark, Selector};
use crate::replay::ReplayWindow;
use crate::sa::{clock, now, Encapsulation, Mode, ReplayForm, SaConfig, SaState};
use crate::sad::{Larval, Sad};

/// `struct xfrm_userspi_info`.
pub const LENGTH: usize = x::SA_INFO + 8;
const LOWEST: usize = x::SA_INFO;
const HIGHEST: usize = x::SA_INFO + 4;
/// net.core.xfrm_acq_expires: seconds that a larval SA is waited for.
pub const ACQUIRE_EXPIRES: u64 = 30;
const AH: u8 = 51;
const ESP: u8 = 50;
const COMP: u8 = 108;
/// Random tries before all of a range is looked through.
const TRIES: u32 = 64;

/// `verify_spi_info()`.
fn verify(protocol: u8, low: u32, high: u32) -> Result<(), Refusal> {
    match protocol {
        AH | ESP => {}
        COMP if high >= 0x1_0000 => return Err(invalid("IPCOMP SPI must be <= 65535")),
        COMP => {}
        _ => return Err(invalid("Invalid protocol, must be one of AH, ESP, IPCOMP")),
    }
    if low > high {
        return Err(invalid("Invalid SPI range: min > max"));
    }
    Ok(())
}

/// A larval SA's description: without keys, with the kernel's limits.
pub fn larval_config(source: IpAddr, destination: IpAddr, protocol: u8, mode: Mode) -> SaConfig {
    SaConfig {
        spi: 0,
        source,
        destination,
        protocol,
        mark: Mark::default(),
        if_id: 0,
        reqid: 0,
        mode,
        flags: 0,
        extra_flags: 0,
        direction: None,
        selector: Selector::between_hosts(source, destination).into(),
        selector_family: 0,
        output_mark: Mark::default(),
        encapsulation: Encapsulation::Esp,
        original_address: None,
        tfc_padding: 0,
        limits: crate::lifetime::Limits {
            hard_add_seconds: ACQUIRE_EXPIRES,
            ..crate::lifetime::Limits::NONE
        }
        .into(),
        mapping_threshold: 0,
        keepalive_interval: 0,
        replay_age: 0,
        care_of: None,
        sequence: 0,
        cpu: None,
        replay_form: ReplayForm::Legacy { window: 0 },
        added: now(),
        added_clock: clock(),
    }
}

pub fn larval_state() -> Arc<SaState> {
    Arc::new(SaState::new(0, ReplayWindow::new(0, false)))
}

pub fn allocate(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let fields = Fields(request.payload());
    let number = |at| fields.u32(at).unwrap_or(0);
    let protocol = fields.u8(PROTOCOL).unwrap_or(0);
    let (low, high) = (number(LOWEST), number(HIGHEST));
    verify(protocol, low, high)?;
    let cpu = cpu(&request.attributes, libc::EINVAL)?;
    let family = fields.u16(FAMILY).unwrap_or(0);
    let address = |at| {
        fields
            .address(at, family)
            .ok_or(invalid("Invalid address family"))
    };
    let mode =
        Mode::try_from(fields.u8(MODE).unwrap_or(0)).map_err(|()| invalid("Unsupported mode"))?;
    let (mark, if_id) = mark_and_if_id(&request.attributes);
    let wanted = SaConfig {
        reqid: number(REQID),
        mark,
        if_id,
        cpu,
        ..larval_config(address(SOURCE)?, address(DESTINATION)?, protocol, mode)
    };
    let sequence = number(SEQUENCE);
    let of_sequence = (sequence != 0)
        .then(|| {
            state
                .sad
                .larval_of_sequence(mark_of(&request.attributes), sequence, cpu)
        })
        .flatten()
        .filter(|larval| larval.config.destination == wanted.destination);
    let found = of_sequence
        .or_else(|| state.sad.larval_like(&wanted))
        .cloned();
    let (is_new, larval) = match found {
        Some(larval) => (false, larval),
        None => (true, state.sad.add_larval(wanted, larval_state())),
    };
    let spi = match larval.config.spi {
        0 => pick(&state.sad, protocol, low, high),
        spi => Some(spi),
    };
    let mut config = larval.config.clone();
    config.spi = spi.unwrap_or(0);
    if spi.is_some() {
        config.direction = direction(&request.attributes).or(config.direction);
    }
    if !is_new {
        state.remove_larval(larval.number);
    }
    let larval = state.sad.put_larval(Larval {
        number: larval.number,
        config,
        state: Arc::clone(&larval.state),
    });
    state.insert_larval(&larval);
    if spi.is_none() {
        // The larval SA stays, as the kernel leaves it.
        return Err(Refusal::new(
            libc::ENOENT,
            "No SPI available in the requested range",
        ));
    }
    Answer::of(vec![(x::NEWSA, encode_larval(&larval).to_vec())])
}

/// An SPI that no SA of the protocol has, whatever its addresses; never 0.
fn pick(sad: &Sad, protocol: u8, low: u32, high: u32) -> Option<u32> {
    let free = |spi: &u32| *spi != 0 && sad.spi_is_free(*spi, protocol);
    let span = u64::from(high - low) + 1;
    let random = || low + (u64::from_ne_bytes(random()) % span) as u32;
    let tries = if low == high { 0 } else { TRIES };
    let lucky = (0..tries).map(|_| random()).find(|spi| free(spi));
    lucky.or_else(|| (low..=high).find(free))
}
