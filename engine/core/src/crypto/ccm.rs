//! AES-CCM with a nonce of 11 octets, hence lengths of 4 (RFC 4309, 4), from RustCrypto, which has
//! one type for each length of key and ICV; `CcmKey` makes them one.

use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ccm::consts::{U11, U12, U16, U8};
use ccm::{AeadCore, AeadInOut, Ccm, KeyInit};

use super::{Failed, Forged};

/// Octets of the nonce: salt and IV.
pub const NONCE: usize = 11;

pub trait CcmKey: Send + Sync {
    /// Encrypts in place and writes the ICV.
    fn seal(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], icv: &mut [u8])
        -> Result<(), Failed>;

    /// Checks the ICV and decrypts in place.
    fn open(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), Forged>;
}

/// For keys of 16, 24 and 32 octets with ICVs of 8, 12 and 16; None for others.
pub fn key(key: &[u8], icv: usize) -> Option<Box<dyn CcmKey>> {
    match (key.len(), icv) {
        (16, 8) => boxed::<Ccm<Aes128Enc, U8, U11>>(key),
        (16, 12) => boxed::<Ccm<Aes128Enc, U12, U11>>(key),
        (16, 16) => boxed::<Ccm<Aes128Enc, U16, U11>>(key),
        (24, 8) => boxed::<Ccm<Aes192Enc, U8, U11>>(key),
        (24, 12) => boxed::<Ccm<Aes192Enc, U12, U11>>(key),
        (24, 16) => boxed::<Ccm<Aes192Enc, U16, U11>>(key),
        (32, 8) => boxed::<Ccm<Aes256Enc, U8, U11>>(key),
        (32, 12) => boxed::<Ccm<Aes256Enc, U12, U11>>(key),
        (32, 16) => boxed::<Ccm<Aes256Enc, U16, U11>>(key),
        _ => None,
    }
}

fn boxed<C: CcmKey + KeyInit + 'static>(key: &[u8]) -> Option<Box<dyn CcmKey>> {
    Some(Box::new(C::new_from_slice(key).ok()?))
}

impl<C> CcmKey for C
where
    C: AeadInOut + AeadCore<NonceSize = U11> + Send + Sync,
{
    fn seal(
        &self,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), Failed> {
        let nonce = nonce.try_into().map_err(|_| Failed)?;
        let tag = self
            .encrypt_inout_detached(nonce, aad, text.into())
            .map_err(|_| Failed)?;
        icv.copy_from_slice(&tag);
        Ok(())
    }

    fn open(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        let nonce = nonce.try_into().map_err(|_| Forged)?;
        let icv = icv.try_into().map_err(|_| Forged)?;
        self.decrypt_inout_detached(nonce, aad, text.into(), icv)
            .map_err(|_| Forged)
    }
}
