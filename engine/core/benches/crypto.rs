//! Packets of 1,400 octets sealed and opened on one core, by each algorithm: `cargo bench`, and the
//! same with `PLUTINO_CRYPTO=aws-lc` for the portable library.

use std::time::{Duration, Instant};

use plutino_engine_core::crypto::{self, Algorithms, AuthNamed, Key, Named, Transform};
use plutino_engine_core::esp;

const PAYLOAD: usize = 1400;
const PACKETS: u64 = 1000;
const TIME: Duration = Duration::from_millis(300);

fn key(octets: u8) -> Key {
    (0..octets).collect::<Box<[u8]>>().into()
}

fn aead(name: &str, octets: u8, icv_bits: u32) -> Algorithms {
    Algorithms::Aead {
        name: name.to_owned().into(),
        keymat: key(octets),
        icv_bits,
    }
}

fn separate(crypt: &str, crypt_octets: u8, auth: &str, octets: u8) -> Algorithms {
    Algorithms::Separate {
        crypt: Named {
            name: crypt.to_owned().into(),
            key: key(crypt_octets),
        },
        auth: Some(Box::new(AuthNamed {
            name: auth.to_owned().into(),
            key: key(octets),
            icv_bits: 0,
        })),
    }
}

/// Gbit/s of payload, the best of some rounds: others may use the core.
fn rate(mut act: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    let mut best = f64::MAX;
    let mut number = 0;
    while begin.elapsed() < TIME {
        let round = Instant::now();
        for _ in 0..PACKETS {
            number += 1;
            act(number);
        }
        best = best.min(round.elapsed().as_secs_f64());
    }
    PACKETS as f64 * PAYLOAD as f64 * 8.0 / best / 1e9
}

fn main() {
    println!("AES-GCM by {}; Gbit/s", crypto::library());
    for algorithms in [
        aead("rfc4106(gcm(aes))", 20, 128),
        aead("rfc4106(gcm(aes))", 28, 128),
        aead("rfc4106(gcm(aes))", 36, 128),
        aead("rfc4106(gcm(aes))", 36, 64),
        aead("rfc7539esp(chacha20,poly1305)", 36, 128),
        aead("rfc4543(gcm(aes))", 36, 128),
        aead("rfc4309(ccm(aes))", 35, 128),
        separate("cbc(aes)", 16, "hmac(sha256)", 32),
        separate("cbc(aes)", 32, "hmac(sha512)", 64),
        separate("rfc3686(ctr(aes))", 20, "hmac(sha256)", 32),
        separate("cbc(aes)", 16, "xcbc(aes)", 16),
        separate("cbc(aes)", 16, "cmac(aes)", 16),
    ] {
        let transform = Transform::new(algorithms).expect("known algorithms");
        let mut packet = vec![0x45; esp::sealed_length(&transform, PAYLOAD, 0)];
        let seal = |number, packet: &mut [u8]| {
            esp::seal(&transform, 1, number, number, true, PAYLOAD, 0, 4, packet).expect("it fits")
        };
        let sealing = rate(|number| seal(number, &mut packet));
        seal(1, &mut packet);
        let sealed = packet.clone();
        let opening = rate(|_| {
            packet.copy_from_slice(&sealed);
            esp::open(&transform, 1, true, &mut packet).expect("it was sealed");
        });
        println!("{transform:?}: seal {sealing:.1}, open {opening:.1}");
    }
}
