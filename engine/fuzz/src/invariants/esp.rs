//! What opens was sealed with the same key and number, unchanged, and lies within its packet.

use std::sync::OnceLock;

use plutino_engine_core::crypto::{Algorithms, AuthNamed, Named, Transform};
use plutino_engine_core::esp;

fn transforms() -> &'static [Transform] {
    static ALL: OnceLock<Vec<Transform>> = OnceLock::new();
    ALL.get_or_init(|| {
        let aead = |name: &str, octets: usize, icv_bits| Algorithms::Aead {
            name: name.to_owned().into(),
            keymat: vec![7; octets].into_boxed_slice().into(),
            icv_bits,
        };
        let separate =
            |crypt: &str, key: usize, auth: &str, auth_key: usize| Algorithms::Separate {
                crypt: Named {
                    name: crypt.to_owned().into(),
                    key: vec![8; key].into_boxed_slice().into(),
                },
                auth: Some(Box::new(AuthNamed {
                    name: auth.to_owned().into(),
                    key: vec![9; auth_key].into_boxed_slice().into(),
                    icv_bits: 0,
                })),
            };
        [
            aead("rfc4106(gcm(aes))", 20, 128),
            aead("rfc4106(gcm(aes))", 36, 64),
            aead("rfc4543(gcm(aes))", 20, 128),
            aead("rfc4309(ccm(aes))", 19, 128),
            aead("rfc7539esp(chacha20,poly1305)", 36, 128),
            separate("cbc(aes)", 16, "hmac(sha256)", 32),
            separate("cbc(aes)", 32, "xcbc(aes)", 16),
            separate("rfc3686(ctr(aes))", 20, "cmac(aes)", 16),
            separate("ecb(cipher_null)", 0, "hmac(sha512)", 64),
        ]
        .into_iter()
        .map(|algorithms| Transform::new(algorithms).expect("the engine has it"))
        .collect()
    })
}

pub fn check(octets: &[u8]) {
    let [which, shape, tfc, at, bit, payload @ ..] = octets else {
        return;
    };
    let all = transforms();
    let transform = &all[usize::from(*which) % all.len()];
    let esn = shape & 1 == 1;
    let payload = &payload[..payload.len().min(2048)];
    let tfc = usize::from(*tfc) % 64;
    let number = 0x1_0000_0005;
    let start = esp::payload_offset(transform);
    let mut packet = vec![0; esp::sealed_length(transform, payload.len(), tfc)];
    packet[start..start + payload.len()].copy_from_slice(payload);
    let length = payload.len();
    esp::seal(
        transform,
        0x1234,
        number,
        number,
        esn,
        length,
        tfc,
        4,
        &mut packet,
    )
    .expect("it fits its place");
    let sealed = packet.clone();
    match esp::open(transform, number, esn, &mut packet) {
        Ok(opened) => {
            assert!(opened.start + opened.payload <= packet.len());
            assert_eq!(
                (opened.start, opened.payload, opened.next_header),
                (start, length + tfc, 4)
            );
            assert_eq!(&packet[start..start + length], payload);
        }
        Err(_) => assert_eq!(length + tfc, 0),
    }
    let mut tampered = sealed.clone();
    let at = usize::from(*at) * tampered.len() / 256;
    tampered[at] ^= 1 << (bit % 8);
    // The receiver takes the low half of the number from the packet.
    let (_, low) = esp::header(&tampered).expect("it is whole");
    let told = number & !0xffff_ffff | u64::from(low);
    assert!(esp::open(transform, told, esn, &mut tampered).is_err());
    let cut = usize::from(*bit) * sealed.len() / 256;
    assert!(esp::open(transform, number, esn, &mut sealed[..cut].to_vec()).is_err());
    let mut alien = octets.to_vec();
    assert!(esp::open(transform, number, esn, &mut alien).is_err());
}
