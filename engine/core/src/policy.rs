//! Selectors, templates and policies (`struct xfrm_userpolicy_info`, RFC 4301, 4.4.1).

use std::net::IpAddr;

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

/// What a packet is matched by: its addresses, protocol and ports (or ICMP type and code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

impl Selector {
    /// `xfrm_selector_match()`: family, prefixes, protocol and ports.
    pub fn matches(&self, flow: &Flow) -> bool {
        prefix_matches(self.source, self.source_prefix, flow.source)
            && prefix_matches(self.destination, self.destination_prefix, flow.destination)
            && (self.protocol == 0 || self.protocol == flow.protocol)
            && (flow.source_port ^ self.source_port) & self.source_port_mask == 0
            && (flow.destination_port ^ self.destination_port) & self.destination_port_mask == 0
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
    pub direction: Direction,
    pub selector: Selector,
    pub if_id: u32,
    pub mark: Mark,
    pub priority: u32,
    pub action: Action,
    pub flags: u8,
    pub share: u8,
    pub templates: Vec<Template>,
    /// Seconds since the epoch.
    pub added: u64,
}

fn prefix_matches(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let bits = u32::from(network) ^ u32::from(address);
            prefix == 0 || bits >> (32 - u32::from(prefix.min(32))) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let bits = u128::from(network) ^ u128::from(address);
            prefix == 0 || bits >> (128 - u32::from(prefix.min(128))) == 0
        }
        _ => false,
    }
}
