//! The check of a packet that was opened: do the SAs that it came by fit a policy's templates
//! (`__xfrm_policy_check`)?

use std::sync::Arc;

use crate::policy::{Action, Direction, Flow, Policy, Template};
use crate::sa::{Mode, Sa};
use crate::stats::DropReason;
use crate::tables::Tables;

/// The SAs that a packet came by, the outermost first.
#[derive(Default)]
pub struct SecPath {
    pub sas: Vec<Arc<Sa>>,
    /// Of those, the ones that an earlier check has verified (nested tunnels).
    pub verified: usize,
}

/// XFRM_MAX_DEPTH.
pub const MOST_SAS: usize = 6;

/// The number of SAs that were verified.
pub fn check(
    tables: &Tables,
    path: &SecPath,
    if_id: u32,
    flow: &Flow,
    policy: Option<&Arc<Policy>>,
) -> Result<usize, DropReason> {
    if path.sas.iter().any(|sa| !sa.takes(flow)) {
        return Err(DropReason::InStateMismatch);
    }
    let Some(policy) = policy else {
        let blocked = tables.blocked[Direction::In as usize];
        if blocked || has_non_transport(path, 0) {
            return Err(DropReason::InNoPols);
        }
        return Ok(0);
    };
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
