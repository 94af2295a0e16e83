//! One key for confidentiality and integrity: AES-GCM (RFC 4106), AES-CCM (RFC 4309), AES-GMAC
//! (RFC 4543) and ChaCha20-Poly1305 (RFC 7634).
//!
//! All take a nonce of salt and IV, and authenticate SPI and sequence number, with ESN the whole
//! one (RFC 4106, 5).

use std::cell::RefCell;

use aws_lc_rs::aead::{
    Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_192_GCM, AES_256_GCM, CHACHA20_POLY1305,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::ccm::{self, CcmKey};
use super::names::AeadKind;
use super::{AlgorithmError, Failed, Forged, HEADER};

/// Octets of the explicit IV.
pub const IV: usize = 8;
const PAYLOAD: usize = HEADER + IV;
const FULL_ICV: usize = 16;
const NONCE: usize = 12;

pub struct Aead {
    cipher: Cipher,
    /// The salt, then room for the IV.
    nonce: Zeroizing<[u8; NONCE]>,
    salt: usize,
    icv: usize,
}

enum Cipher {
    /// AES-GCM or ChaCha20-Poly1305 with an ICV of 16 octets.
    Full(LessSafeKey),
    /// AES-GCM with a shorter one.
    Truncated(LessSafeKey),
    /// AES-GCM over nothing but additional data.
    Gmac(LessSafeKey),
    Ccm(Box<dyn CcmKey>),
}

/// What is authenticated in front of the payload: 8 octets, or 12 with ESN.
struct AdditionalData {
    octets: [u8; 12],
    length: usize,
}

thread_local! {
    /// Where AES-GMAC with ESN puts what it covers, which does not stand in a row.
    static COVERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Aead {
    pub fn new(kind: AeadKind, keymat: &[u8], icv_bits: u32) -> Result<Aead, AlgorithmError> {
        let salt = kind.salt();
        let length = keymat
            .len()
            .checked_sub(salt)
            .ok_or(AlgorithmError::KeyLength)?;
        let (key, salt_octets) = keymat.split_at(length);
        let icv = icv_bits as usize / 8;
        let cipher = match kind {
            AeadKind::ChaCha => Cipher::Full(chacha(key)?),
            AeadKind::Gmac => Cipher::Gmac(gcm(key)?),
            AeadKind::Gcm if icv == FULL_ICV => Cipher::Full(gcm(key)?),
            AeadKind::Gcm => Cipher::Truncated(gcm(key)?),
            AeadKind::Ccm => Cipher::Ccm(ccm::key(key, icv).ok_or(AlgorithmError::KeyLength)?),
        };
        let mut nonce = Zeroizing::new([0; NONCE]);
        nonce[..salt].copy_from_slice(salt_octets);
        Ok(Aead {
            cipher,
            nonce,
            salt,
            icv,
        })
    }

    pub fn icv_length(&self) -> usize {
        self.icv
    }

    pub fn library(&self) -> &'static str {
        match self.cipher {
            Cipher::Ccm(_) => "RustCrypto",
            _ => "aws-lc",
        }
    }

    /// For a packet that has room for IV and ICV.
    pub fn seal(&self, packet: &mut [u8], sequence: u64, esn: bool, iv: u64) -> Result<(), Failed> {
        packet[HEADER..PAYLOAD].copy_from_slice(&iv.to_be_bytes());
        let nonce = self.nonce(packet);
        let aad = AdditionalData::new(packet, sequence, esn);
        let (front, icv) = packet.split_at_mut(packet.len() - self.icv);
        let text = &mut front[PAYLOAD..];
        match &self.cipher {
            Cipher::Full(key) | Cipher::Truncated(key) => {
                icv.copy_from_slice(&tag(key, nonce, aad.octets(), text)?[..self.icv]);
            }
            Cipher::Gmac(key) => icv.copy_from_slice(&gmac(key, nonce, front, &aad)?),
            Cipher::Ccm(key) => key.seal(&nonce[..NONCE - 1], aad.octets(), text, icv)?,
        }
        Ok(())
    }

    /// For a packet that holds an IV and an ICV.
    pub fn open(&self, packet: &mut [u8], sequence: u64, esn: bool) -> Result<(), Forged> {
        let nonce = self.nonce(packet);
        let aad = AdditionalData::new(packet, sequence, esn);
        let (front, icv) = packet.split_at_mut(packet.len() - self.icv);
        let text = &mut front[PAYLOAD..];
        match &self.cipher {
            Cipher::Full(key) => key
                .open_in_place_separate_tag(unique(nonce), Aad::from(aad.octets()), icv, text)
                .map(|_| ())
                .map_err(|_| Forged),
            Cipher::Truncated(key) => open_truncated(key, nonce, aad.octets(), text, icv),
            Cipher::Gmac(key) => {
                let expected = gmac(key, nonce, front, &aad).map_err(|_| Forged)?;
                verify_slices_are_equal(&expected, icv).map_err(|_| Forged)
            }
            Cipher::Ccm(key) => key.open(&nonce[..NONCE - 1], aad.octets(), text, icv),
        }
    }

    /// Salt and IV; with AES-CCM one octet less.
    fn nonce(&self, packet: &[u8]) -> [u8; NONCE] {
        let mut nonce = *self.nonce;
        nonce[self.salt..self.salt + IV].copy_from_slice(&packet[HEADER..PAYLOAD]);
        nonce
    }
}

impl AdditionalData {
    fn new(packet: &[u8], sequence: u64, esn: bool) -> AdditionalData {
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&packet[..4]);
        if esn {
            octets[4..].copy_from_slice(&sequence.to_be_bytes());
        } else {
            octets[4..8].copy_from_slice(&packet[4..8]);
        }
        let length = if esn { 12 } else { 8 };
        AdditionalData { octets, length }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

fn gcm(key: &[u8]) -> Result<LessSafeKey, AlgorithmError> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return Err(AlgorithmError::KeyLength),
    };
    let key = UnboundKey::new(algorithm, key).map_err(|_| AlgorithmError::KeyLength)?;
    Ok(LessSafeKey::new(key))
}

