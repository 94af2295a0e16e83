//! Encryption and integrity by algorithms of their own: AES-CBC (RFC 3602), AES-CTR (RFC 3686) or
//! NULL (RFC 2410), then HMAC-SHA1 (RFC 2404), HMAC-SHA2 (RFC 4868), AES-XCBC-MAC (RFC 3566) or
//! AES-CMAC (RFC 4494) over the packet.
//!
//! With ESN the ICV also covers the high half of the sequence number, as if it followed the
//! ciphertext (RFC 4303, 2.2.1).

use std::sync::OnceLock;

use aws_lc_rs::cipher::{
    DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey, AES_128,
    AES_192, AES_256,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{cmac, hmac};
use zeroize::Zeroizing;

use super::names::{self, AuthKind, CryptKind};
use super::xcbc::Xcbc;
use super::{AlgorithmError, AuthNamed, Failed, Forged, Key, Named, HEADER};

const BLOCK: usize = 16;
const CTR_IV: usize = 8;
const CTR_NONCE: usize = 4;
/// The shortest ICV: what `crypto/authencesn.c` takes, and half of what any RFC sends.
const LEAST_ICV: usize = 4;
const LONGEST_ICV: usize = 64;

pub struct Separate {
    encryption: Encryption,
    authentication: Authentication,
    icv: usize,
}

enum Encryption {
    Null,
    Cbc(Cbc),
    Ctr {
        key: Box<EncryptingKey>,
        nonce: Zeroizing<[u8; CTR_NONCE]>,
    },
}

/// The library's keys are for one direction, as an SA is, and half a kilobyte each: the one that is
/// needed is made when the first packet comes.
struct Cbc {
    key: Key,
    encrypting: OnceLock<Box<EncryptingKey>>,
    decrypting: OnceLock<Box<DecryptingKey>>,
}

enum Authentication {
    Null,
    Hmac(Box<hmac::Key>),
    Cmac(Box<cmac::Key>),
    Xcbc(Box<Xcbc>),
}

impl Separate {
    /// The names become those of the kernel's tables, and an ICV of 0 bits the kernel's default.
    pub fn new(
        crypt: &mut Named,
        auth: Option<&mut AuthNamed>,
    ) -> Result<Separate, AlgorithmError> {
        let (authentication, icv) = match auth {
            None => (None, 0),
            Some(auth) => {
                let (authentication, icv) = Authentication::new(auth)?;
                (Some(authentication), icv)
            }
        };
        let encryption = Encryption::new(crypt)?;
        match (&encryption, authentication) {
            // The kernel takes encryption without integrity, and both NULL, from whoever asks. Here
            // integrity is missed only where it was given up by name, and never both.
            (_, None) | (Encryption::Null, Some(Authentication::Null)) => {
                Err(AlgorithmError::NoAuthentication)
            }
            (_, Some(authentication)) => Ok(Separate {
                encryption,
                authentication,
                icv,
            }),
        }
    }

    pub fn iv_length(&self) -> usize {
        match self.encryption {
            Encryption::Null => 0,
            Encryption::Cbc(_) => BLOCK,
            Encryption::Ctr { .. } => CTR_IV,
        }
    }

    pub fn icv_length(&self) -> usize {
        self.icv
    }

    pub fn alignment(&self) -> usize {
        match self.encryption {
            Encryption::Cbc(_) => BLOCK,
            _ => 4,
        }
    }

    pub fn library(&self) -> &'static str {
        "aws-lc"
    }

    /// For a packet that has room for IV and ICV.
    pub fn seal(&self, packet: &mut [u8], sequence: u64, esn: bool, iv: u64) -> Result<(), Failed> {
        let (covered, icv) = packet.split_at_mut(packet.len() - self.icv);
        self.encryption.seal(&mut covered[HEADER..], iv)?;
        let mut mac = [0; LONGEST_ICV];
        self.authentication.mac(
            covered,
            &high(sequence)[..if esn { 4 } else { 0 }],
            &mut mac,
        )?;
        icv.copy_from_slice(&mac[..self.icv]);
        Ok(())
    }

    /// For a packet that holds an IV and an ICV. Nothing is decrypted that was not authenticated.
    pub fn open(&self, packet: &mut [u8], sequence: u64, esn: bool) -> Result<(), Forged> {
        let (covered, icv) = packet.split_at_mut(packet.len() - self.icv);
        let mut mac = [0; LONGEST_ICV];
        self.authentication
            .mac(
                covered,
                &high(sequence)[..if esn { 4 } else { 0 }],
                &mut mac,
            )
            .map_err(|_| Forged)?;
        verify_slices_are_equal(&mac[..self.icv], icv).map_err(|_| Forged)?;
        self.encryption.open(&mut covered[HEADER..])
    }
}

