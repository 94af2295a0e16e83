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
