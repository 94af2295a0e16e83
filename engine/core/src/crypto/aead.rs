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
use super::{choice, ipsec_mb};
use super::{AlgorithmError, Failed, Forged, HEADER};

/// Octets of the explicit IV.
pub const IV: usize = 8;
const PAYLOAD: usize = HEADER + IV;
const FULL_ICV: usize = 16;
const NONCE: usize = 12;

pub struct Aead {
    cipher: Cipher,
    kind: AeadKind,
    /// The salt, then room for the IV.
    nonce: Zeroizing<[u8; NONCE]>,
    icv: usize,
}

/// An algorithm and its key, apart from what ESP makes of it.
pub enum Cipher {
    /// AES-GCM or ChaCha20-Poly1305 with an ICV of 16 octets.
    Full(LessSafeKey),
    /// AES-GCM with a shorter one.
    Truncated(LessSafeKey),
    /// AES-GCM by the faster library.
    IpsecMb(ipsec_mb::Key),
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
        let icv = icv_bits as usize / 8;
        let mut nonce = Zeroizing::new([0; NONCE]);
        nonce[..salt].copy_from_slice(&keymat[length..]);
        Ok(Aead {
            cipher: Cipher::new(kind, &keymat[..length], icv)?,
            kind,
            nonce,
            icv,
        })
    }

    pub fn icv_length(&self) -> usize {
        self.icv
    }

    pub fn library(&self) -> &'static str {
        match self.cipher {
            Cipher::Ccm(_) => "RustCrypto",
            Cipher::IpsecMb(_) => "ipsec-mb",
            _ => "aws-lc",
        }
    }

    /// For a packet that has room for IV and ICV.
    pub fn seal(&self, packet: &mut [u8], sequence: u64, esn: bool, iv: u64) -> Result<(), Failed> {
        packet[HEADER..PAYLOAD].copy_from_slice(&iv.to_be_bytes());
        let nonce = self.nonce(packet);
        let aad = AdditionalData::new(packet, sequence, esn);
        let (front, icv) = packet.split_at_mut(packet.len() - self.icv);
        if self.kind == AeadKind::Gmac {
            return covered(front, &aad, |all| {
                self.cipher.seal(nonce, all, &mut [], icv)
            });
        }
        self.cipher
            .seal(nonce, aad.octets(), &mut front[PAYLOAD..], icv)
    }

    /// For a packet that holds an IV and an ICV.
    pub fn open(&self, packet: &mut [u8], sequence: u64, esn: bool) -> Result<(), Forged> {
        let nonce = self.nonce(packet);
        let aad = AdditionalData::new(packet, sequence, esn);
        let (front, icv) = packet.split_at_mut(packet.len() - self.icv);
        if self.kind == AeadKind::Gmac {
            return covered(front, &aad, |all| {
                self.cipher.open(nonce, all, &mut [], icv)
            });
        }
        self.cipher
            .open(nonce, aad.octets(), &mut front[PAYLOAD..], icv)
    }

    /// Salt and IV; with AES-CCM one octet less.
    fn nonce(&self, packet: &[u8]) -> [u8; NONCE] {
        let mut nonce = *self.nonce;
        let salt = self.kind.salt();
        nonce[salt..salt + IV].copy_from_slice(&packet[HEADER..PAYLOAD]);
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

impl Cipher {
    /// By the fastest library that is there.
    pub fn new(kind: AeadKind, key: &[u8], icv: usize) -> Result<Cipher, AlgorithmError> {
        match choice::ipsec_mb() {
            Some(library) if kind == AeadKind::Gcm => library
                .key(key)
                .map(Cipher::IpsecMb)
                .ok_or(AlgorithmError::KeyLength),
            _ => Cipher::portable(kind, key, icv),
        }
    }

    /// By those that are always there.
    pub fn portable(kind: AeadKind, key: &[u8], icv: usize) -> Result<Cipher, AlgorithmError> {
        match kind {
            AeadKind::ChaCha => Ok(Cipher::Full(chacha(key)?)),
            AeadKind::Gcm | AeadKind::Gmac if icv == FULL_ICV => Ok(Cipher::Full(gcm(key)?)),
            AeadKind::Gcm | AeadKind::Gmac => Ok(Cipher::Truncated(gcm(key)?)),
            AeadKind::Ccm => ccm::key(key, icv)
                .map(Cipher::Ccm)
                .ok_or(AlgorithmError::KeyLength),
        }
    }

    /// Encrypts in place and writes the ICV.
    pub fn seal(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), Failed> {
        match self {
            Cipher::Full(key) | Cipher::Truncated(key) => {
                let whole = tag(key, nonce, aad, text)?;
                icv.copy_from_slice(&whole[..icv.len()]);
                Ok(())
            }
            Cipher::IpsecMb(key) => {
                key.seal(&nonce, aad, text, icv);
                Ok(())
            }
            Cipher::Ccm(key) => key.seal(&nonce[..ccm::NONCE], aad, text, icv),
        }
    }

    /// Checks the ICV and decrypts in place.
    pub fn open(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Forged> {
        match self {
            Cipher::Full(key) => key
                .open_in_place_separate_tag(unique(nonce), Aad::from(aad), icv, text)
                .map(|_| ())
                .map_err(|_| Forged),
            Cipher::IpsecMb(key) => key.open(&nonce, aad, text, icv),
            Cipher::Truncated(key) => open_truncated(key, nonce, aad, text, icv),
            Cipher::Ccm(key) => key.open(&nonce[..ccm::NONCE], aad, text, icv),
        }
    }
}

/// What AES-GMAC authenticates: SPI, sequence number, IV and all up to the ICV (RFC 4543, 3.3).
fn covered<T>(front: &[u8], aad: &AdditionalData, act: impl FnOnce(&[u8]) -> T) -> T {
    if aad.length == HEADER {
        return act(front);
    }
    COVERED.with_borrow_mut(|all| {
        all.clear();
        all.extend_from_slice(aad.octets());
        all.extend_from_slice(&front[HEADER..]);
        act(all)
    })
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
