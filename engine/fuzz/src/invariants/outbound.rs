//! What leaves is ESP that the peer opens to just the inner packets that were read, in their order.

use std::cell::RefCell;

use plutino_engine_core::esp;
use plutino_engine_core::ip;
use plutino_engine_core::offload::segment::Segments;
use plutino_engine_core::offload::vnet::VnetHeader;

use super::peers::{Peers, SPI};

thread_local! {
    static PEERS: RefCell<Peers> = RefCell::new(Peers::new());
}

/// One read of TUN: `struct virtio_net_hdr`, then a packet.
pub fn check(read: &[u8]) {
    PEERS.with_borrow_mut(|peers| {
        let sealed = peers.seal(read);
        if sealed.is_empty() {
            return;
        }
        let (header, octets) = VnetHeader::parse(read).expect("it was sealed");
        let packet = ip::parse(octets).expect("it was sealed");
        let segments = Segments::new(&header, octets, &packet).expect("it was sealed");
        assert_eq!(sealed.len(), segments.count());
        for (n, one) in sealed.into_iter().enumerate() {
            assert_eq!(esp::header(&one).map(|(spi, _)| spi), Some(SPI));
            let mut expected = vec![0; segments.length(n)];
            segments.write(n, &mut expected);
            let before = peers.dropped();
            let taken = match peers.open(&one, 0) {
                Some(inner) => {
                    assert_eq!(inner, expected);
                    true
                }
                // A checksum that was asked for in the IP header may have spoilt it.
                None => false,
            };
            assert_eq!(peers.dropped(), before + u64::from(!taken));
        }
    });
}
