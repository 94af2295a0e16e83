//! The kernel's names of algorithms (`net/xfrm/xfrm_algo.c`): those the engine has, with the old
//! names that the kernel still takes, its default lengths of ICVs, and the lengths of keys.

use super::AlgorithmError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AeadKind {
    Gcm,
    Gmac,
    Ccm,
    ChaCha,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptKind {
    Null,
    Cbc,
    Ctr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    Null,
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    Xcbc,
    Cmac,
}

/// A name, its older form, and what it stands for.
pub struct Entry<Kind> {
    pub name: &'static str,
    compat: Option<&'static str>,
    pub kind: Kind,
}

/// Bits of the ICV: what is sent if nothing else is asked for, and what there is.
pub struct IcvBits {
    pub default: u32,
    pub full: u32,
}

const fn entry<Kind>(name: &'static str, compat: Option<&'static str>, kind: Kind) -> Entry<Kind> {
    Entry { name, compat, kind }
}

const AEAD: &[Entry<AeadKind>] = &[
    entry("rfc4106(gcm(aes))", None, AeadKind::Gcm),
    entry("rfc4309(ccm(aes))", None, AeadKind::Ccm),
    entry("rfc4543(gcm(aes))", None, AeadKind::Gmac),
    entry("rfc7539esp(chacha20,poly1305)", None, AeadKind::ChaCha),
];

const CRYPT: &[Entry<CryptKind>] = &[
    entry("ecb(cipher_null)", Some("cipher_null"), CryptKind::Null),
    entry("cbc(aes)", Some("aes"), CryptKind::Cbc),
    entry("rfc3686(ctr(aes))", None, CryptKind::Ctr),
];

const AUTH: &[Entry<AuthKind>] = &[
    entry("digest_null", None, AuthKind::Null),
    entry("hmac(sha1)", Some("sha1"), AuthKind::HmacSha1),
    entry("hmac(sha256)", Some("sha256"), AuthKind::HmacSha256),
    entry("hmac(sha384)", None, AuthKind::HmacSha384),
    entry("hmac(sha512)", None, AuthKind::HmacSha512),
    entry("xcbc(aes)", None, AuthKind::Xcbc),
    entry("cmac(aes)", None, AuthKind::Cmac),
];

/// An AEAD algorithm is known together with the length of its ICV.
pub fn aead(name: &str, icv_bits: u32) -> Result<&'static Entry<AeadKind>, AlgorithmError> {
    let entry = find(AEAD, name).ok_or(AlgorithmError::Aead)?;
    match (entry.kind, icv_bits) {
        (AeadKind::Gcm | AeadKind::Ccm, 64 | 96) | (_, 128) => Ok(entry),
        _ => Err(AlgorithmError::Aead),
    }
}

pub fn crypt(name: &str) -> Result<&'static Entry<CryptKind>, AlgorithmError> {
    find(CRYPT, name).ok_or(AlgorithmError::Crypt)
}

pub fn auth(name: &str) -> Result<&'static Entry<AuthKind>, AlgorithmError> {
    find(AUTH, name).ok_or(AlgorithmError::Auth)
}

fn find<Kind>(table: &'static [Entry<Kind>], name: &str) -> Option<&'static Entry<Kind>> {
    table
        .iter()
        .find(|entry| entry.name == name || entry.compat == Some(name))
}

impl AeadKind {
    /// Octets at the end of the keying material that begin the nonce.
    pub fn salt(self) -> usize {
        match self {
            AeadKind::Ccm => 3,
            _ => 4,
        }
    }
}

impl AuthKind {
    pub fn icv_bits(self) -> IcvBits {
        let (default, full) = match self {
            AuthKind::Null => (0, 0),
            AuthKind::HmacSha1 => (96, 160),
            // RFC 4868 sends 128 bits; 96 is what the kernel took from an old draft, and keeps.
            AuthKind::HmacSha256 => (96, 256),
            AuthKind::HmacSha384 => (192, 384),
            AuthKind::HmacSha512 => (256, 512),
            AuthKind::Xcbc | AuthKind::Cmac => (96, 128),
        };
        IcvBits { default, full }
    }
}
