//! What protects ESP packets: one `Transform` per SA, made from the algorithms that XFRM names.
//!
//! ```text
//! names    the kernel's names, defaults and key lengths
//! aead     RFC 4106, 4309, 4543, 7634: one key for confidentiality and integrity
//! choice   which library does AES-GCM
//! separate RFC 3602, 3686 and 2410 beside RFC 2404, 4868, 3566 and 4494: encrypt, then authenticate
//! ```
//!
//! A transform knows nothing of padding or next headers: `esp` frames a packet around it.

mod aead;
mod ccm;
mod choice;
#[cfg(target_arch = "x86_64")]
mod ipsec_mb;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_ipsec_mb.rs"]
mod ipsec_mb;
mod names;
mod separate;
#[cfg(test)]
mod vectors;
pub mod xcbc;

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use aead::Aead;
use separate::Separate;

/// SPI and the low half of the sequence number, in front of the IV (RFC 4303, 2).
pub const HEADER: usize = 8;

/// A name that takes no memory once it was found in the kernel's tables.
pub type Name = Cow<'static, str>;

/// Keying material, in memory that is wiped.
pub type Key = Zeroizing<Box<[u8]>>;

/// Algorithms as XFRM names them (`struct xfrm_algo`, `xfrm_algo_auth`, `xfrm_algo_aead`).
#[derive(Clone)]
pub enum Algorithms {
    /// XFRMA_ALG_AEAD; the salt stands at the end of the keying material.
    Aead {
        name: Name,
        keymat: Key,
        icv_bits: u32,
    },
    /// XFRMA_ALG_CRYPT beside XFRMA_ALG_AUTH_TRUNC or XFRMA_ALG_AUTH.
    Separate {
        crypt: Named,
        auth: Option<Box<AuthNamed>>,
    },
}

/// An encryption algorithm and its key.
#[derive(Clone)]
pub struct Named {
    pub name: Name,
    pub key: Key,
}

/// An integrity algorithm, its key, and the bits of the ICV that are sent; 0 asks for what the
/// kernel takes where XFRMA_ALG_AUTH tells none.
#[derive(Clone)]
pub struct AuthNamed {
    pub name: Name,
    pub key: Key,
    pub icv_bits: u32,
}

/// Why there is no transform for some algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlgorithmError {
    /// No such AEAD algorithm, or not with an ICV of that length.
    Aead,
    Crypt,
    Auth,
    KeyLength,
    IcvLength,
    /// Encryption without integrity, which RFC 8221 (section 4) forbids, and which nobody asked for
    /// by the name `digest_null`; or neither of both (RFC 4303, 3.2).
    NoAuthentication,
}

/// The packet could not be sealed; what stands in it is in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// The integrity check failed; what stands in the packet is of no worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// The algorithms of an SA with their keys, ready for packets. The keys are wiped when it goes.
pub struct Transform {
    algorithms: Algorithms,
    method: Method,
}

enum Method {
    Aead(Aead),
    Separate(Box<Separate>),
}

impl AlgorithmError {
    /// The kernel's error number for it.
    pub fn errno(self) -> i32 {
        match self {
            AlgorithmError::Aead | AlgorithmError::Crypt | AlgorithmError::Auth => libc::ENOSYS,
            _ => libc::EINVAL,
        }
    }

    /// The kernel's words where it has some (`net/xfrm/xfrm_user.c`, `net/ipv4/esp4.c`).
    pub fn words(self) -> &'static str {
        match self {
            AlgorithmError::Aead => "Requested AEAD algorithm not found",
            AlgorithmError::Crypt => "Requested CRYPT algorithm not found",
            AlgorithmError::Auth => "Requested AUTH algorithm not found",
            AlgorithmError::KeyLength => "Kernel was unable to initialize cryptographic operations",
            AlgorithmError::IcvLength => "Invalid length requested for truncated ICV",
            AlgorithmError::NoAuthentication => {
                "Encryption without authentication is refused (RFC 8221, 4)"
            }
        }
    }
}