/// The half of an extended sequence number that is not in the packet.
fn high(sequence: u64) -> [u8; 4] {
    ((sequence >> 32) as u32).to_be_bytes()
}

impl Encryption {
    fn new(named: &mut Named) -> Result<Encryption, AlgorithmError> {
        let entry = names::crypt(&named.name)?;
        named.name = entry.name.into();
        match entry.kind {
            CryptKind::Null if named.key.is_empty() => Ok(Encryption::Null),
            CryptKind::Null => Err(AlgorithmError::KeyLength),
            CryptKind::Cbc => Ok(Encryption::Cbc(Cbc::new(&named.key)?)),
            CryptKind::Ctr => {
                let length = named.key.len().saturating_sub(CTR_NONCE);
                let (key, nonce) = named.key.split_at(length);
                let key = EncryptingKey::ctr(aes(key)?).map_err(|_| AlgorithmError::KeyLength)?;
                Ok(Encryption::Ctr {
                    key: Box::new(key),
                    nonce: Zeroizing::new(nonce.try_into().expect("split there")),
                })
            }
        }
    }

    /// Writes the IV and encrypts what follows it.
    fn seal(&self, packet: &mut [u8], number: u64) -> Result<(), Failed> {
        match self {
            Encryption::Null => Ok(()),
            Encryption::Cbc(cbc) => {
                let key = cbc.encrypting();
                let (iv, text) = packet.split_at_mut(BLOCK);
                let mut block = [0; BLOCK];
                block[BLOCK - 8..].copy_from_slice(&number.to_be_bytes());
                // Nobody may foresee the IV (RFC 3602, 3): it is the number, encrypted under the
                // key (NIST SP 800-38A, appendix C). One block of CBC from an IV of zeros does that.
                encrypted(key, &mut block, [0; BLOCK])?;
                iv.copy_from_slice(&block);
                encrypted(key, text, block)
            }
            Encryption::Ctr { key, nonce } => {
                packet[..CTR_IV].copy_from_slice(&number.to_be_bytes());
                ctr(key, nonce, packet)
            }
        }
    }

    /// Decrypts what follows the IV.
    fn open(&self, packet: &mut [u8]) -> Result<(), Forged> {
        match self {
            Encryption::Null => Ok(()),
            Encryption::Cbc(cbc) => {
                let (iv, text) = packet.split_at_mut(BLOCK);
                if text.len() % BLOCK != 0 {
                    return Err(Forged);
                }
                let iv: [u8; BLOCK] = (*iv).try_into().expect("split there");
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                cbc.decrypting()
                    .decrypt(text, context)
                    .map(|_| ())
                    .map_err(|_| Forged)
            }
            Encryption::Ctr { key, nonce } => ctr(key, nonce, packet).map_err(|_| Forged),
        }
    }
}

impl Cbc {
    fn new(key: &Key) -> Result<Cbc, AlgorithmError> {
        aes(key)?;
        Ok(Cbc {
            key: key.clone(),
            encrypting: OnceLock::new(),
            decrypting: OnceLock::new(),
        })
    }

    fn encrypting(&self) -> &EncryptingKey {
        self.encrypting.get_or_init(|| {
            let key = aes(&self.key).expect("`new` has tried it");
            Box::new(EncryptingKey::cbc(key).expect("AES has CBC"))
        })
    }

    fn decrypting(&self) -> &DecryptingKey {
        self.decrypting.get_or_init(|| {
            let key = aes(&self.key).expect("`new` has tried it");
            Box::new(DecryptingKey::cbc(key).expect("AES has CBC"))
        })
    }
}

