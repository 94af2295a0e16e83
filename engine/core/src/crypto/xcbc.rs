//! AES-XCBC-MAC (RFC 3566, 4), which no library has: CBC-MAC under K1, whose last block is masked
//! with K2 if it is whole and with K3 if it was padded.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::Aes128Enc;
use zeroize::Zeroizing;

const BLOCK: usize = 16;

pub struct Xcbc {
    k1: Aes128Enc,
    k2: Zeroizing<[u8; BLOCK]>,
    k3: Zeroizing<[u8; BLOCK]>,
}

impl Xcbc {
    /// From a key of 16 octets; None for others.
    pub fn new(key: &[u8]) -> Option<Xcbc> {
        let key = Aes128Enc::new_from_slice(key).ok()?;
        let derive = |number| {
            let mut block = Zeroizing::new([number; BLOCK]);
            encrypt(&key, &mut block);
            block
        };
        Some(Xcbc {
            k1: Aes128Enc::new(&Array(*derive(1))),
            k2: derive(2),
            k3: derive(3),
        })
    }

    /// The whole MAC over the parts in a row.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; BLOCK] {
        let mut state = [0; BLOCK];
        let mut filled = 0;
        for part in parts {
            for octet in part.iter() {
                // The last block is never taken here: it waits for its mask.
                if filled == BLOCK {
                    encrypt(&self.k1, &mut state);
                    filled = 0;
                }
                state[filled] ^= octet;
                filled += 1;
            }
        }
        let mask = if filled == BLOCK { &self.k2 } else { &self.k3 };
        if filled < BLOCK {
            state[filled] ^= 0x80;
        }
        for (octet, mask) in state.iter_mut().zip(mask.iter()) {
            *octet ^= mask;
        }
        encrypt(&self.k1, &mut state);
        state
    }
}

fn encrypt(key: &Aes128Enc, block: &mut [u8; BLOCK]) {
    key.encrypt_block(block.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3566, section 4.6: the messages that are no packets.
    #[test]
    fn short_messages() {
        let counted: Vec<u8> = (0..16).collect();
        let key = Xcbc::new(&counted).unwrap();
        for (message, mac) in [
            (&[][..], 0x75f0_251d_528a_c01c_4573_dfd5_84d7_9f29_u128),
            (&counted[..3], 0x5b37_6580_ae2f_19af_e721_9cee_f172_756f),
        ] {
            assert_eq!(key.mac(&[message]), mac.to_be_bytes());
        }
    }

    #[test]
    fn it_does_not_matter_where_the_parts_end() {
        let message: Vec<u8> = (0..50).collect();
        let key = Xcbc::new(&message[..16]).unwrap();
        for at in 0..=message.len() {
            let (left, right) = message.split_at(at);
            assert_eq!(key.mac(&[left, right]), key.mac(&[&message]));
        }
    }

    #[test]
    fn keys_of_other_lengths_are_refused() {
        assert!(Xcbc::new(&[0; 15]).is_none());
        assert!(Xcbc::new(&[0; 24]).is_none());
    }
}
