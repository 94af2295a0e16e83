//! Each segment is an IP packet of just its length, and their payloads together are the packet's.

use plutino_engine_core::ip;
use plutino_engine_core::offload::segment::Segments;
use plutino_engine_core::offload::vnet::VnetHeader;

pub fn check(read: &[u8]) {
    let Some((header, octets)) = VnetHeader::parse(read) else {
        return;
    };
    let Some(packet) = ip::parse(octets) else {
        return;
    };
    let Some(segments) = Segments::new(&header, octets, &packet) else {
        return;
    };
    assert!(segments.count() >= 1);
    let mut target = Vec::new();
    let mut payload = 0;
    let mut whole_headers = 0;
    for n in 0..segments.count() {
        let length = segments.length(n);
        assert!(length <= packet.length);
        target.clear();
        target.resize(length, 0xee);
        segments.write(n, &mut target);
        let Some(segment) = ip::parse(&target) else {
            // A checksum may be asked for in the midst of the IP header; it harms its packet alone.
            assert_eq!(segments.count(), 1);
            return;
        };
        if segments.count() > 1 {
            assert_eq!(segment.length, length);
            let tcp = usize::from(target[segment.transport + 12] >> 4) * 4;
            whole_headers = segment.transport + tcp;
            payload += length - whole_headers;
        }
    }
    if segments.count() > 1 {
        assert_eq!(payload, packet.length - whole_headers);
    }
}
