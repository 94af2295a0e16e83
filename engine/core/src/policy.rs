//! Selectors, templates and policies (`struct xfrm_userpolicy_info`, RFC 4301, 4.4.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::lifetime::Limits;
use crate::sa::now;
use crate::sparse::{Sparse, Usual};

/// XFRM_POLICY_IN, OUT and FWD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    In = 0,
    Out = 1,
    Fwd = 2,
}

/// XFRM_POLICY_ALLOW and BLOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    Allow = 0,
    Block = 1,
}

/// A value under a mask (`struct xfrm_mark`): matches `m` if `m & mask == value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    pub value: u32,
    pub mask: u32,
}

/// `struct xfrm_selector`; prefix lengths in bits, ports in host order under masks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    pub source: IpAddr,
    pub source_prefix: u8,
    pub destination: IpAddr,
    pub destination_prefix: u8,
    pub protocol: u8,
    pub source_port: u16,
    pub source_port_mask: u16,
    pub destination_port: u16,
    pub destination_port_mask: u16,
    pub ifindex: u32,
    pub user: u32,
}

/// What a packet is matched by: its addresses, protocol and ports (or ICMP type and code), and the
/// link that its route or its device names (`flowi_oif`), 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
    pub ifindex: u32,
}

impl Usual for Selector {
    /// Every packet of a family.
    const USUAL: &'static [Selector] = &[
        Selector::any(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Selector::any(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
}

impl Selector {
    /// Every packet of the family of an address, which should be the unspecified one.
    pub const fn any(address: IpAddr) -> Selector {
        Selector {
            source: address,
            source_prefix: 0,
            destination: address,
            destination_prefix: 0,
            protocol: 0,
            source_port: 0,
            source_port_mask: 0,
            destination_port: 0,
            destination_port_mask: 0,
            ifindex: 0,
            user: 0,
        }
    }

    /// All that goes from one host to another.
    pub fn between_hosts(source: IpAddr, destination: IpAddr) -> Selector {
        let prefix = if destination.is_ipv4() { 32 } else { 128 };
        Selector {
            source_prefix: prefix,
            destination,
            destination_prefix: prefix,
            ..Selector::any(source)
        }
    }

    /// `xfrm_selector_match()`: family, prefixes, protocol, ports and link.
    pub fn matches(&self, flow: &Flow) -> bool {
        prefix_matches(self.source, self.source_prefix, flow.source)
            && prefix_matches(self.destination, self.destination_prefix, flow.destination)
            && (self.protocol == 0 || self.protocol == flow.protocol)
            && (flow.source_port ^ self.source_port) & self.source_port_mask == 0
            && (flow.destination_port ^ self.destination_port) & self.destination_port_mask == 0
            && (self.ifindex == 0 || self.ifindex == flow.ifindex)
    }
}

/// `struct xfrm_user_tmpl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub spi: u32,
    pub protocol: u8,
    pub reqid: u32,
    pub mode: u8,
    pub share: u8,
    pub optional: bool,
    pub aalgos: u32,
    pub ealgos: u32,
    pub calgos: u32,
}

/// One entry of the SPD. Its identity is direction, selector, if_id and mark; `index` names it too.
#[derive(Clone, Debug)]
pub struct Policy {
    pub index: u32,
    /// Among those of equal priority the lower comes first (`xfrm_policy.pos`); a replaced policy
    /// stands as if it had just been added.
    pub position: u64,
    /// The same among those with the same addresses, where a policy that is replaced by one of
    /// equal priority keeps its place (`xfrm_policy_insert_list`).
    pub order: u64,
    pub direction: Direction,
    pub selector: Selector,
    pub if_id: u32,
    pub mark: Mark,
    pub priority: u32,
    pub action: Action,
    pub flags: u8,
    pub templates: Vec<Template>,
    pub limits: Sparse<Limits>,
    /// Seconds since the epoch.
    pub added: u64,
    pub state: Arc<PolicyState>,
    pub told: Told,
}

/// Selector and templates exactly as they were told. The kernel compares and gives back every octet
/// of them, those too that mean nothing: addresses beyond their prefix, padding.
#[derive(Clone, Debug)]
pub struct Told {
    /// `struct xfrm_selector`.
    pub selector: [u8; 56],
    /// `struct xfrm_user_tmpl`, one after the other.
    pub templates: Box<[u8]>,
}

/// What a policy counts while it is used (`struct xfrm_lifetime_cur`). The kernel keeps only the
/// time; octets and packets are the engine's own.
#[derive(Debug, Default)]
pub struct PolicyState {
    pub octets: AtomicU64,
    pub packets: AtomicU64,
    /// When it was last used, in seconds since the epoch; 0 while unused.
    pub used: AtomicU64,
}

impl PolicyState {
    /// Counts packets that used the policy.
    pub fn count(&self, packets: u64, octets: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
        self.used.store(now(), Ordering::Relaxed);
    }
}

/// The network address of a prefix.
pub fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

fn prefix_matches(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    network.is_ipv4() == address.is_ipv4() && masked(network, prefix) == masked(address, prefix)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::netlink::xfrm::{encode_selector, family_of};

    /// A policy of direction out from one host to another, which asks for no SA.
    pub fn policy(source: IpAddr, destination: IpAddr) -> Policy {
        let selector = Selector::between_hosts(source, destination);
        Policy {
            index: 0,
            position: 0,
            order: 0,
            direction: Direction::Out,
            told: Told {
                selector: encode_selector(&selector, family_of(source)),
                templates: Box::default(),
            },
            selector,
            if_id: 1,
            mark: Mark::default(),
            priority: 0,
            action: Action::Allow,
            flags: 0,
            templates: Vec::new(),
            limits: Limits::NONE.into(),
            added: 0,
            state: Arc::default(),
        }
    }

    #[test]
    fn a_policy_is_small() {
        let fixed = size_of::<Policy>() + size_of::<PolicyState>();
        let template = size_of::<Template>() + crate::netlink::xfrm::TEMPLATE;
        assert!(fixed + template <= 512, "{fixed} and {template} octets");
    }

    #[test]
    fn prefixes_of_every_length() {
        let all: IpAddr = "255.255.255.255".parse().unwrap();
        assert_eq!(masked(all, 0), "0.0.0.0".parse::<IpAddr>().unwrap());
        assert_eq!(masked(all, 9), "255.128.0.0".parse::<IpAddr>().unwrap());
        assert_eq!(masked(all, 32), all);
        let all: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(masked(all, 0), "::".parse::<IpAddr>().unwrap());
        assert_eq!(
            masked(all, 33),
            "ffff:ffff:8000::".parse::<IpAddr>().unwrap()
        );
        assert_eq!(masked(all, 128), all);
    }
}
