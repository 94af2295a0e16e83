//! From one read of TUN to ESP packets in a buffer, ready for the underlay. No I/O here.
//!
//! 1. the read is an IP packet: else dropped
//! 2. policy: direction out, if_id by strict equality: else the kernel's ICMP answer
//! 3. SAs by the policy's templates: else the packet is held and an SA asked for, or XfrmOutNoStates
//!    and the answer
//! 4. the packet is not our own ESP to that peer: else a routing loop, counted as a collision
//! 5. fragments are put together where the mode carries no fragment: else XfrmOutStateModeError
//! 6. segments are cut and sealed (`sealing`)
//! 7. equal segments of one SA stand in a row: one datagram for UDP_SEGMENT (`staging`)
//!
//! Every answer of `xfrmi_xmit2` to a failed lookup is the same: tx_carrier_errors and host
//! unreachable, whatever `/proc/net/xfrm_stat` says of the reason.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Instant;

use crate::bundle::{Bundle, Missing, Unresolved};
use crate::device::Device;
use crate::drop_ring::DropRing;
use crate::events::{Event, Events};
use crate::flow_cache::FlowCache;
use crate::held::Held;
use crate::icmp;
use crate::ip::{self, Packet};
use crate::losses::Losses;
use crate::offload::vnet::VnetHeader;
use crate::path_mtu::Paths;
use crate::policy::{Action, Direction, Flow, Policy};
use crate::published::Published;
use crate::reassembly::{Added, Reassembly};
use crate::sa::{Encapsulation, Sa};
use crate::sealing::{Gone, Sealer};
use crate::stats::{DropReason, XfrmStat};
use crate::tables::Tables;

pub use crate::staging::{Datagram, Outer, Staging};

/// What becomes of a flow.
#[derive(Clone)]
enum Verdict {
    Seal(Arc<Bundle>),
    /// Held until there is an SA.
    Acquire(Arc<Policy>, Missing),
    /// Dropped with the ICMP answer of a link that fails.
    Unreachable(Option<DropReason>),
    /// The same, by a policy that blocks.
    Block(Arc<Policy>),
}

impl Verdict {
    /// A policy fits, and no SA.
    fn lacks_sa(&self) -> bool {
        matches!(
            self,
            Verdict::Acquire(..) | Verdict::Unreachable(Some(DropReason::OutNoStates))
        )
    }
}

/// The outbound half of a worker: its cache, what it holds, and its counters.
pub struct Outbound {
    events: Arc<Events>,
    pub ring: Arc<DropRing>,
    published: Option<Arc<Published>>,
    flows: FlowCache<Verdict>,
    held: Held,
    reassembly: Reassembly,
    losses: Losses,
    sealer: Sealer,
}

impl Outbound {
    pub fn new(stat: Arc<XfrmStat>, events: Arc<Events>) -> Self {
        let losses = Losses::new(stat);
        Outbound {
            sealer: Sealer::new(losses.clone(), Arc::clone(&events)),
            ring: losses.ring(),
            losses,
            published: None,
            events,
            flows: FlowCache::new(),
            held: Held::default(),
            reassembly: Reassembly::default(),
        }
    }

    /// Forgets what was found in older tables.
    pub fn tables_changed(&mut self) {
        self.flows.clear();
        self.held.tables_changed();
    }

    /// Whether packets wait for an SA, and `release` should be called when tables change.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Tries all packets that wait again, before any other that comes later: they are sealed, wait
    /// on, or are dropped. `then` is called after each with the ICMP answer if there is one.
    pub fn release(
        &mut self,
        tables: &Tables,
        staging: &mut Staging,
        mut then: impl FnMut(&Arc<Device>, Option<Vec<u8>>, &mut Staging),
    ) {
        for read in self.held.take() {
            let device = &read.device;
            let served = tables.device(device.if_id);
            let answer = if served.is_some_and(|served| Arc::ptr_eq(served, device)) {
                self.seal_or_hold(tables, device, &read.octets, staging, true)
            } else {
                self.drop(device, &[], None)
            };
            then(device, answer, staging);
        }
        self.held.settle();
    }

    /// Seals one read into `staging`; gives the ICMP answer if there is one to write back.
    pub fn seal(
        &mut self,
        tables: &Tables,
        device: &Arc<Device>,
        read: &[u8],
        staging: &mut Staging,
    ) -> Option<Vec<u8>> {
        self.seal_or_hold(tables, device, read, staging, false)
    }

    /// Where the MTU of paths is asked for; before that none has a limit.
    pub fn ask(&mut self, paths: Paths) {
        self.sealer.paths = paths;
    }

    /// Tables to look into where those of the batch have no SA any more.
    pub fn follow(&mut self, published: Arc<Published>) {
        self.published = Some(published);
    }

    fn newer_than(&self, tables: &Tables) -> Option<Arc<Tables>> {
        let (_, current) = self.published.as_ref()?.load();
        (!std::ptr::eq(&*current, tables)).then_some(current)
    }

