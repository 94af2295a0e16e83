//! One ESP packet in tunnel mode (RFC 4303, RFC 4106): sealed and opened in place.
//!
//! ```text
//! SPI 4 | sequence number 4 | IV 8 | inner packet | padding 1, 2, 3 … | pad length 1 | next header 1 | ICV 16
//!                                  └──────────────── encrypted ────────────────────────────────────┘
//! ```

use crate::crypto::{AeadKey, ICV, IV};
use crate::ip::{IPIP, IPV6};
use crate::stats::DropReason;

/// SPI, sequence number and IV.
pub const HEADER: usize = 8 + IV;
const TRAILER: usize = 2;
/// The encrypted part is a multiple of this many octets (RFC 4303, 2.4).
const ALIGNMENT: usize = 4;

/// The smallest packet that can be ESP of ours: header, trailer of one block, ICV.
pub const SMALLEST: usize = HEADER + ALIGNMENT + ICV;

/// Octets of the ESP packet around an inner packet of `inner` octets.
pub const fn sealed_length(inner: usize) -> usize {
    HEADER + (inner + TRAILER).next_multiple_of(ALIGNMENT) + ICV
}

/// SPI and sequence number (its low half) of a packet of at least 8 octets.
pub fn header(packet: &[u8]) -> Option<(u32, u32)> {
    let spi = packet.get(..4)?.try_into().ok()?;
    let sequence = packet.get(4..8)?.try_into().ok()?;
    Some((u32::from_be_bytes(spi), u32::from_be_bytes(sequence)))
}

/// What the ICV covers besides the ciphertext: with ESN the whole number (RFC 4106, 5).
fn additional_data(spi: u32, sequence: u64, esn: bool) -> ([u8; 12], usize) {
    let mut octets = [0; 12];
    octets[..4].copy_from_slice(&spi.to_be_bytes());
    if esn {
        octets[4..].copy_from_slice(&sequence.to_be_bytes());
        (octets, 12)
    } else {
        octets[4..8].copy_from_slice(&(sequence as u32).to_be_bytes());
        (octets, 8)
    }
}

/// Seals the inner packet that stands at `HEADER` in `packet`, which is `sealed_length` long.
pub fn seal(
    key: &AeadKey,
    spi: u32,
    sequence: u64,
    iv: u64,
    esn: bool,
    inner: usize,
    packet: &mut [u8],
) -> Result<(), DropReason> {
    debug_assert_eq!(packet.len(), sealed_length(inner));
    let next_header = if packet[HEADER] >> 4 == 6 { IPV6 } else { IPIP };
    let (head, rest) = packet.split_at_mut(HEADER);
    let (plaintext, icv) = rest.split_at_mut(rest.len() - ICV);
    head[..4].copy_from_slice(&spi.to_be_bytes());
    head[4..8].copy_from_slice(&(sequence as u32).to_be_bytes());
    let iv = iv.to_be_bytes();
    head[8..].copy_from_slice(&iv);
    let padding = plaintext.len() - inner - TRAILER;
    for n in 0..padding {
        plaintext[inner + n] = n as u8 + 1;
    }
    plaintext[inner + padding] = padding as u8;
    plaintext[inner + padding + 1] = next_header;
    let (aad, length) = additional_data(spi, sequence, esn);
    let tag = key
        .seal(&iv, &aad[..length], plaintext)
        .ok_or(DropReason::OutStateProtoError)?;
    icv.copy_from_slice(&tag);
    Ok(())
}

/// What was in an ESP packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Octets of the payload, which starts at `HEADER`; traffic-flow padding is still there.
    pub payload: usize,
    pub next_header: u8,
}

