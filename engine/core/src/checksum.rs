//! The Internet checksum (RFC 1071).

/// Adds octets to a running sum, as 16-bit words in host order; `octets` may be odd only at the end.
///
/// Summing in host order and folding gives the network-order checksum's bytes (RFC 1071, 2.B).
pub fn sum(octets: &[u8], start: u64) -> u64 {
    let mut total = u128::from(start);
    let mut chunks = octets.chunks_exact(8);
    let mut lanes = 0u64;
    let mut carries = 0u64;
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("chunks have 8 octets"));
        let (added, carry) = lanes.overflowing_add(word);
        lanes = added;
        carries += u64::from(carry);
    }
    total += u128::from(lanes) + u128::from(carries);
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    total += u128::from(u64::from_ne_bytes(tail));
    // Back to 64 bits, end-around.
    let folded = (total & u128::from(u64::MAX)) + (total >> 64);
    (folded as u64).wrapping_add((folded >> 64) as u64)
}

/// A sum folded to 16 bits in host order, not complemented.
pub fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum field, as two octets to store.
pub fn finish(total: u64) -> [u8; 2] {
    (!fold(total)).to_ne_bytes()
}

/// The sum of a pseudo header (RFC 9293, 3.1; RFC 8200, 8.1): addresses, length and protocol.
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> u64 {
    let mut rest = [0; 8];
    rest[..4].copy_from_slice(&(length as u32).to_be_bytes());
    rest[7] = protocol;
    sum(&rest, sum(destination, sum(source, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum as RFC 1071 writes it.
    fn plain(octets: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in octets.chunks(2) {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            total += u32::from(word);
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    #[test]
    fn the_example_of_the_rfc() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&octets, 0)), (!0xddf2u16).to_be_bytes());
    }

    #[test]
    fn every_length_agrees_with_the_plain_sum() {
        let octets: Vec<u8> = (0..1500u32)
            .map(|n| ((n * 7919) >> 3) as u8 | 0x80)
            .collect();
        for length in 0..octets.len() {
            let expected = plain(&octets[..length]).to_be_bytes();
            assert_eq!(
                finish(sum(&octets[..length], 0)),
                expected,
                "{length} octets"
            );
        }
    }

    #[test]
    fn all_ones_do_not_overflow() {
        assert_eq!(
            finish(sum(&[0xff; 65535], u64::MAX)),
            plain(&[0xff; 65535]).to_be_bytes()
        );
    }
}
