//! Rows of sealed packets out of a real socket.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::FromRawFd;

use super::*;
use crate::underlay::{Socket, SocketKind};

const IPPROTO_UDPLITE: i32 = 136;

/// UDP-Lite (RFC 3828) has the options of UDP, and refuses UDP_SEGMENT with EIO, as kernels before
/// 6.11 do for UDP where the device makes no checksums. None where the kernel has none.
fn udp_lite() -> Option<UdpSocket> {
    // SAFETY: a new descriptor, which nobody else owns.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, IPPROTO_UDPLITE);
        (fd >= 0).then(|| UdpSocket::from_raw_fd(fd))
    }
}

#[test]
fn where_a_device_makes_no_checksums_packets_go_one_by_one() {
    let (Some(sender), Some(peer)) = (udp_lite(), udp_lite()) else {
        return eprintln!("this kernel has no UDP-Lite");
    };
    peer.set_nonblocking(true).unwrap();
    // To be given a port, it sends something to nobody.
    peer.send_to(&[0], (Ipv4Addr::LOCALHOST, 9)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let socket = Socket::new(SocketKind::UdpV4, sender.into()).unwrap();
    let (sa, _) = ends(|| SaConfig {
        encapsulation: Encapsulation::Udp {
            source_port: port,
            destination_port: port,
        },
        ..config(Mode::Tunnel, 1, "127.0.0.1", "127.0.0.1")
    });
    let mut staging = Staging::new();
    for (n, length) in [(1, 100), (2, 100), (3, 40)] {
        staging.place(&sa, Outer::of(&sa), length).fill(n);
    }
    let [row] = staging.datagrams.as_slice() else {
        panic!("they stand in a row");
    };
    socket.send(row, &staging.buffer).unwrap();
    let mut buffer = [0; 200];
    for (n, length) in [(1, 100), (2, 100), (3, 40)] {
        assert_eq!(peer.recv(&mut buffer).unwrap(), length);
        assert_eq!(buffer[..length], vec![n; length]);
    }
    let nothing = peer.recv(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}
