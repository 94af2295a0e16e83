//! One ESP packet (RFC 4303), framed around what a `Transform` protects: sealed and opened in place.
//!
//! ```text
//! SPI 4 | sequence number 4 | IV | payload | TFC padding 0, 0 … | padding 1, 2 … | length 1 | next header 1 | ICV
//!                                └────────────────────── encrypted ─────────────────────────────────────┘
//! ```

use crate::crypto::{self, Forged, Transform};
use crate::ip::NO_NEXT_HEADER;
use crate::stats::DropReason;

/// SPI and sequence number.
pub const HEADER: usize = crypto::HEADER;
/// Pad length and next header.
const TRAILER: usize = 2;

/// Where the payload begins.
pub fn payload_offset(transform: &Transform) -> usize {
    HEADER + transform.iv_length()
}

/// Octets of the ESP packet around a payload that traffic-flow-confidentiality padding makes longer.
pub fn sealed_length(transform: &Transform, payload: usize, tfc_padding: usize) -> usize {
    let text = (payload + tfc_padding + TRAILER).next_multiple_of(transform.alignment());
    payload_offset(transform) + text + transform.icv_length()
}

/// The smallest packet that the transform can have sealed.
pub fn smallest(transform: &Transform) -> usize {
    sealed_length(transform, 0, 0)
}

/// SPI and sequence number (its low half) of a packet of at least 8 octets.
pub fn header(packet: &[u8]) -> Option<(u32, u32)> {
    let spi = packet.get(..4)?.try_into().ok()?;
    let sequence = packet.get(4..8)?.try_into().ok()?;
    Some((u32::from_be_bytes(spi), u32::from_be_bytes(sequence)))
}

/// Seals the payload that stands at `payload_offset` in `packet`, which is `sealed_length` long.
/// `iv` is a number that never comes twice under the key.
#[allow(clippy::too_many_arguments)]
pub fn seal(
    transform: &Transform,
    spi: u32,
    sequence: u64,
    iv: u64,
    esn: bool,
    payload: usize,
    tfc_padding: usize,
    next_header: u8,
    packet: &mut [u8],
) -> Result<(), DropReason> {
    if packet.len() != sealed_length(transform, payload, tfc_padding) {
        return Err(DropReason::OutStateProtoError);
    }
    packet[..4].copy_from_slice(&spi.to_be_bytes());
    packet[4..HEADER].copy_from_slice(&(sequence as u32).to_be_bytes());
    let end = packet.len() - transform.icv_length();
    let (tfc, trailer) = packet[payload_offset(transform) + payload..end].split_at_mut(tfc_padding);
    tfc.fill(0);
    // RFC 4303, 2.4: the padding counts from 1.
    let padding = trailer.len() - TRAILER;
    for (octet, number) in trailer[..padding].iter_mut().zip(1..) {
        *octet = number;
    }
    trailer[padding] = padding as u8;
    trailer[padding + 1] = next_header;
    transform
        .seal(packet, sequence, esn, iv)
        .map_err(|_| DropReason::OutStateProtoError)
}

/// What was in an ESP packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the payload begins.
    pub start: usize,
    /// Octets of the payload; traffic-flow-confidentiality padding is still at its end.
    pub payload: usize,
    pub next_header: u8,
}

/// Opens a packet whose whole sequence number is known: `authenticate`, then `trailer`.
pub fn open(
    transform: &Transform,
    sequence: u64,
    esn: bool,
    packet: &mut [u8],
) -> Result<Opened, DropReason> {
    authenticate(transform, sequence, esn, packet).map_err(|_| DropReason::InStateProtoError)?;
    trailer(transform, packet)
}

/// Checks the ICV and decrypts. The kernel counts a failure in the SA's `integrity_failed` too,
/// which it does not for a bad trailer.
pub fn authenticate(
    transform: &Transform,
    sequence: u64,
    esn: bool,
    packet: &mut [u8],
) -> Result<(), Forged> {
    transform.open(packet, sequence, esn)
}