/// Opens a packet of at least `SMALLEST` octets whose whole sequence number is known.
pub fn open(
    key: &AeadKey,
    spi: u32,
    sequence: u64,
    esn: bool,
    packet: &mut [u8],
) -> Result<Opened, DropReason> {
    let iv = packet[8..HEADER].try_into().expect("IV octets");
    let (aad, length) = additional_data(spi, sequence, esn);
    let plaintext = key
        .open(&iv, &aad[..length], &mut packet[HEADER..])
        .map_err(|_| DropReason::InStateProtoError)?;
    let [body @ .., padding, next_header] = plaintext else {
        return Err(DropReason::InStateProtoError);
    };
    let payload = body
        .len()
        .checked_sub(usize::from(*padding))
        .ok_or(DropReason::InStateProtoError)?;
    Ok(Opened {
        payload,
        next_header: *next_header,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AeadKey {
        AeadKey::aes_gcm_16(&(0..36).collect::<Vec<u8>>()).unwrap()
    }

    fn sealed(inner: &[u8], sequence: u64, esn: bool) -> Vec<u8> {
        let mut packet = vec![0; sealed_length(inner.len())];
        packet[HEADER..HEADER + inner.len()].copy_from_slice(inner);
        seal(&key(), 0x1234, sequence, 77, esn, inner.len(), &mut packet).unwrap();
        packet
    }

    #[test]
    fn what_was_sealed_opens() {
        for length in 1..200 {
            let mut inner = vec![0x45; length];
            inner[length - 1] = 0x40 | length as u8 & 15;
            let mut packet = sealed(&inner, 5, true);
            assert_eq!(header(&packet), Some((0x1234, 5)));
            assert_eq!((packet.len() - HEADER - ICV) % 4, 0);
            let opened = open(&key(), 0x1234, 5, true, &mut packet).unwrap();
            assert_eq!(
                opened,
                Opened {
                    payload: length,
                    next_header: IPIP
                }
            );
            assert_eq!(packet[HEADER..HEADER + length], inner);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let good = sealed(&[0x60; 40], 9, true);
        for at in 0..good.len() {
            if (4..8).contains(&at) || at < 4 {
                continue; // SPI and number are told to `open`; the next test changes them
            }
            let mut packet = good.clone();
            packet[at] ^= 1;
            assert_eq!(
                open(&key(), 0x1234, 9, true, &mut packet),
                Err(DropReason::InStateProtoError)
            );
        }
    }

    #[test]
    fn spi_number_and_esn_are_authenticated() {
        let good = sealed(&[0x60; 40], 9, true);
        for (spi, sequence, esn) in [
            (0x1235, 9, true),
            (0x1234, 10, true),
            (0x1234, 9 | 1 << 32, true),
            (0x1234, 9, false),
        ] {
            assert!(open(&key(), spi, sequence, esn, &mut good.clone()).is_err());
        }
        assert!(open(&key(), 0x1234, 9, true, &mut good.clone()).is_ok());
    }

    #[test]
    fn padding_longer_than_the_packet_is_refused() {
        let mut packet = vec![0; SMALLEST];
        packet[HEADER..HEADER + 4].copy_from_slice(&[0, 0, 200, IPIP]);
        let (aad, length) = additional_data(1, 1, false);
        let iv = [0; IV];
        let tag = key()
            .seal(&iv, &aad[..length], &mut packet[HEADER..HEADER + 4])
            .unwrap();
        packet[HEADER + 4..].copy_from_slice(&tag);
        assert_eq!(
            open(&key(), 1, 1, false, &mut packet),
            Err(DropReason::InStateProtoError)
        );
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| octet(pair).unwrap()).collect()
    }

    /// draft-mcgrew-gcm-test-01, section 4 (the test cases for RFC 4106): AES-128 with ESN, whose
    /// whole number is 0x8765432100000000, and AES-256 without.
    #[test]
    fn the_published_vectors() {
        for (keymat, spi, sequence, esn, iv_and_sealed, plaintext) in [
            (
                "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
                0x4321,
                0x8765_4321_0000_0000,
                true,
                "4956ed7e3b244cfe
                 fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
                 cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
                 61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
                "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
                 00000000045f736970045f756470037369700963796265726369747902646b00
                 0021000101020201",
            ),
            (
                "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
                0x4a2c_bfe3,
                2,
                false,
                "0102030405060708
                 ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
                 748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49
                 15956c96",
                "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
                 7002400020bf0000020405b40101040201020201",
            ),
        ] {
            let key = AeadKey::aes_gcm_16(&unhex(keymat)).unwrap();
            let mut packet = vec![0; 8];
            packet.extend(unhex(iv_and_sealed));
            let opened = open(&key, spi, sequence, esn, &mut packet).unwrap();
            let plaintext = unhex(plaintext);
            assert_eq!(
                opened,
                Opened {
                    payload: plaintext.len() - 4,
                    next_header: 1
                }
            );
            assert_eq!(packet[HEADER..HEADER + plaintext.len()], plaintext);
        }
    }
}
