//! A packet out of a socket, as the inbound path takes it.

use std::net::IpAddr;

use crate::esp;
use crate::underlay::MARKER;

/// A received packet, without outer IP and UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub start: usize,
    pub length: usize,
    pub source: IpAddr,
    /// 0 if it did not come in UDP.
    pub source_port: u16,
    /// The outer destination: ours.
    pub destination: IpAddr,
    /// Outer type of service or traffic class, and hop limit.
    pub tos: u8,
    pub hop_limit: u8,
    /// Identification and DF of an outer IPv4 header; a socket for UDP does not tell them, and then a
    /// packet counts as one that may not be fragmented, whose identification is nothing (RFC 6864).
    pub identification: u16,
    pub df: bool,
    /// Came in UDP.
    pub encapsulated: bool,
}

/// Nothing for a packet that the buffer does not hold.
pub fn octets_of<'a>(buffer: &'a [u8], received: &Received) -> &'a [u8] {
    let end = received.start.saturating_add(received.length);
    buffer.get(received.start..end).unwrap_or_default()
}

/// A NAT keepalive (RFC 3948, 2.3), IKE behind the non-ESP marker (2.2), or no more than an ESP header,
/// which the kernel takes for IKE (`xfrm4_udp_encap_rcv`).
pub fn is_keepalive_or_ike(octets: &[u8]) -> bool {
    octets.len() <= esp::HEADER || octets.starts_with(&MARKER)
}
