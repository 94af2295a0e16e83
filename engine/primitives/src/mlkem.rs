//! ML-KEM (FIPS 203), by AWS-LC, from seeds: randomness comes in.
//!
//! A decapsulation key is kept as its seed of 64 octets, d and z, and expanded when it is used.

use std::os::raw::c_int;
use std::ptr::null_mut;

use aws_lc_sys as aws;
use zeroize::Zeroizing;

use crate::aws_lc::{succeeded, Owned};

pub const KEY_SEED: usize = 64;
pub const ENCAPSULATION_SEED: usize = 32;
const SECRET: usize = 32;

pub struct ParameterSet {
    nid: c_int,
    encapsulation_key: usize,
    ciphertext: usize,
}

/// FIPS 203, table 3.
const SETS: [(u16, ParameterSet); 3] = [
    (
        512,
        ParameterSet {
            nid: aws::NID_MLKEM512,
            encapsulation_key: 800,
            ciphertext: 768,
        },
    ),
    (
        768,
        ParameterSet {
            nid: aws::NID_MLKEM768,
            encapsulation_key: 1184,
            ciphertext: 1088,
        },
    ),
    (
        1024,
        ParameterSet {
            nid: aws::NID_MLKEM1024,
            encapsulation_key: 1568,
            ciphertext: 1568,
        },
    ),
];

#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    ParameterSet,
    Seed,
    Ciphertext,
    EncapsulationKey,
    Library,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(match self {
            Error::ParameterSet => "ML-KEM has the parameter sets 512, 768 and 1024",
            Error::Seed => "a seed is 64 octets for a key and 32 to encapsulate",
            Error::Ciphertext => "a ciphertext of another length",
            Error::EncapsulationKey => "no valid encapsulation key",
            Error::Library => "ML-KEM failed",
        })
    }
}

impl ParameterSet {
    /// By its number.
    pub fn of(number: u16) -> Result<&'static ParameterSet, Error> {
        let found = SETS.iter().find(|(own, _)| *own == number);
        found.map(|(_, set)| set).ok_or(Error::ParameterSet)
    }

    /// ML-KEM.KeyGen_internal (FIPS 203, 6.1): the encapsulation key.
    pub fn encapsulation_key(&self, seed: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key(seed)?;
        let mut out = vec![0; self.encapsulation_key];
        let mut length = out.len();
        // SAFETY: the key is valid, and `out` has the room that `length` says.
        let result =
            unsafe { aws::EVP_PKEY_get_raw_public_key(key.get(), out.as_mut_ptr(), &mut length) };
        succeeded(result).ok_or(Error::Library)?;
        Ok(out)
    }

    /// ML-KEM.Encaps_internal (FIPS 203, 6.2), after the checks of 7.2: ciphertext and secret.
    pub fn encapsulate(
        &self,
        peer: &[u8],
        seed: &[u8],
    ) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Error> {
        if seed.len() != ENCAPSULATION_SEED {
            return Err(Error::Seed);
        }
        if peer.len() != self.encapsulation_key {
            return Err(Error::EncapsulationKey);
        }
        let mut ciphertext = vec![0; self.ciphertext];
        let mut secret = Zeroizing::new(vec![0; SECRET]);
        let (mut ciphertext_size, mut secret_size) = (ciphertext.len(), secret.len());
        let mut seed_size = seed.len();
        // SAFETY: key and context are valid until their owners free them at the end, and each
        // length is that of the memory beside it.
        let result = unsafe {
            let key = aws::EVP_PKEY_kem_new_raw_public_key(self.nid, peer.as_ptr(), peer.len());
            let key = Owned::new(key, aws::EVP_PKEY_free).ok_or(Error::EncapsulationKey)?;
            let context = aws::EVP_PKEY_CTX_new(key.get(), null_mut());
            let context = Owned::new(context, aws::EVP_PKEY_CTX_free).ok_or(Error::Library)?;
            aws::EVP_PKEY_encapsulate_deterministic(
                context.get(),
                ciphertext.as_mut_ptr(),
                &mut ciphertext_size,
                secret.as_mut_ptr(),
                &mut secret_size,
                seed.as_ptr(),
                &mut seed_size,
            )
        };
        // Of right length, all that can fail is the modulus check of the key.
        succeeded(result).ok_or(Error::EncapsulationKey)?;
        Ok((ciphertext, secret))
    }

    /// ML-KEM.Decaps (FIPS 203, 7.3). A wrong ciphertext gives a secret that nobody knows.
    pub fn decapsulate(&self, seed: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if ciphertext.len() != self.ciphertext {
            return Err(Error::Ciphertext);
        }
        let key = self.key(seed)?;
        let mut secret = Zeroizing::new(vec![0; SECRET]);
        let mut secret_size = secret.len();
        // SAFETY: as above.
        let result = unsafe {
            let context = aws::EVP_PKEY_CTX_new(key.get(), null_mut());
            let context = Owned::new(context, aws::EVP_PKEY_CTX_free).ok_or(Error::Library)?;
            aws::EVP_PKEY_decapsulate(
                context.get(),
                secret.as_mut_ptr(),
                &mut secret_size,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        succeeded(result).ok_or(Error::Library)?;
        Ok(secret)
    }

    fn key(&self, seed: &[u8]) -> Result<Owned<aws::EVP_PKEY>, Error> {
        if seed.len() != KEY_SEED {
            return Err(Error::Seed);
        }
        self.expand(seed).ok_or(Error::Library)
    }

    fn expand(&self, seed: &[u8]) -> Option<Owned<aws::EVP_PKEY>> {
        let mut key = null_mut();
        let mut seed_size = seed.len();
        // SAFETY: the context is valid until its owner frees it at the end; the seed has the length
        // that is said; the new key is ours.
        unsafe {
            let context = aws::EVP_PKEY_CTX_new_id(aws::EVP_PKEY_KEM, null_mut());
            let context = Owned::new(context, aws::EVP_PKEY_CTX_free)?;
            succeeded(aws::EVP_PKEY_CTX_kem_set_params(context.get(), self.nid))?;
            succeeded(aws::EVP_PKEY_keygen_init(context.get()))?;
            succeeded(aws::EVP_PKEY_keygen_deterministic(
                context.get(),
                &mut key,
                seed.as_ptr(),
                &mut seed_size,
            ))?;
            Owned::new(key, aws::EVP_PKEY_free)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_have_one_secret() {
        for number in [512, 768, 1024] {
            let set = ParameterSet::of(number).unwrap();
            let key = set.encapsulation_key(&[7; KEY_SEED]).unwrap();
            let (mut ciphertext, secret) = set.encapsulate(&key, &[9; 32]).unwrap();
            assert_eq!(
                set.decapsulate(&[7; KEY_SEED], &ciphertext),
                Ok(secret.clone())
            );
            ciphertext[0] ^= 1;
            assert_ne!(set.decapsulate(&[7; KEY_SEED], &ciphertext), Ok(secret));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(ParameterSet::of(513).err(), Some(Error::ParameterSet));
        let set = ParameterSet::of(512).unwrap();
        assert_eq!(set.encapsulation_key(&[0; 63]), Err(Error::Seed));
        assert_eq!(
            set.decapsulate(&[0; KEY_SEED], &[0; 769]),
            Err(Error::Ciphertext)
        );
        for key in [vec![0; 799], vec![0xff; 800]] {
            assert_eq!(
                set.encapsulate(&key, &[0; 32]),
                Err(Error::EncapsulationKey)
            );
        }
    }
}
