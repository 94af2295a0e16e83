//! Which library does AES-GCM: `libIPSec_MB` where the machine has it and it agrees with AWS-LC on
//! known answers, else AWS-LC. Decided once, before the first packet.

use std::sync::OnceLock;

use super::aead::Cipher;
use super::ipsec_mb::Library;
use super::names::AeadKind;

/// `PLUTINO_CRYPTO=aws-lc` takes the portable one everywhere.
const VARIABLE: &str = "PLUTINO_CRYPTO";
const PORTABLE: &str = "aws-lc";

static IPSEC_MB: OnceLock<Option<Library>> = OnceLock::new();

/// The library beside AWS-LC, if there is one to use.
pub fn ipsec_mb() -> Option<&'static Library> {
    IPSEC_MB
        .get_or_init(|| {
            if std::env::var_os(VARIABLE).is_some_and(|value| value == PORTABLE) {
                return None;
            }
            Library::find().filter(agrees)
        })
        .as_ref()
}

/// Name and version of what does AES-GCM.
pub fn library() -> String {
    match ipsec_mb() {
        Some(library) => format!("ipsec-mb {}", library.version()),
        None => format!("aws-lc {}", aws_lc_rs::awslc_version()),
    }
}

/// Both seal the same texts of lengths around those of blocks and of packets to the same octets,
/// what one has sealed the other opens, and neither opens what was changed.
fn agrees(library: &Library) -> bool {
    const LENGTHS: [usize; 14] = [
        0, 1, 15, 16, 17, 63, 64, 255, 256, 257, 769, 1400, 1500, 8996,
    ];
    [16, 24, 32].into_iter().all(|key_length| {
        let key: Vec<u8> = (0..key_length).map(|n: u8| n.wrapping_mul(0x3b)).collect();
        let Ok(known) = Cipher::portable(AeadKind::Gcm, &key, 16) else {
            return false;
        };
        let Some(other) = library.key(&key).map(Cipher::IpsecMb) else {
            return false;
        };
        LENGTHS.iter().all(|length| {
            let aad = &[0xa5; 12][..if length % 2 == 0 { 8 } else { 12 }];
            agree(&known, &other, aad, *length).unwrap_or(false)
        })
    })
}

fn agree(known: &Cipher, other: &Cipher, aad: &[u8], length: usize) -> Option<bool> {
    let text: Vec<u8> = (0..length).map(|n| (n * 7 + n / 256) as u8).collect();
    let nonce = [length as u8; 12];
    let sealed = |cipher: &Cipher| {
        let mut octets = text.clone();
        let mut icv = [0; 16];
        cipher.seal(nonce, aad, &mut octets, &mut icv).ok()?;
        Some((octets, icv))
    };
    let (first, second) = (sealed(known)?, sealed(other)?);
    if first != second {
        return Some(false);
    }
    let (mut octets, mut icv) = first;
    let opens = other.open(nonce, aad, &mut octets, &icv).is_ok() && octets == text;
    icv[length % 16] ^= 0x10;
    let (mut octets, _) = second;
    Some(opens && other.open(nonce, aad, &mut octets, &icv).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the library is not installed there is nothing to compare, which is no failure.
    #[test]
    fn what_is_installed_agrees() {
        match Library::find() {
            Some(library) => assert!(agrees(&library)),
            None => println!("no libIPSec_MB here"),
        }
    }

    #[test]
    fn the_library_is_named_with_its_version() {
        let (name, version) = super::library()
            .split_once(' ')
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .unwrap();
        assert!(["ipsec-mb", "aws-lc"].contains(&name.as_str()));
        assert!(version.split('.').count() >= 2);
    }
}
