//! GETSPDINFO and NEWSPDINFO: numbers of policies, figures of the kernel's hash tables.

use super::policy_parse::invalid;
use super::policy_requests::{Request, INFO_ORDER};
use super::state::{Answer, State};
use crate::netlink::wire::{put_attribute, Refusal};
use crate::netlink::xfrm as x;
use crate::spd::MOST_BUCKETS;

/// `build_spdinfo()`; the flags come back as they were sent.
pub fn get(state: &State, request: &Request) -> Result<Answer, Refusal> {
    let spd = &state.spd;
    let mut reply = request.payload()[..4].to_vec();
    let mut counts = Vec::with_capacity(24);
    for direction in INFO_ORDER {
        counts.extend(spd.count(direction).to_ne_bytes());
    }
    counts.resize(24, 0); // no policies of sockets
    put_attribute(&mut reply, x::XFRMA_SPD_INFO, &counts);
    let buckets = [spd.hashes.by_index, MOST_BUCKETS].map(u32::to_ne_bytes);
    put_attribute(&mut reply, x::XFRMA_SPD_HINFO, &buckets.concat());
    for (number, threshold) in [
        (x::XFRMA_SPD_IPV4_HTHRESH, spd.hashes.threshold4),
        (x::XFRMA_SPD_IPV6_HTHRESH, spd.hashes.threshold6),
    ] {
        put_attribute(&mut reply, number, &threshold);
    }
    Answer::of(vec![(x::NEWSPDINFO, reply)])
}

/// `xfrm_set_spdinfo()`: both thresholds or none.
pub fn set(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let wanted = |number: u16, longest: u8, words: &str| match request.attributes.get(number) {
        None => Ok(None),
        Some([local, remote, ..]) if *local <= longest && *remote <= longest => {
            Ok(Some([*local, *remote]))
        }
        Some(_) => Err(invalid(words)),
    };
    let threshold4 = wanted(
        x::XFRMA_SPD_IPV4_HTHRESH,
        32,
        "Invalid hash threshold (must be <= 32 for IPv4)",
    )?;
    let threshold6 = wanted(
        x::XFRMA_SPD_IPV6_HTHRESH,
        128,
        "Invalid hash threshold (must be <= 128 for IPv6)",
    )?;
    let hashes = &mut state.spd.hashes;
    hashes.threshold4 = threshold4.unwrap_or(hashes.threshold4);
    hashes.threshold6 = threshold6.unwrap_or(hashes.threshold6);
    Answer::done()
}
