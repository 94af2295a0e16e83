//! The check of a packet that was opened: do the SAs that it came by fit a policy's templates
//! (`__xfrm_policy_check`)?

use std::sync::Arc;

use crate::ip::{self, Packet, ICMP, ICMPV6};
use crate::policy::{Action, Direction, Flow, Policy, Template};
use crate::sa::{Mode, Sa, XFRM_STATE_ICMP};
use crate::stats::DropReason;
use crate::tables::Tables;

/// The SAs that a packet came by, the outermost first.
#[derive(Clone, Default)]
pub struct SecPath {
    pub sas: Vec<Arc<Sa>>,
    /// Of those, the ones that an earlier check has verified (nested tunnels).
    pub verified: usize,
}

/// XFRM_MAX_DEPTH.
pub const MOST_SAS: usize = 6;

/// The number of SAs that the policy verifies.
pub fn check(
    tables: &Tables,
    path: &SecPath,
    if_id: u32,
    octets: &[u8],
    packet: &Packet,
    policy: Option<&Policy>,
) -> Result<usize, DropReason> {
    if path.sas.iter().any(|sa| !takes(sa, octets, packet)) {
        return Err(DropReason::InStateMismatch);
    }
    let Some(policy) = policy else {
        let blocked = tables.blocked[Direction::In as usize];
        if blocked || has_non_transport(path, 0) {
            return Err(DropReason::InNoPols);
        }
        return Ok(path.verified);
    };
    policy.state.count(1, packet.length as u64);
    if policy.action == Action::Block {
        return Err(DropReason::InPolBlock);
    }
    let mut place = 0;
    for template in policy.templates.iter().rev() {
        place = fit(template, path, place, if_id).ok_or(DropReason::InTmplMismatch)?;
    }
    if has_non_transport(path, place) {
        return Err(DropReason::InTmplMismatch);
    }
    Ok(place)
}

/// The SA's selector lets the packet in, or with XFRM_STATE_ICMP the one that an ICMP error is about
/// (RFC 4301, 6; `xfrm_selector_inner_icmp_match`).
fn takes(sa: &Sa, octets: &[u8], packet: &Packet) -> bool {
    if sa.takes(&packet.flow) {
        return true;
    }
    // Destination unreachable and time exceeded; for IPv6 packet too big as well.
    let is_error = match packet.flow.protocol {
        ICMP => matches!(packet.flow.source_port, 3 | 11),
        ICMPV6 => matches!(packet.flow.source_port, 1..=3),
        _ => false,
    };
    sa.config.flags & XFRM_STATE_ICMP != 0
        && is_error
        && octets
            .get(packet.transport + 8..packet.length)
            .and_then(ip::quoted_flow)
            .is_some_and(|flow| sa.takes(&reverse(flow)))
}

fn reverse(flow: Flow) -> Flow {
    let has_ports = !matches!(flow.protocol, ICMP | ICMPV6);
    let ports = if has_ports {
        (flow.destination_port, flow.source_port)
    } else {
        (flow.source_port, flow.destination_port)
    };
    Flow {
        source: flow.destination,
        destination: flow.source,
        source_port: ports.0,
        destination_port: ports.1,
        ..flow
    }
}

/// `xfrm_policy_ok()`: the place after the SA that fits a template.
fn fit(template: &Template, path: &SecPath, start: usize, if_id: u32) -> Option<usize> {
    if template.optional && template.mode == Mode::Transport as u8 {
        return Some(start);
    }
    for (place, sa) in path.sas.iter().enumerate().skip(start) {
        if fits(template, sa, if_id) {
            return Some(place + 1);
        }
        if sa.config.mode != Mode::Transport && place >= path.verified {
            break;
        }
    }
    template.optional.then_some(start)
}

/// `xfrm_state_ok()`.
fn fits(template: &Template, sa: &Sa, if_id: u32) -> bool {
    let config = &sa.config;
    let addresses = config.mode == Mode::Transport
        || (template.source.is_unspecified() || template.source == config.source)
            && (template.destination.is_unspecified()
                || template.destination == config.destination);
    template.protocol == config.protocol
        && template.mode == config.mode as u8
        && (template.reqid == 0 || template.reqid == config.reqid)
        && (template.spi == 0 || template.spi == config.spi)
        && addresses
        && (if_id == 0 || if_id == config.if_id)
}

/// `secpath_has_nontransport()`.
fn has_non_transport(path: &SecPath, start: usize) -> bool {
    path.sas[start.min(path.sas.len())..]
        .iter()
        .any(|sa| sa.config.mode != Mode::Transport)
}
