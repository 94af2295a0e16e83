//! Which algorithms there are, and what is refused.

use super::*;

fn key(length: usize) -> Key {
    (0..length as u8)
        .map(|n| n.wrapping_mul(37) ^ 0x5a)
        .collect::<Box<[u8]>>()
        .into()
}

pub fn aead(name: &str, keymat: usize, icv_bits: u32) -> Algorithms {
    Algorithms::Aead {
        name: name.to_owned().into(),
        keymat: key(keymat),
        icv_bits,
    }
}

fn separate(crypt: &str, crypt_key: usize, auth: &str, auth_key: usize) -> Algorithms {
    Algorithms::Separate {
        crypt: Named {
            name: crypt.to_owned().into(),
            key: key(crypt_key),
        },
        auth: Some(Box::new(AuthNamed {
            name: auth.to_owned().into(),
            key: key(auth_key),
            icv_bits: 0,
        })),
    }
}

/// One transform of each algorithm with each length of key and ICV.
pub fn every_algorithm() -> Vec<Transform> {
    let mut all = Vec::new();
    for octets in [16, 24, 32] {
        for icv in [64, 96, 128] {
            all.push(aead("rfc4106(gcm(aes))", octets + 4, icv));
            all.push(aead("rfc4309(ccm(aes))", octets + 3, icv));
        }
        all.push(aead("rfc4543(gcm(aes))", octets + 4, 128));
        all.push(separate("cbc(aes)", octets, "hmac(sha256)", 32));
        all.push(separate("rfc3686(ctr(aes))", octets + 4, "hmac(sha1)", 20));
    }
    all.push(aead("rfc7539esp(chacha20,poly1305)", 36, 128));
    for (auth, octets) in [
        ("hmac(sha1)", 20),
        ("hmac(sha256)", 32),
        ("hmac(sha384)", 48),
        ("hmac(sha512)", 64),
        ("xcbc(aes)", 16),
        ("cmac(aes)", 16),
        ("cmac(aes)", 32),
    ] {
        all.push(separate("ecb(cipher_null)", 0, auth, octets));
        all.push(separate("cbc(aes)", 16, auth, octets));
    }
    all.into_iter()
        .map(|algorithms| Transform::new(algorithms).unwrap())
        .collect()
}

fn refusal(algorithms: Algorithms) -> AlgorithmError {
    Transform::new(algorithms).unwrap_err()
}

#[test]
fn unknown_names_and_icvs_are_not_found() {
    for (name, icv) in [
        ("rfc4106(gcm(aes))", 32),
        ("rfc4106(gcm(aes))", 0),
        ("rfc4543(gcm(aes))", 96),
        ("gcm(aes)", 128),
        ("", 128),
    ] {
        assert_eq!(refusal(aead(name, 20, icv)), AlgorithmError::Aead);
    }
    assert_eq!(
        refusal(separate("cbc(des)", 8, "hmac(sha1)", 20)),
        AlgorithmError::Crypt
    );
    assert_eq!(
        refusal(separate("cbc(aes)", 16, "hmac(md5)", 16)),
        AlgorithmError::Auth
    );
    assert_eq!(AlgorithmError::Auth.errno(), libc::ENOSYS);
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for (name, right) in [
        ("rfc4106(gcm(aes))", [20, 28, 36]),
        ("rfc4309(ccm(aes))", [19, 27, 35]),
        ("rfc4543(gcm(aes))", [20, 28, 36]),
        ("rfc7539esp(chacha20,poly1305)", [36, 36, 36]),
    ] {
        for length in (0..80).filter(|length| !right.contains(length)) {
            assert_eq!(refusal(aead(name, length, 128)), AlgorithmError::KeyLength);
        }
    }
    for (crypt, crypt_key, auth, auth_key) in [
        ("cbc(aes)", 17, "hmac(sha1)", 20),
        ("cbc(aes)", 0, "hmac(sha1)", 20),
        ("rfc3686(ctr(aes))", 16, "hmac(sha1)", 20),
        ("rfc3686(ctr(aes))", 2, "hmac(sha1)", 20),
        ("ecb(cipher_null)", 1, "hmac(sha1)", 20),
        ("cbc(aes)", 16, "hmac(sha1)", 0),
        ("cbc(aes)", 16, "xcbc(aes)", 32),
        ("cbc(aes)", 16, "cmac(aes)", 20),
        ("cbc(aes)", 16, "digest_null", 1),
    ] {
        assert_eq!(
            refusal(separate(crypt, crypt_key, auth, auth_key)),
            AlgorithmError::KeyLength
        );
    }
}

