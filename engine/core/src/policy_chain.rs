//! Policies with the same pair of masked addresses, in the order in which the kernel tries them.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::policy::{Flow, Mark, Policy, Selector};

/// Policies up to which a walk costs less than a map.
const SHORT: usize = 8;

/// Rank in a chain: priority, then order.
type Rank = (u32, u64);
/// Which parts of a selector and mark say anything: protocol, masks of ports, link, mask of mark.
type Shape = (bool, u16, u16, bool, u32);
/// What those parts are.
type Place = (u8, u16, u16, u32, u32);
type Places = HashTrieMapSync<Place, RedBlackTreeMapSync<Rank, Arc<Policy>>>;

/// A chain; a short one is a list by rank, a long one has a map per shape in use.
#[derive(Clone)]
pub enum Chain {
    Short(Arc<[Arc<Policy>]>),
    Long(Arc<HashTrieMapSync<Shape, Places>>),
}

impl Default for Chain {
    fn default() -> Self {
        Chain::Short(Arc::default())
    }
}

fn rank(policy: &Policy) -> Rank {
    (policy.priority, policy.order)
}

fn shape(policy: &Policy) -> Shape {
    let selector = &policy.selector;
    (
        selector.protocol != 0,
        selector.source_port_mask,
        selector.destination_port_mask,
        selector.ifindex != 0,
        policy.mark.mask,
    )
}

/// Where a flow, or a policy's own selector, stands among policies of a shape.
fn place(shape: &Shape, flow: &Flow, mark: u32) -> Place {
    let (protocol, source, destination, link, mask) = *shape;
    (
        if protocol { flow.protocol } else { 0 },
        flow.source_port & source,
        flow.destination_port & destination,
        if link { flow.ifindex } else { 0 },
        mark & mask,
    )
}

fn own_place(policy: &Policy) -> Place {
    let Selector {
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        ifindex,
        ..
    } = policy.selector;
    let flow = Flow {
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        ifindex,
    };
    place(&shape(policy), &flow, policy.mark.value)
}

/// `xfrm_policy_match()`, besides the if_id.
pub fn matches(policy: &Policy, flow: &Flow, mark: u32) -> bool {
    let Mark { value, mask } = policy.mark;
    mark & mask == value && policy.selector.matches(flow)
}

impl Chain {
    pub fn is_empty(&self) -> bool {
        match self {
            Chain::Short(list) => list.is_empty(),
            Chain::Long(shapes) => shapes.is_empty(),
        }
    }

    /// The chain with one more.
    pub fn with(self, policy: Arc<Policy>) -> Chain {
        match self {
            Chain::Short(list) if list.len() < SHORT => {
                let at = list.partition_point(|other| rank(other) < rank(&policy));
                let mut list = list.to_vec();
                list.insert(at, policy);
                Chain::Short(list.into())
            }
            Chain::Short(list) => {
                let long = Chain::Long(Arc::default());
                let all = list.iter().cloned().chain([policy]);
                all.fold(long, Chain::with)
            }
            Chain::Long(mut shapes) => {
                let (shape, place) = (shape(&policy), own_place(&policy));
                let map = Arc::make_mut(&mut shapes);
                let mut places = map.get(&shape).cloned().unwrap_or_default();
                let mut here = places.get(&place).cloned().unwrap_or_default();
                here.insert_mut(rank(&policy), policy);
                places.insert_mut(place, here);
                map.insert_mut(shape, places);
                Chain::Long(shapes)
            }
        }
    }

    /// The chain without one of its policies.
    pub fn without(self, policy: &Policy) -> Chain {
        match self {
            Chain::Short(list) => {
                let others = list.iter().filter(|other| rank(other) != rank(policy));
                Chain::Short(others.cloned().collect())
            }
            Chain::Long(mut shapes) => {
                let (shape, place) = (shape(policy), own_place(policy));
                let map = Arc::make_mut(&mut shapes);
                let mut places = map.get(&shape).cloned().unwrap_or_default();
                let mut here = places.get(&place).cloned().unwrap_or_default();
                here.remove_mut(&rank(policy));
                if here.is_empty() {
                    places.remove_mut(&place);
                } else {
                    places.insert_mut(place, here);
                }
                if places.is_empty() {
                    map.remove_mut(&shape);
                } else {
                    map.insert_mut(shape, places);
                }
                Chain::Long(shapes)
            }
        }
    }

    /// The first that matches.
    pub fn find(&self, flow: &Flow, mark: u32) -> Option<&Arc<Policy>> {
        match self {
            Chain::Short(list) => list.iter().find(|policy| matches(policy, flow, mark)),
            Chain::Long(shapes) => shapes
                .iter()
                .filter_map(|(shape, places)| {
                    let here = places.get(&place(shape, flow, mark))?;
                    here.values().find(|policy| matches(policy, flow, mark))
                })
                .min_by_key(|policy| rank(policy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::policy;
    use std::net::IpAddr;

    const HOST: [u8; 4] = [10, 0, 0, 1];

    fn of_port(port: u16, mark: u32, order: u64) -> Arc<Policy> {
        let mut one = policy(IpAddr::from(HOST), IpAddr::from(HOST));
        one.selector.protocol = 17;
        one.selector.destination_port = port;
        one.selector.destination_port_mask = 0xffff;
        one.mark = Mark {
            value: mark,
            mask: 0xff,
        };
        one.order = order;
        Arc::new(one)
    }

    fn flow(port: u16) -> Flow {
        Flow {
            source: HOST.into(),
            destination: HOST.into(),
            protocol: 17,
            source_port: 9,
            destination_port: port,
            ifindex: 0,
        }
    }

    fn chain(count: u32) -> Chain {
        (0..count).fold(Chain::default(), |chain, number| {
            let (port, mark) = (number as u16, number >> 16);
            chain.with(of_port(port, mark, u64::from(number)))
        })
    }

    #[test]
    fn a_long_chain_is_the_same_as_a_walk_through_it() {
        let any = Arc::new(Policy {
            priority: 0,
            order: 500,
            ..policy(HOST.into(), HOST.into())
        });
        let chain = chain(1000).with(Arc::clone(&any));
        for port in [0, 499, 501, 999, 1000] {
            let first = if port < 500 { u64::from(port) } else { 500 };
            assert_eq!(chain.find(&flow(port), 0).map(|one| one.order), Some(first));
        }
        let chain = chain.without(&any);
        assert!(chain.find(&flow(1000), 0).is_none() && chain.find(&flow(5), 1).is_none());
        let empty = (0..1000).fold(chain, |chain, number| {
            chain.without(&of_port(number, 0, u64::from(number)))
        });
        assert!(empty.is_empty());
    }
}
