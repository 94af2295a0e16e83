//! A packet that is parsed lies within its octets, and its addresses are of its version.

use plutino_engine_core::ip;

pub fn check(octets: &[u8]) {
    let Some(packet) = ip::parse(octets) else {
        return;
    };
    assert!(packet.length <= octets.len());
    assert!(packet.transport <= packet.length);
    let version = octets[0] >> 4;
    let smallest = if version == 4 { 20 } else { 40 };
    assert!(packet.transport >= smallest);
    assert_eq!(packet.flow.source.is_ipv4(), version == 4);
    assert_eq!(packet.flow.destination.is_ipv4(), version == 4);
    assert!(packet.fragment || !packet.later_fragment);
    // Octets after the packet's end change nothing.
    assert_eq!(ip::parse(&octets[..packet.length]), Some(packet));
}