fn aes(key: &[u8]) -> Result<UnboundCipherKey, AlgorithmError> {
    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        32 => &AES_256,
        _ => return Err(AlgorithmError::KeyLength),
    };
    UnboundCipherKey::new(algorithm, key).map_err(|_| AlgorithmError::KeyLength)
}

fn encrypted(key: &EncryptingKey, text: &mut [u8], iv: [u8; BLOCK]) -> Result<(), Failed> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(text, context)
        .map(|_| ())
        .map_err(|_| Failed)
}

/// The counter block is nonce, IV and a number that begins with 1 (RFC 3686, 4).
fn ctr(key: &EncryptingKey, nonce: &[u8; CTR_NONCE], packet: &mut [u8]) -> Result<(), Failed> {
    let (iv, text) = packet.split_at_mut(CTR_IV);
    let mut block = [0; BLOCK];
    block[..CTR_NONCE].copy_from_slice(nonce);
    block[CTR_NONCE..CTR_NONCE + CTR_IV].copy_from_slice(iv);
    block[BLOCK - 1] = 1;
    // CTR encrypts by adding a key stream, so that decryption is the same.
    encrypted(key, text, block)
}

impl Authentication {
    /// With the octets of the ICV that are sent.
    fn new(named: &mut AuthNamed) -> Result<(Authentication, usize), AlgorithmError> {
        let entry = names::auth(&named.name)?;
        named.name = entry.name.into();
        let bits = entry.kind.icv_bits();
        if named.icv_bits > bits.full {
            return Err(AlgorithmError::IcvLength);
        }
        if named.icv_bits == 0 {
            named.icv_bits = bits.default;
        }
        let icv = named.icv_bits as usize / 8;
        if icv < LEAST_ICV && entry.kind != AuthKind::Null {
            return Err(AlgorithmError::IcvLength);
        }
        let authentication = match entry.kind {
            AuthKind::Null if named.key.is_empty() => Authentication::Null,
            AuthKind::Null => return Err(AlgorithmError::KeyLength),
            AuthKind::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &named.key)?,
            AuthKind::HmacSha256 => hmac(hmac::HMAC_SHA256, &named.key)?,
            AuthKind::HmacSha384 => hmac(hmac::HMAC_SHA384, &named.key)?,
            AuthKind::HmacSha512 => hmac(hmac::HMAC_SHA512, &named.key)?,
            AuthKind::Xcbc => {
                let xcbc = Xcbc::new(&named.key).ok_or(AlgorithmError::KeyLength)?;
                Authentication::Xcbc(Box::new(xcbc))
            }
            AuthKind::Cmac => Authentication::Cmac(Box::new(cmac(&named.key)?)),
        };
        Ok((authentication, icv))
    }

    /// The whole MAC over the packet and what follows it, at the start of `target`.
    fn mac(
        &self,
        packet: &[u8],
        trailer: &[u8],
        target: &mut [u8; LONGEST_ICV],
    ) -> Result<(), Failed> {
        match self {
            Authentication::Null => {}
            Authentication::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(packet);
                context.update(trailer);
                let tag = context.sign();
                target[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
            }
            Authentication::Cmac(key) => {
                let mut context = cmac::Context::with_key(key);
                context.update(packet).map_err(|_| Failed)?;
                context.update(trailer).map_err(|_| Failed)?;
                let tag = context.sign().map_err(|_| Failed)?;
                target[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
            }
            Authentication::Xcbc(key) => {
                target[..BLOCK].copy_from_slice(&key.mac(&[packet, trailer]));
            }
        }
        Ok(())
    }
}

/// HMAC takes keys of any length, though none of no octets.
fn hmac(algorithm: hmac::Algorithm, key: &[u8]) -> Result<Authentication, AlgorithmError> {
    if key.is_empty() {
        return Err(AlgorithmError::KeyLength);
    }
    let key = hmac::Key::new(algorithm, key);
    Ok(Authentication::Hmac(Box::new(key)))
}

fn cmac(key: &[u8]) -> Result<cmac::Key, AlgorithmError> {
    let algorithm = match key.len() {
        16 => cmac::AES_128,
        24 => cmac::AES_192,
        32 => cmac::AES_256,
        _ => return Err(AlgorithmError::KeyLength),
    };
    cmac::Key::new(algorithm, key).map_err(|_| AlgorithmError::KeyLength)
}