#[test]
fn integrity_is_given_up_by_name_only_and_never_both() {
    let crypt = |name: &str, octets| Algorithms::Separate {
        crypt: Named {
            name: name.to_owned().into(),
            key: key(octets),
        },
        auth: None,
    };
    assert_eq!(
        refusal(crypt("cbc(aes)", 16)),
        AlgorithmError::NoAuthentication
    );
    assert_eq!(
        refusal(crypt("cipher_null", 0)),
        AlgorithmError::NoAuthentication
    );
    assert_eq!(
        refusal(separate("ecb(cipher_null)", 0, "digest_null", 0)),
        AlgorithmError::NoAuthentication
    );
    let transform = Transform::new(separate("cbc(aes)", 16, "digest_null", 0)).unwrap();
    assert_eq!(transform.icv_length(), 0);
}

#[test]
fn old_names_and_default_icvs_become_what_the_kernel_tells() {
    for (crypt, auth, octets, name, bits) in [
        ("aes", "sha1", 16, "hmac(sha1)", 96),
        ("aes", "sha256", 16, "hmac(sha256)", 96),
        ("aes", "hmac(sha384)", 16, "hmac(sha384)", 192),
        ("aes", "hmac(sha512)", 16, "hmac(sha512)", 256),
        ("aes", "xcbc(aes)", 16, "xcbc(aes)", 96),
        ("aes", "cmac(aes)", 16, "cmac(aes)", 96),
    ] {
        let transform = Transform::new(separate(crypt, octets, auth, 16)).unwrap();
        let Algorithms::Separate {
            crypt,
            auth: Some(auth),
        } = transform.algorithms()
        else {
            panic!("what went in comes out")
        };
        assert_eq!(crypt.name, "cbc(aes)");
        assert_eq!((&*auth.name, auth.icv_bits), (name, bits));
        assert_eq!(transform.icv_length() * 8, bits as usize);
    }
}

#[test]
fn an_icv_longer_than_the_mac_or_next_to_nothing_is_refused() {
    for (bits, expected) in [
        (257, Some(AlgorithmError::IcvLength)),
        (31, Some(AlgorithmError::IcvLength)),
        (128, None),
        (256, None),
    ] {
        let mut algorithms = separate("cbc(aes)", 16, "hmac(sha256)", 32);
        if let Algorithms::Separate {
            auth: Some(auth), ..
        } = &mut algorithms
        {
            auth.icv_bits = bits;
        }
        assert_eq!(Transform::new(algorithms).err(), expected);
    }
}

/// The parts of an SA are to fit in 2 KB, and each worker uses each transform.
#[test]
fn transforms_are_small_and_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Transform>();
    assert!(size_of::<Transform>() <= 192, "{}", size_of::<Transform>());
}

#[test]
fn secrets_are_not_printed() {
    let transform = Transform::new(aead("rfc4106(gcm(aes))", 20, 128)).unwrap();
    assert_eq!(
        format!("{transform:?}"),
        "rfc4106(gcm(aes)) <secret 20 B> 128"
    );
}

#[test]
fn cbc_never_shows_the_number_its_iv_is_made_of() {
    let transform = Transform::new(separate("cbc(aes)", 16, "hmac(sha1)", 20)).unwrap();
    let iv = |number| {
        let mut packet = vec![0; 8 + 16 + 16 + 12];
        transform.seal(&mut packet, 1, false, number).unwrap();
        packet[8..24].to_vec()
    };
    assert_ne!(iv(1), iv(2));
    let differing = iv(1).iter().zip(iv(2)).filter(|(a, b)| *a != b).count();
    assert!(differing > 8);
}
