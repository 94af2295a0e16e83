//! DSCP and ECN between inner and outer header (RFC 4301, 5.1.2; RFC 6040).

use crate::checksum;
use crate::sa::{SaConfig, XFRM_SA_XFLAG_DONT_ENCAP_DSCP, XFRM_STATE_DECAP_DSCP, XFRM_STATE_NOECN};
use crate::stats::DropReason;

const ECN: u8 = 3;
const ECT1: u8 = 1;
const CE: u8 = 3;

/// The outer type of service of a tunnel (RFC 6040, 4.1, normal mode: both copied).
pub fn encapsulate(config: &SaConfig, inner: u8) -> u8 {
    let dscp = if config.extra_flags & XFRM_SA_XFLAG_DONT_ENCAP_DSCP != 0 {
        0
    } else {
        inner & !ECN
    };
    let ecn = if config.flags & XFRM_STATE_NOECN != 0 {
        0
    } else {
        inner & ECN
    };
    dscp | ecn
}

/// What the outer header tells is passed to the inner packet. Congestion that cannot be told to a
/// sender without ECN drops the packet (RFC 6040, 4.2).
pub fn decapsulate(config: &SaConfig, inner: &mut [u8], outer: u8) -> Result<(), DropReason> {
    let old = type_of_service(inner);
    let mut new = old;
    if config.flags & XFRM_STATE_DECAP_DSCP != 0 {
        new = outer & !ECN | new & ECN;
    }
    if config.flags & XFRM_STATE_NOECN == 0 {
        new = match (old & ECN, outer & ECN) {
            (0, CE) => return Err(DropReason::InError),
            (0, _) | (CE, _) => new,
            (_, CE) => new | CE,
            (_, ECT1) => new & !ECN | ECT1,
            _ => new,
        };
    }
    if new != old {
        set_type_of_service(inner, new);
    }
    Ok(())
}

/// Type of service or traffic class of a packet with a whole header.
pub fn type_of_service(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 {
        packet[1]
    } else {
        packet[0] << 4 | packet[1] >> 4
    }
}

fn set_type_of_service(packet: &mut [u8], tos: u8) {
    if packet[0] >> 4 == 4 {
        // Updated (RFC 1624, 3) and not made anew: a wrong checksum stays wrong.
        let word = |at: usize| u64::from(u16::from_ne_bytes([packet[at], packet[at + 1]]));
        let rest = (word(10) ^ 0xffff) + (word(0) ^ 0xffff);
        packet[1] = tos;
        let sum = checksum::finish(checksum::sum(&packet[..2], rest));
        packet[10..12].copy_from_slice(&sum);
    } else {
        packet[0] = packet[0] & 0xf0 | tos >> 4;
        packet[1] = packet[1] & 0x0f | tos << 4;
    }
}
