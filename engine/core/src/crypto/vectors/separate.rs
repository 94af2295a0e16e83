//! AES-CBC and AES-CTR as packets (RFC 3602, 3686), and the codes for integrity by themselves.

use super::*;

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
