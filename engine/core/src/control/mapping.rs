//! MAPPING: the peer's NAT has given it another address or port (`km_new_mapping`).

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::sa_encode::id;
use super::state::{State, GROUP_MAPPING};
use crate::netlink::wire::Message;
use crate::netlink::xfrm as x;
use crate::sa::{clock, Encapsulation, Sa};
use crate::sad::key_of;

/// What a worker told of an authentic packet. Listeners are told once per XFRMA_MTIMER_THRESH and
/// port, of an SA without threshold each time.
pub fn changed(state: &mut State, sa: &Sa, source: IpAddr, port: u16) {
    let Encapsulation::Udp { source_port, .. } = sa.config.encapsulation else {
        return;
    };
    if state.sad.get(&key_of(&sa.config)).is_none() || !is_due(sa, port, clock()) {
        return;
    }
    state.notify_of(GROUP_MAPPING, &Message::NONE, || {
        let config = &sa.config;
        let mut message = id(config).to_vec();
        message.extend(config.reqid.to_ne_bytes());
        message.extend(x::address_octets(config.source));
        message.extend(x::address_octets(source));
        message.extend(source_port.to_be_bytes());
        message.extend(port.to_be_bytes());
        (x::MAPPING, message)
    });
}

fn is_due(sa: &Sa, port: u16, clock: u64) -> bool {
    let threshold = u64::from(sa.config.mapping_threshold);
    if threshold == 0 {
        return true;
    }
    let told = sa.state.mapping_told.load(Relaxed);
    if told & 0xffff == u64::from(port) && clock.saturating_sub(told >> 16) <= threshold {
        return false;
    }
    sa.state
        .mapping_told
        .store(clock << 16 | u64::from(port), Relaxed);
    true
}