impl Transform {
    pub fn new(mut algorithms: Algorithms) -> Result<Transform, AlgorithmError> {
        let method = match &mut algorithms {
            Algorithms::Aead {
                name,
                keymat,
                icv_bits,
            } => {
                let entry = names::aead(name, *icv_bits)?;
                *name = entry.name.into();
                Method::Aead(Aead::new(entry.kind, keymat, *icv_bits)?)
            }
            Algorithms::Separate { crypt, auth } => {
                Method::Separate(Box::new(Separate::new(crypt, auth.as_deref_mut())?))
            }
        };
        Ok(Transform { algorithms, method })
    }

    /// Names as the kernel's tables have them, for a dump of the SA.
    pub fn algorithms(&self) -> &Algorithms {
        &self.algorithms
    }

    pub fn iv_length(&self) -> usize {
        match &self.method {
            Method::Aead(_) => aead::IV,
            Method::Separate(separate) => separate.iv_length(),
        }
    }

    pub fn icv_length(&self) -> usize {
        match &self.method {
            Method::Aead(aead) => aead.icv_length(),
            Method::Separate(separate) => separate.icv_length(),
        }
    }

    /// What the length of payload, padding and trailer is a multiple of (RFC 4303, 2.4).
    pub fn alignment(&self) -> usize {
        match &self.method {
            Method::Aead(_) => 4,
            Method::Separate(separate) => separate.alignment(),
        }
    }

    /// Whose code works on the packets.
    pub fn library(&self) -> &'static str {
        match &self.method {
            Method::Aead(aead) => aead.library(),
            Method::Separate(separate) => separate.library(),
        }
    }

    /// Seals a whole ESP packet in place: SPI and low sequence number stand at its start, then
    /// comes the place of the IV, the plaintext with padding and trailer, the place of the ICV.
    /// `iv` is a number that never comes twice under the key.
    pub fn seal(&self, packet: &mut [u8], sequence: u64, esn: bool, iv: u64) -> Result<(), Failed> {
        if packet.len() < self.overhead() {
            return Err(Failed);
        }
        match &self.method {
            Method::Aead(aead) => aead.seal(packet, sequence, esn, iv),
            Method::Separate(separate) => separate.seal(packet, sequence, esn, iv),
        }
    }

    /// Checks the ICV and decrypts in place what is between IV and ICV.
    pub fn open(&self, packet: &mut [u8], sequence: u64, esn: bool) -> Result<(), Forged> {
        if packet.len() < self.overhead() {
            return Err(Forged);
        }
        match &self.method {
            Method::Aead(aead) => aead.open(packet, sequence, esn),
            Method::Separate(separate) => separate.open(packet, sequence, esn),
        }
    }

    fn overhead(&self) -> usize {
        HEADER + self.iv_length() + self.icv_length()
    }
}

impl fmt::Debug for Algorithms {
    /// Without the keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Algorithms::Aead {
                name,
                keymat,
                icv_bits,
            } => write!(formatter, "{name} <secret {} B> {icv_bits}", keymat.len()),
            Algorithms::Separate { crypt, auth } => {
                write!(formatter, "{} <secret {} B>", crypt.name, crypt.key.len())?;
                match auth {
                    None => Ok(()),
                    Some(auth) => write!(
                        formatter,
                        " {} <secret {} B> {}",
                        auth.name,
                        auth.key.len(),
                        auth.icv_bits
                    ),
                }
            }
        }
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithms.fmt(formatter)
    }
}

/// What does AES-GCM, with its version, for `GETINFO`.
pub fn library() -> String {
    choice::library()
}

/// Octets from the system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).expect("the system's generator works");
    octets
}

#[cfg(test)]
pub use tests::every_algorithm;

#[cfg(test)]
mod tests;
