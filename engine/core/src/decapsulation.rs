//! What an opened ESP packet held: an inner packet, made whole again as the SA's mode says, and
//! whether that is ESP for another SA of ours.

use std::ops::Range;

use crate::checksum;
use crate::ecn;
use crate::esp::{self, Opened};
use crate::ip::{self, Packet, AH, COMP, ESP, IPIP, IPV6, TCP, UDP};
use crate::modes::{self, ip_header, LONGEST_PACKET};
use crate::received::Received;
use crate::sa::{Encapsulation, Mode, Sa, SaDirection};
use crate::staging::Outer;
use crate::stats::DropReason;
use crate::tables::Tables;

/// What came out.
pub enum Inside {
    /// A whole IP packet.
    Packet(Range<usize>),
    /// ESP for an SA of ours, in a whole IP packet or right behind the ESP header before.
    Esp(Option<Range<usize>>, Received),
}

/// Where in the buffer packets are written that got another header.
pub struct Arena(pub Range<usize>);

impl Arena {
    /// A header and a payload of the buffer.
    fn put_together(
        &mut self,
        buffer: &mut [u8],
        header: &[u8],
        payload: Range<usize>,
    ) -> Result<Range<usize>, DropReason> {
        let length = header.len() + payload.len();
        if length > LONGEST_PACKET {
            return Err(DropReason::InHdrError);
        }
        if self.0.len() < length {
            return Err(DropReason::InBufferError);
        }
        let start = self.0.start;
        self.0.start += length;
        buffer[start..start + header.len()].copy_from_slice(header);
        buffer.copy_within(payload, start + header.len());
        Ok(start..start + length)
    }
}

/// Undoes the SA's mode (`xfrm_inner_mode_input`).
pub fn unwrap(
    tables: &Tables,
    sa: &Sa,
    buffer: &mut [u8],
    received: &Received,
    opened: &Opened,
    arena: &mut Arena,
) -> Result<Inside, DropReason> {
    let start = received.start + opened.start;
    let payload = start..start + opened.payload;
    let range = match sa.config.mode {
        Mode::Tunnel => {
            let inner = &mut buffer[payload];
            let smallest = match (
                opened.next_header,
                inner.first().map_or(0, |octet| octet >> 4),
            ) {
                (IPIP, 4) => 20,
                (IPV6, 6) => 40,
                _ => return Err(DropReason::InStateModeError),
            };
            if inner.len() < smallest {
                return Err(DropReason::InStateModeError);
            }
            // What is behind it is padding (RFC 4303, 2.7).
            let length = ip::parse(inner).ok_or(DropReason::InHdrError)?.length;
            ecn::decapsulate(&sa.config, inner, received.tos)?;
            start..start + length
        }
        Mode::Transport => {
            if opened.next_header == ESP {
                let inside = Received {
                    start,
                    length: opened.payload,
                    destination: sa.config.destination,
                    encapsulated: false,
                    ..*received
                };
                return Ok(Inside::Esp(None, inside));
            }
            if let Some(reason) = without_sa(opened) {
                return Err(reason);
            }
            let outer = Outer {
                source: received.source,
                destination: received.destination,
                tos: received.tos,
                hop_limit: Some(received.hop_limit),
                df: received.df,
            };
            let mut header = ip_header(&outer, opened.next_header, opened.payload);
            modes::identify(&mut header, received.identification);
            let range = arena.put_together(buffer, &header, payload)?;
            if received.encapsulated {
                mend_checksum(&mut buffer[range.clone()]);
            }
            range
        }
        Mode::Beet => {
            let (header, skip) =
                modes::beet_header(sa, opened.next_header, &buffer[payload.clone()], received)?;
            arena.put_together(buffer, &header, payload.start + skip..payload.end)?
        }
    };
    let octets = &buffer[range.clone()];
    let packet = ip::parse(octets).ok_or(DropReason::InHdrError)?;
    Ok(match nested_in(tables, octets, &packet) {
        None => Inside::Packet(range),
        Some(inside) => Inside::Esp(
            Some(range.clone()),
            Received {
                start: range.start + inside.start,
                ..inside
            },
        ),
    })
}

/// `xfrm_input()` goes on with what follows a transport header by itself, so that AH and IPComp never
/// get to a protocol's handler; of them there is no SA here.
fn without_sa(opened: &Opened) -> Option<DropReason> {
    let header = match opened.next_header {
        AH => 12,
        COMP => 4,
        _ => return None,
    };
    Some(if opened.payload < header {
        DropReason::InHdrError
    } else {
        DropReason::InNoStates
    })
}

/// The ESP packet in an inner packet, if an SA of ours is meant; places are within the packet.
fn nested_in(tables: &Tables, octets: &[u8], packet: &Packet) -> Option<Received> {
    let (start, encapsulated) = match packet.flow.protocol {
        ESP => (packet.transport, false),
        UDP => (packet.transport + 8, true),
        _ => return None,
    };
    if packet.fragment {
        return None;
    }
    let body = octets.get(start..packet.length)?;
    let (spi, _) = esp::header(body)?;
    let destination = packet.flow.destination;
    let config = match tables.inbound_sa(destination, spi) {
        Some(sa) => &sa.config,
        None => &tables.inbound_larval(destination, spi)?.config,
    };
    if config.direction == Some(SaDirection::Out) {
        // On its way through us to who has that address.
        return None;
    }
    if encapsulated {
        let Encapsulation::Udp {
            destination_port, ..
        } = config.encapsulation
        else {
            return None;
        };
        if destination_port != packet.flow.destination_port {
            return None;
        }
    }
    let v4 = packet.is_ipv4();
    Some(Received {
        start,
        length: body.len(),
        source: packet.flow.source,
        source_port: if encapsulated {
            packet.flow.source_port
        } else {
            0
        },
        destination: packet.flow.destination,
        tos: packet.tos,
        hop_limit: octets[if v4 { 8 } else { 7 }],
        identification: if v4 {
            u16::from_be_bytes([octets[4], octets[5]])
        } else {
            0
        },
        df: !v4 || octets[6] & 0x40 != 0,
        encapsulated,
    })
}

/// RFC 3948, 3.1.2: a NAT has changed the addresses that the checksum was made with.
fn mend_checksum(octets: &mut [u8]) {
    let Some(packet) = ip::parse(octets).filter(|packet| !packet.fragment) else {
        return;
    };
    let at = match packet.flow.protocol {
        TCP => packet.transport + 16,
        UDP => packet.transport + 6,
        _ => return,
    };
    if at + 2 > packet.length {
        return;
    }
    if packet.flow.protocol == UDP && packet.is_ipv4() && octets[at..at + 2] == [0, 0] {
        // The sender made none (RFC 768).
        return;
    }
    let addresses = if packet.is_ipv4() { 12..20 } else { 8..40 };
    let length = packet.length - packet.transport;
    let pseudo = checksum::pseudo_header(&octets[addresses], &[], packet.flow.protocol, length);
    octets[at..at + 2].fill(0);
    let mut sum = checksum::finish(checksum::sum(
        &octets[packet.transport..packet.length],
        pseudo,
    ));
    if sum == [0, 0] && packet.flow.protocol == UDP {
        sum = [0xff, 0xff];
    }
    octets[at..at + 2].copy_from_slice(&sum);
}