fn chacha(key: &[u8]) -> Result<LessSafeKey, AlgorithmError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| AlgorithmError::KeyLength)?;
    Ok(LessSafeKey::new(key))
}

fn unique(nonce: [u8; NONCE]) -> Nonce {
    Nonce::assume_unique_for_key(nonce)
}

/// Encrypts in place and gives the whole ICV.
fn tag(
    key: &LessSafeKey,
    nonce: [u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
) -> Result<[u8; FULL_ICV], Failed> {
    let tag = key
        .seal_in_place_separate_tag(unique(nonce), Aad::from(aad), text)
        .map_err(|_| Failed)?;
    tag.as_ref().try_into().map_err(|_| Failed)
}

/// The library checks whole ICVs only, but GCM encrypts by adding a key stream: twice through it
/// gives the ciphertext again, and on the way the ICV that belongs to it. Nothing of this leaves
/// the engine, so the nonce is not used for another message.
fn open_truncated(
    key: &LessSafeKey,
    nonce: [u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    icv: &[u8],
) -> Result<(), Forged> {
    let mut turn = || tag(key, nonce, aad, text).map_err(|_| Forged);
    turn()?;
    let expected = turn()?;
    verify_slices_are_equal(&expected[..icv.len()], icv).map_err(|_| Forged)?;
    turn()?;
    Ok(())
}

/// The ICV of RFC 4543 (section 3.3): SPI, sequence number, IV and what follows up to the ICV.
fn gmac(
    key: &LessSafeKey,
    nonce: [u8; NONCE],
    front: &[u8],
    aad: &AdditionalData,
) -> Result<[u8; FULL_ICV], Failed> {
    if aad.length == HEADER {
        return tag(key, nonce, front, &mut []);
    }
    COVERED.with_borrow_mut(|covered| {
        covered.clear();
        covered.extend_from_slice(aad.octets());
        covered.extend_from_slice(&front[HEADER..]);
        tag(key, nonce, covered, &mut [])
    })
}
