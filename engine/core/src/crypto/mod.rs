//! Authenticated encryption for ESP: AES-GCM with a 16-octet ICV (RFC 4106).

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_192_GCM, AES_256_GCM};
use zeroize::Zeroizing;

/// Octets of the salt at the end of the keying material, of the explicit IV, and of the ICV.
pub const SALT: usize = 4;
pub const IV: usize = 8;
pub const ICV: usize = 16;

/// What seals and opens, for `GETINFO`.
pub const LIBRARY: &str = "aws-lc";

/// An AES-GCM-16 key with its salt. The keying material is wiped when it goes.
pub struct AeadKey {
    keymat: Zeroizing<Vec<u8>>,
    key: LessSafeKey,
}

/// The integrity check failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Forged;

impl AeadKey {
    /// From 20, 28 or 36 octets: the AES key, then the salt (RFC 4106, 8.1). None for others.
    pub fn aes_gcm_16(keymat: &[u8]) -> Option<AeadKey> {
        let key = keymat.get(..keymat.len().checked_sub(SALT)?)?;
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        let unbound = UnboundKey::new(algorithm, key).ok()?;
        Some(AeadKey {
            keymat: Zeroizing::new(keymat.to_vec()),
            key: LessSafeKey::new(unbound),
        })
    }

    /// Key and salt as they came, for a dump of the SA.
    pub fn keymat(&self) -> &[u8] {
        &self.keymat
    }

    /// Encrypts in place and gives the ICV. An IV must never come twice under one key.
    pub fn seal(&self, iv: &[u8; IV], aad: &[u8], plaintext: &mut [u8]) -> Option<[u8; ICV]> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), Aad::from(aad), plaintext)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Checks the ICV at the end of `sealed` and decrypts in place what is before it.
    pub fn open<'a>(
        &self,
        iv: &[u8; IV],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        self.key
            .open_in_place(self.nonce(iv), Aad::from(aad), sealed)
            .map_err(|_| Forged)
    }

    fn nonce(&self, iv: &[u8; IV]) -> Nonce {
        let mut nonce = [0; SALT + IV];
        nonce[..SALT].copy_from_slice(&self.keymat[self.keymat.len() - SALT..]);
        nonce[SALT..].copy_from_slice(iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Octets from the system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).expect("the system's generator works");
    octets
}
