//! Ten million hostile packets and requests, made by a seeded generator from valid ones.
//!
//! The invariants are those of the fuzz targets. `PLUTINO_HOSTILE_PACKETS` is how many there are
//! together, `PLUTINO_SEED` where they start; a failure tells the seed of the round that it fell in.

#[path = "../../fuzz/src/invariants/mod.rs"]
mod invariants;

use invariants::requests::{new_policy, new_sa, ONE, TWO};
use plutino_engine_core::netlink::wire::Message;
use plutino_engine_core::netlink::xfrm as x;

/// Without optimization they are fewer, so that a debug build can be tested too.
const MANY: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    10_000_000
};
/// A state cannot be asked for its seed; rounds of so many begin with a new one.
const ROUND: u64 = 1 << 14;

/// xorshift64* (Marsaglia): fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        // The state must not be zero; neighbours must not be alike.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn octet(&mut self) -> u8 {
        self.next() as u8
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.octet()).collect()
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs a share of the packets, in percent of all.
fn run(percent: u64, one: impl Fn(&mut Random)) {
    let count = number("PLUTINO_HOSTILE_PACKETS", MANY) * percent / 100;
    let first = number("PLUTINO_SEED", 1);
    for round in 0..count.div_ceil(ROUND) {
        let seed = first + round;
        let mut random = Random::new(seed);
        let guard = Told(seed);
        for _ in 0..ROUND.min(count - round * ROUND) {
            one(&mut random);
        }
        std::mem::forget(guard);
    }
}

/// Tells the seed if a check panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("again with PLUTINO_SEED={}", self.0);
    }
}

fn ip_packet(random: &mut Random) -> Vec<u8> {
    let length = random.below(100);
    let payload = random.octets(length);
    let protocol = [1, 6, 17, 50, 58, 0, 43, 44, 59, 60][random.below(10)];
    let mut packet;
    if random.next() & 1 == 0 {
        packet = vec![0x45, random.octet()];
        packet.extend((20 + length as u16).to_be_bytes());
        packet.extend([
            random.octet(),
            1,
            0,
            0,
            64,
            protocol,
            0,
            0,
            10,
            1,
            0,
            1,
            10,
            2,
            0,
            1,
        ]);
    } else {
        packet = vec![0x60, 0, 0, 0];
        packet.extend((length as u16).to_be_bytes());
        packet.extend([protocol, 64]);
        packet.extend([0x11; 16]);
        packet.extend([0x22; 16]);
    }
    packet.extend(payload);
    packet
}

/// Changes some octets, or cuts, or adds; half of the packets stay as they are.
fn mutate(random: &mut Random, octets: &mut Vec<u8>) {
    match random.below(8) {
        0 => octets.truncate(random.below(octets.len() + 1)),
        1 => {
            let more = random.below(40);
            octets.extend(random.octets(more));
        }
        2 | 3 => {
            for _ in 0..=random.below(4) {
                let at = random.below(octets.len());
                if let Some(octet) = octets.get_mut(at) {
                    *octet = random.octet();
                }
            }
        }
        _ => {}
    }
}

fn tun_read(random: &mut Random) -> Vec<u8> {
    let mut read = vec![0; 10];
    let mut packet = ip_packet(random);
    match random.below(4) {
        0 => read = random.octets(10),
        1 => {
            // A large TCP segment to cut.
            let header = if packet[0] >> 4 == 4 { 20 } else { 40 };
            packet[if header == 20 { 9 } else { 6 }] = 6;
            let more = random.below(400);
            packet.extend(random.octets(20 + more));
            packet[header + 12] = 0x50;
            let length = packet.len() as u16 - if header == 20 { 0 } else { 40 };
            let at = if header == 20 { 2 } else { 4 };
            packet[at..at + 2].copy_from_slice(&length.to_be_bytes());
            read[0] = 1;
            read[1] = if header == 20 { 1 } else { 4 };
            let size = 1 + random.below(200) as u16;
            read[4..6].copy_from_slice(&size.to_ne_bytes());
            read[6..8].copy_from_slice(&(header as u16).to_ne_bytes());
            read[8..10].copy_from_slice(&16u16.to_ne_bytes());
        }
        _ => {}
    }
    mutate(random, &mut packet);
    read.extend(packet);
    read
}

#[test]
fn ip_headers() {
    run(40, |random| {
        let mut packet = ip_packet(random);
        mutate(random, &mut packet);
        invariants::ip::check(&packet);
    });
}

#[test]
fn packets_to_cut() {
    run(10, |random| invariants::segments::check(&tun_read(random)));
}

#[test]
fn packets_to_seal() {
    run(15, |random| invariants::outbound::check(&tun_read(random)));
}

#[test]
fn packets_to_open() {
    run(20, |random| {
        let mut octets = vec![random.octet(), random.octet()];
        octets.extend(ip_packet(random));
        invariants::inbound::check(&octets);
    });
}

#[test]
fn esp_of_every_algorithm() {
    run(10, |random| {
        let length = 5 + random.below(120);
        invariants::esp::check(&random.octets(length));
    });
}

#[test]
fn requests() {
    run(5, |random| {
        let mut payload = match random.below(3) {
            0 => new_sa(
                ONE,
                TWO,
                random.next() as u32 & 0xfff,
                random.next() & 1 == 0,
            ),
            1 => new_policy(ONE, TWO, random.octet() % 3, 4 + 2 * (random.octet() & 1)),
            _ => {
                let length = random.below(300);
                random.octets(length)
            }
        };
        mutate(random, &mut payload);
        let kinds = [
            x::NEWSA,
            x::UPDSA,
            x::NEWPOLICY,
            x::DELSA,
            x::GETSA,
            x::DELPOLICY,
        ];
        let kind = match random.below(4) {
            0 => 0x10 + random.below(0x1b) as u16,
            1 => 0x80 + random.below(0x0b) as u16,
            _ => kinds[random.below(kinds.len())],
        };
        // A dump of the hundreds that are there is dear: one in a hundred.
        let flags = if random.below(100) == 0 { 0x305 } else { 5 };
        invariants::netlink::check_request(&Message {
            kind,
            flags,
            sequence: 1,
            port: 0,
            payload: &payload,
        });
        if random.below(8) == 0 {
            invariants::netlink::check(&payload);
        }
    });
}

#[test]
fn replay_windows_against_a_set() {
    // Each is a walk of some hundred numbers.
    run(1, |random| {
        let steps = 4 + 3 * random.below(200);
        invariants::replay::check(&random.octets(steps));
    });
}
