//! Nothing is delivered that the peer did not seal, nothing twice, and each refusal counts once.

use std::cell::RefCell;

use super::peers::{Peers, SPI};

thread_local! {
    static PEERS: RefCell<Peers> = RefCell::new(Peers::new());
}

/// Two octets say what becomes of the packet that the rest is the inner packet of.
pub fn check(octets: &[u8]) {
    let [change, at, inner @ ..] = octets else {
        return;
    };
    PEERS.with_borrow_mut(|peers| match change % 4 {
        0 => {
            // An alien from the net; half of them bear our SPI.
            let mut alien = inner.to_vec();
            if at & 1 == 1 && alien.len() >= 4 {
                alien[..4].copy_from_slice(&SPI.to_be_bytes());
            }
            refused(peers, &alien);
        }
        kind => {
            let mut read = vec![0; 10];
            read.extend(inner);
            for packet in peers.seal(&read) {
                let mut hostile = packet.clone();
                let place = usize::from(*at) * hostile.len() / 256;
                match kind {
                    1 => hostile[place] ^= change >> 2 | 1,
                    2 => hostile.truncate(place),
                    _ => {
                        let before = peers.dropped();
                        let taken = peers.open(&hostile, *at).is_some();
                        assert_eq!(peers.dropped(), before + u64::from(!taken));
                    }
                }
                refused(peers, &hostile);
            }
        }
    });
}

fn refused(peers: &mut Peers, packet: &[u8]) {
    let before = peers.dropped();
    assert!(peers.open(packet, 0).is_none());
    assert_eq!(peers.dropped(), before + 1);
}
