//! The SAs that a policy asks for, one after the other (`xfrm_tmpl_resolve_one`).

use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::{Flow, Policy};
use crate::sa::{Mode, Sa, SaDirection, DYING};
use crate::tables::Tables;

/// What a flow's packets go through: the first SA is applied first, the last is the outermost.
pub struct Bundle {
    pub policy: Arc<Policy>,
    pub sas: Vec<Arc<Sa>>,
    /// One of them was dying and had no successor when the bundle was made.
    dying: bool,
}

/// A template of a policy that has no SA, and the ends between which one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    pub policy: u32,
    pub template: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    NoState(Missing),
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
        let mut ends = (flow.source, flow.destination);
        let mut sas = Vec::with_capacity(policy.templates.len());
        for (number, template) in policy.templates.iter().enumerate() {
            let (source, destination) = if template.mode == Mode::Transport as u8 {
                ends
            } else {
                (template.source, template.destination)
            };
            match tables.outbound_sa(policy, template, (source, destination), flow) {
                Some(sa) if sa.config.direction == Some(SaDirection::In) => {
                    return Err(Unresolved::Direction)
                }
                Some(sa) => {
                    ends = (sa.config.source, sa.config.destination);
                    sas.push(Arc::clone(sa));
                }
                None if template.optional => {}
                None => {
                    return Err(Unresolved::NoState(Missing {
                        policy: policy.index,
                        template: number,
                        source,
                        destination,
                    }))
                }
            }
        }
        if sas.is_empty() {
            return Err(Unresolved::NoTemplate);
        }
        Ok(Bundle {
            policy: Arc::clone(policy),
            dying: sas.iter().any(|sa| sa.state.has_life(DYING)),
            sas,
        })
    }

    /// False once an SA has gone or expired, or has begun to die since, so that another may be
    /// there.
    pub fn is_fresh(&self) -> bool {
        self.sas
            .iter()
            .all(|sa| sa.state.is_valid() && (self.dying || !sa.state.has_life(DYING)))
    }

    /// Whether the first SA carries less than a whole IP packet of that version, so that fragments
    /// must be put together before it (RFC 4301, 7; RFC 4303, 3.3.4). BEET mode carries a fragment
    /// header of IPv6 as any other, but has no place for the fragment fields of IPv4.
    pub fn needs_whole(&self, is_ipv4: bool) -> bool {
        match self.sas.first().map(|sa| sa.config.mode) {
            Some(Mode::Transport) => true,
            Some(Mode::Beet) => is_ipv4,
            Some(Mode::Tunnel) | None => false,
        }
    }
}
