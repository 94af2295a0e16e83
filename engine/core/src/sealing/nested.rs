//! Packets through several SAs, one packet at a time.

use std::sync::Arc;

use super::{put_payload, seal_in_place, tfc_padding, Read, Sealed, Sealer, Unsealed};
use crate::checksum;
use crate::device::Device;
use crate::esp;
use crate::ip;
use crate::modes::{identify, ip_header, Wrapping, LONGEST_PACKET};
use crate::sa::{Encapsulation, Mode, Sa};
use crate::staging::Staging;
use crate::stats::DropReason;

impl Sealer {
    /// Several SAs, packet by packet, the first SA first.
    pub(super) fn seal_nested(
        &mut self,
        sas: &[Arc<Sa>],
        read: &Read,
        staging: &mut Staging,
    ) -> Result<Sealed, Unsealed> {
        let segments = &read.segments;
        let mut sealed = Sealed::default();
        // A packet that the first SA cannot carry is counted below.
        if let Some(Ok(wrapping)) = sas
            .first()
            .map(|sa| Wrapping::of(sa, read.octets, read.packet))
        {
            self.fits(sas, &wrapping, read)?;
        }
        for n in 0..segments.count() {
            let mut packet = vec![0; segments.length(n)];
            segments.write(n, &mut packet);
            match self.seal_through(sas, read.device, packet, staging) {
                Ok(()) => {
                    sealed.packets += 1;
                    sealed.octets += segments.length(n) as u64;
                }
                Err(reason) => self.drop(read, 1, reason),
            }
        }
        Ok(sealed)
    }

    fn seal_through(
        &mut self,
        sas: &[Arc<Sa>],
        device: &Device,
        mut packet: Vec<u8>,
        staging: &mut Staging,
    ) -> Result<(), DropReason> {
        let (outermost, inner) = sas.split_last().ok_or(DropReason::OutError)?;
        for sa in inner {
            let (wrapping, sealed) = self.seal_packet(sa, device, &packet)?;
            packet = self.outside(sa, &wrapping, &packet, &sealed);
        }
        let (wrapping, sealed) = self.seal_packet(outermost, device, &packet)?;
        if !staging.has_room(sealed.len()) {
            return Err(DropReason::OutError);
        }
        staging
            .place(outermost, wrapping.outer_of(packet.len()), sealed.len())
            .copy_from_slice(&sealed);
        Ok(())
    }

    /// Steps 2 to 6 for one packet and SA.
    fn seal_packet(
        &self,
        sa: &Arc<Sa>,
        device: &Device,
        packet: &[u8],
    ) -> Result<(Wrapping, Vec<u8>), DropReason> {
        let parsed = ip::parse(packet).ok_or(DropReason::OutStateModeError)?;
        let wrapping = Wrapping::of(sa, packet, &parsed)?;
        let payload = wrapping.payload(packet.len());
        let padding = tfc_padding(sa, device, payload);
        let length = esp::sealed_length(&sa.transform, payload, padding);
        if length + wrapping.outer_length(sa) > LONGEST_PACKET {
            return Err(DropReason::OutError);
        }
        if !sa.state.is_valid() {
            return Err(DropReason::OutStateInvalid);
        }
        if sa.expires(&self.events, 0, 0) {
            return Err(DropReason::OutStateExpired);
        }
        let sequence = sa.reserve_sequence(1).ok_or(DropReason::OutStateSeqError)?;
        sa.state.count(1, payload as u64);
        let mut sealed = vec![0; length];
        let offset = esp::payload_offset(&sa.transform);
        put_payload(&wrapping, packet, &mut sealed[offset..offset + payload]);
        seal_in_place(sa, sequence, &wrapping, payload, padding, &mut sealed)?;
        Ok((wrapping, sealed))
    }

    /// What was sealed as a whole IP packet, for the next SA.
    fn outside(&mut self, sa: &Sa, wrapping: &Wrapping, inner: &[u8], sealed: &[u8]) -> Vec<u8> {
        let outer = wrapping.outer_of(inner.len());
        let mut packet = match sa.config.encapsulation {
            Encapsulation::Esp => ip_header(&outer, ip::ESP, sealed.len()),
            Encapsulation::Udp {
                source_port,
                destination_port,
            } => {
                // RFC 3948, 2.1: the checksum should be zero; of IPv6 it must be there.
                let length = 8 + sealed.len();
                let mut packet = ip_header(&outer, ip::UDP, length);
                packet.extend(source_port.to_be_bytes());
                packet.extend(destination_port.to_be_bytes());
                packet.extend((length as u16).to_be_bytes());
                packet.extend([0, 0]);
                packet
            }
        };
        let identification = match (sa.config.mode, inner) {
            // The header is the packet's own.
            (Mode::Transport | Mode::Beet, [first, _, _, _, high, low, ..]) if first >> 4 == 4 => {
                u16::from_be_bytes([*high, *low])
            }
            _ => {
                self.identification = self.identification.wrapping_add(1);
                self.identification
            }
        };
        identify(&mut packet, identification);
        packet.extend(sealed);
        if outer.destination.is_ipv6() && sa.config.encapsulation != Encapsulation::Esp {
            put_udp_checksum(&mut packet);
        }
        packet
    }
}

/// Of a packet of IPv6 whose header has no extensions (RFC 8200, 8.1).
fn put_udp_checksum(packet: &mut [u8]) {
    let (header, udp) = packet.split_at_mut(40);
    let pseudo = checksum::pseudo_header(&header[8..24], &header[24..40], ip::UDP, udp.len());
    let sum = match checksum::finish(checksum::sum(udp, pseudo)) {
        [0, 0] => [0xff, 0xff],
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum);
}