    /// `again` for a read that was held before.
    fn seal_or_hold(
        &mut self,
        tables: &Tables,
        device: &Arc<Device>,
        read: &[u8],
        staging: &mut Staging,
        again: bool,
    ) -> Option<Vec<u8>> {
        let Some((header, octets)) = VnetHeader::parse(read) else {
            return self.drop(device, &[], None);
        };
        let Some(packet) = ip::parse(octets) else {
            return self.drop(device, &[], None);
        };
        let Some(if_id) = tables.if_id_of(device, packet.flow.destination) else {
            // Without metadata (`xfrmi_xmit2`).
            return self.drop(device, octets, None);
        };
        match self.verdict(tables, if_id, &packet.flow) {
            Verdict::Unreachable(reason) => self.unreachable(device, octets, &packet, reason),
            Verdict::Block(policy) => {
                policy.state.count(1, packet.length as u64);
                let reason = Some(DropReason::OutPolBlock);
                self.unreachable(device, octets, &packet, reason)
            }
            Verdict::Acquire(policy, missing) => {
                if self.hold(tables, &policy, missing, device, &packet.flow, read, again) {
                    return None;
                }
                self.unreachable(device, octets, &packet, Some(DropReason::OutNoStates))
            }
            Verdict::Seal(bundle) => {
                if bundle.sas.iter().any(|sa| is_own_outer(sa, &packet.flow)) {
                    device.stats.collisions.fetch_add(1, Relaxed);
                    return self.drop(device, octets, None);
                }
                if packet.fragment && bundle.needs_whole(packet.is_ipv4()) {
                    let whole = self.put_together(device, &octets[..packet.length])?;
                    return self.seal_or_hold(tables, device, &whole, staging, again);
                }
                match self
                    .sealer
                    .seal(&bundle, tables, device, &header, octets, &packet, staging)
                {
                    Ok(answer) => answer,
                    // Another lookup does not find it, and perhaps its successor, which may be in
                    // tables that came since.
                    Err(Gone) => {
                        let newer = self.newer_than(tables);
                        let tables = newer.as_deref().unwrap_or(tables);
                        self.seal_or_hold(tables, device, read, staging, again)
                    }
                }
            }
        }
    }

    /// Steps 2 and 3, once per flow and state of the tables.
    fn verdict(&mut self, tables: &Tables, if_id: u32, flow: &Flow) -> Verdict {
        let verdict = self.flows.get(if_id, flow, || look_up(tables, if_id, flow));
        let verdict = match verdict {
            Verdict::Seal(bundle) if !bundle.is_fresh() => {
                let verdict = look_up(tables, if_id, flow);
                self.flows.put(if_id, flow, verdict.clone());
                verdict
            }
            verdict => verdict,
        };
        if !verdict.lacks_sa() {
            return verdict;
        }
        // The SA was deleted just now: its successor may be in tables that came since.
        match self.newer_than(tables) {
            Some(newer) => look_up(&newer, if_id, flow),
            None => verdict,
        }
    }

    /// Asks for an SA and keeps the read until it is there; false if it is to be dropped.
    #[allow(clippy::too_many_arguments)]
    fn hold(
        &mut self,
        tables: &Tables,
        policy: &Arc<Policy>,
        missing: Missing,
        device: &Arc<Device>,
        flow: &Flow,
        read: &[u8],
        again: bool,
    ) -> bool {
        let larval = policy.templates.get(missing.template).is_some_and(|one| {
            tables.larval_between(policy, one, missing.source, missing.destination)
        });
        if self.held.has_given_up(missing, larval) && again {
            return false;
        }
        if !larval && self.held.asks(missing) {
            self.events.tell(Event::Acquire {
                policy: Arc::clone(policy),
                template: missing.template,
                flow: *flow,
            });
        }
        self.held.keep(policy.index, device, read)
    }

    /// Step 5: the whole datagram as a read, when its last fragment has come.
    fn put_together(&mut self, device: &Device, fragment: &[u8]) -> Option<Vec<u8>> {
        let (added, lost) = self.reassembly.add(fragment, Instant::now());
        if lost > 0 {
            let reason = Some(DropReason::OutStateModeError);
            self.losses.add(device, fragment, lost, reason);
        }
        match added {
            Added::Waits => None,
            Added::Whole(datagram) => {
                let mut read = VnetHeader::default().encode().to_vec();
                read.extend(datagram);
                Some(read)
            }
        }
    }

    fn unreachable(
        &self,
        device: &Device,
        octets: &[u8],
        packet: &Packet,
        reason: Option<DropReason>,
    ) -> Option<Vec<u8>> {
        device.stats.tx_carrier_errors.fetch_add(1, Relaxed);
        self.drop(device, octets, reason);
        icmp::unreachable(octets, packet)
    }

    fn drop(&self, device: &Device, octets: &[u8], reason: Option<DropReason>) -> Option<Vec<u8>> {
        self.losses.add(device, octets, 1, reason);
        None
    }
}

fn look_up(tables: &Tables, if_id: u32, flow: &Flow) -> Verdict {
    let Some(policy) = tables.policy(Direction::Out, if_id, flow, 0) else {
        // No counter, whatever the default says: the kernel has none for this either.
        return Verdict::Unreachable(None);
    };
    if policy.action == Action::Block {
        return Verdict::Block(Arc::clone(policy));
    }
    match Bundle::resolve(tables, policy, flow) {
        Ok(bundle) => Verdict::Seal(Arc::new(bundle)),
        Err(Unresolved::NoTemplate) => Verdict::Unreachable(None),
        Err(Unresolved::Direction) => Verdict::Unreachable(Some(DropReason::OutStateDirError)),
        Err(Unresolved::NoState(missing)) if tables.acquire => {
            Verdict::Acquire(Arc::clone(policy), missing)
        }
        Err(Unresolved::NoState(_)) => Verdict::Unreachable(Some(DropReason::OutNoStates)),
    }
}

/// Whether a packet into the tunnel is the tunnel's own ESP: a route leads the peer's address in.
fn is_own_outer(sa: &Sa, flow: &Flow) -> bool {
    flow.destination == sa.config.destination
        && flow.source == sa.config.source
        && match sa.config.encapsulation {
            Encapsulation::Esp => flow.protocol == ip::ESP,
            Encapsulation::Udp {
                source_port,
                destination_port,
            } => {
                flow.protocol == ip::UDP
                    && flow.source_port == source_port
                    && flow.destination_port == destination_port
            }
        }
}
