//! Requests as a client writes them (`linux/xfrm.h`), octet by octet, for the parsers to mistrust.

use plutino_engine_core::netlink::wire::put_attribute;

pub const XFRMA_TMPL: u16 = 5;
pub const XFRMA_ALG_AEAD: u16 = 18;
pub const XFRMA_REPLAY_ESN_VAL: u16 = 23;
pub const XFRMA_IF_ID: u16 = 31;
pub const XFRMA_SA_DIR: u16 = 33;
pub const IF_ID: u32 = 1;
pub const REQID: u32 = 7;
/// Outer addresses of the two ends.
pub const ONE: [u8; 4] = [192, 0, 2, 1];
pub const TWO: [u8; 4] = [192, 0, 2, 2];
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const ESP: u8 = 50;
const TUNNEL: u8 = 1;
const AF_UNSPEC: u8 = 32;
const WINDOW: u32 = 64;

fn put(target: &mut [u8], at: usize, octets: &[u8]) {
    target[at..at + octets.len()].copy_from_slice(octets);
}

/// `struct xfrm_lifetime_cfg` without limits, which begins with four numbers.
fn put_unlimited(target: &mut [u8], at: usize) {
    target[at..at + 32].fill(0xff);
}

/// NEWSA from one end to the other; `outbound` as its sender installs it.
pub fn new_sa(source: [u8; 4], destination: [u8; 4], spi: u32, outbound: bool) -> Vec<u8> {
    let mut info = vec![0; 224];
    put(&mut info, 56, &destination);
    put(&mut info, 72, &spi.to_be_bytes());
    info[76] = ESP;
    put(&mut info, 80, &source);
    put_unlimited(&mut info, 96);
    put(&mut info, 208, &REQID.to_ne_bytes());
    put(&mut info, 212, &AF_INET.to_ne_bytes());
    info[214] = TUNNEL;
    info[216] = AF_UNSPEC;
    let mut aead = vec![0; 72];
    put(&mut aead, 0, b"rfc4106(gcm(aes))");
    put(&mut aead, 64, &160u32.to_ne_bytes());
    put(&mut aead, 68, &128u32.to_ne_bytes());
    aead.extend([0x5a; 20]);
    put_attribute(&mut info, XFRMA_ALG_AEAD, &aead);
    if !outbound {
        let mut replay = Vec::new();
        for number in [WINDOW / 32, 0, 0, 0, 0, WINDOW] {
            replay.extend(number.to_ne_bytes());
        }
        replay.resize(24 + WINDOW as usize / 8, 0);
        put_attribute(&mut info, XFRMA_REPLAY_ESN_VAL, &replay);
    }
    put_attribute(&mut info, XFRMA_IF_ID, &IF_ID.to_ne_bytes());
    put_attribute(&mut info, XFRMA_SA_DIR, &[if outbound { 2 } else { 1 }]);
    info
}

/// NEWPOLICY for all packets of an IP version; direction 0 is in, 1 out.
pub fn new_policy(source: [u8; 4], destination: [u8; 4], direction: u8, version: u8) -> Vec<u8> {
    let mut info = vec![0; 168];
    let family = if version == 4 { AF_INET } else { AF_INET6 };
    put(&mut info, 40, &family.to_ne_bytes());
    put_unlimited(&mut info, 56);
    info[160] = direction;
    let mut template = vec![0; 64];
    put(&mut template, 0, &destination);
    template[20] = ESP;
    put(&mut template, 24, &AF_INET.to_ne_bytes());
    put(&mut template, 28, &source);
    put(&mut template, 44, &REQID.to_ne_bytes());
    template[48] = TUNNEL;
    template[52..].fill(0xff);
    put_attribute(&mut info, XFRMA_TMPL, &template);
    put_attribute(&mut info, XFRMA_IF_ID, &IF_ID.to_ne_bytes());
    info
}
