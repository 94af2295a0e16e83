//! The SAs that a policy asks for, one after the other (`xfrm_tmpl_resolve`).

use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::{Flow, Policy};
use crate::sa::{Mode, Sa, SaDirection, DYING};
use crate::tables::Tables;

/// What a flow's packets go through: the first SA is applied first, the last is the outermost.
pub struct Bundle {
    pub policy: Arc<Policy>,
    pub sas: Vec<Arc<Sa>>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No SA for this template of the policy.
    NoState { template: usize },
    /// The SA is for the other direction.
    Direction,
    /// The policy asks for no SA.
    NoTemplate,
}

impl Bundle {
    /// Templates of tunnel and BEET mode name both ends; one of transport mode is between the ends
    /// that the packet has by then.
    pub fn resolve(
        tables: &Tables,
        policy: &Arc<Policy>,
        flow: &Flow,
    ) -> Result<Bundle, Unresolved> {
        let mut ends: (IpAddr, IpAddr) = (flow.source, flow.destination);
        let mut sas = Vec::with_capacity(policy.templates.len());
        for (number, template) in policy.templates.iter().enumerate() {
            if template.mode != Mode::Transport as u8 {
                ends = (template.source, template.destination);
            }
            match tables.outbound_sa(policy, template, ends, flow) {
                None if template.optional => {}
                None => return Err(Unresolved::NoState { template: number }),
                Some(sa) if sa.config.direction == Some(SaDirection::In) => {
                    return Err(Unresolved::Direction)
                }
                Some(sa) => {
                    ends = (sa.config.source, sa.config.destination);
                    sas.push(Arc::clone(sa));
                }
            }
        }
        if sas.is_empty() {
            return Err(Unresolved::NoTemplate);
        }
        Ok(Bundle {
            policy: Arc::clone(policy),
            sas,
        })
    }

    /// False once an SA has gone or expired, or should be followed by another.
    pub fn is_fresh(&self) -> bool {
        self.sas
            .iter()
            .all(|sa| sa.state.is_valid() && !sa.state.has_life(DYING))
    }
}