/// Takes off padding and trailer of an opened packet. Like `esp_remove_trailer()` of the kernel it
/// refuses a packet that would be left with no payload, except for dummies (RFC 4303, 2.6), and does
/// not look at the padding's octets.
pub fn trailer(transform: &Transform, packet: &[u8]) -> Result<Opened, DropReason> {
    let start = payload_offset(transform);
    let end = packet.len().saturating_sub(transform.icv_length());
    let Some([body @ .., padding, next_header]) = packet.get(start..end) else {
        return Err(DropReason::InStateProtoError);
    };
    let payload = body.len().checked_sub(usize::from(*padding));
    match payload {
        None => Err(DropReason::InStateProtoError),
        Some(0) if *next_header != NO_NEXT_HEADER => Err(DropReason::InStateProtoError),
        Some(payload) => Ok(Opened {
            start,
            payload,
            next_header: *next_header,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{every_algorithm, Algorithms};
    use crate::ip::IPIP;

    fn gcm() -> Transform {
        Transform::new(Algorithms::Aead {
            name: "rfc4106(gcm(aes))".into(),
            keymat: (0..36).collect::<Box<[u8]>>().into(),
            icv_bits: 128,
        })
        .unwrap()
    }

    fn sealed(
        transform: &Transform,
        payload: &[u8],
        tfc: usize,
        sequence: u64,
        esn: bool,
    ) -> Vec<u8> {
        let mut packet = vec![0xee; sealed_length(transform, payload.len(), tfc)];
        let start = payload_offset(transform);
        packet[start..start + payload.len()].copy_from_slice(payload);
        let length = payload.len();
        let spi = 0x1234_5678;
        let iv = sequence ^ 77;
        seal(
            transform,
            spi,
            sequence,
            iv,
            esn,
            length,
            tfc,
            IPIP,
            &mut packet,
        )
        .unwrap();
        packet
    }

    #[test]
    fn what_was_sealed_opens_at_every_length() {
        for transform in every_algorithm() {
            for length in 1..150 {
                let payload: Vec<u8> = (0..length as u8).collect();
                let esn = length % 2 == 0;
                let sequence = 5 | u64::from(esn) << 40;
                let mut packet = sealed(&transform, &payload, 0, sequence, esn);
                assert_eq!(header(&packet), Some((0x1234_5678, 5)));
                assert!(packet.len() >= smallest(&transform));
                let opened = open(&transform, sequence, esn, &mut packet).unwrap();
                let start = payload_offset(&transform);
                assert_eq!(
                    opened,
                    Opened {
                        start,
                        payload: length,
                        next_header: IPIP
                    },
                    "{transform:?}"
                );
                assert_eq!(packet[start..start + length], payload);
                let end = packet.len() - transform.icv_length();
                let padding = &packet[start + length..end - TRAILER];
                let counted: Vec<u8> = (1..=padding.len() as u8).collect();
                assert_eq!(padding, counted);
                assert_eq!((end - start) % transform.alignment(), 0);
            }
        }
    }

    #[test]
    fn tfc_padding_is_zeros_after_the_payload() {
        for transform in every_algorithm() {
            for tfc in [1, 3, 64, 1000] {
                let mut packet = sealed(&transform, &[0x45; 20], tfc, 1, false);
                let opened = open(&transform, 1, false, &mut packet).unwrap();
                assert_eq!(opened.payload, 20 + tfc);
                let body = &packet[opened.start..opened.start + opened.payload];
                assert_eq!(body[..20], [0x45; 20]);
                assert!(body[20..].iter().all(|octet| *octet == 0));
            }
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        for transform in every_algorithm() {
            let good = sealed(&transform, &[0x60; 21], 0, 9, true);
            // The sequence number is told to `open`: the low half in the packet is covered too, but
            // for AEAD the whole one stands in for it.
            let spared = if matches!(transform.algorithms(), Algorithms::Aead { .. }) {
                4..8
            } else {
                0..0
            };
            for at in (0..good.len() * 8).filter(|at| !spared.contains(&(at / 8))) {
                let mut packet = good.clone();
                packet[at / 8] ^= 1 << (at % 8);
                assert_eq!(
                    open(&transform, 9, true, &mut packet),
                    Err(DropReason::InStateProtoError),
                    "{transform:?} bit {at}"
                );
            }
        }
    }

    #[test]
    fn the_high_half_of_the_number_is_authenticated() {
        for transform in every_algorithm() {
            let number = 9 | 3 << 32;
            let good = sealed(&transform, &[0x60; 40], 0, number, true);
            for (sequence, esn) in [(9 | 2 << 32, true), (9, true), (9, false)] {
                assert!(open(&transform, sequence, esn, &mut good.clone()).is_err());
            }
            assert!(open(&transform, number, true, &mut good.clone()).is_ok());
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for transform in every_algorithm() {
            let good = sealed(&transform, &[0x60; 40], 0, 9, true);
            for length in 0..good.len() {
                assert_eq!(
                    open(&transform, 9, true, &mut good[..length].to_vec()),
                    Err(DropReason::InStateProtoError)
                );
            }
        }
    }

    #[test]
    fn a_packet_of_another_length_is_not_sealed() {
        let transform = gcm();
        for length in [0, 8, 36, 44] {
            let mut packet = vec![0; length];
            assert_eq!(
                seal(&transform, 1, 1, 1, false, 4, 0, IPIP, &mut packet),
                Err(DropReason::OutStateProtoError)
            );
        }
    }

    /// Pad length, next header, and what comes of them in a packet of one block.
    #[test]
    fn a_trailer_that_does_not_fit_is_refused() {
        let transform = gcm();
        for (padding, next_header, expected) in [
            (200, IPIP, None),
            (3, IPIP, None),
            (2, IPIP, None),
            (2, NO_NEXT_HEADER, Some(0)),
            (1, IPIP, Some(1)),
            (0, IPIP, Some(2)),
        ] {
            let mut packet = vec![0; smallest(&transform)];
            let start = payload_offset(&transform);
            packet[start..start + 4].copy_from_slice(&[0, 0, padding, next_header]);
            transform.seal(&mut packet, 1, false, 1).unwrap();
            packet[7] = 0;
            let opened = open(&transform, 1, false, &mut packet);
            assert_eq!(opened.map(|opened| opened.payload).ok(), expected);
        }
    }
}
