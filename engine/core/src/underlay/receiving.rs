//! Packets into a socket, with what the host tells about each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use super::{Socket, SocketKind, RAW_BATCH, SLOT, UDP_GRO};
use crate::received::Received;
use crate::sys::{self, Control, Meta, NAME};

impl Socket {
    /// One call's packets into `buffer` of `RECEIVE_BUFFER` octets; false if none is waiting.
    pub fn receive(&self, buffer: &mut [u8], received: &mut Vec<Received>) -> io::Result<bool> {
        received.clear();
        if self.kind.is_udp() {
            self.receive_udp(buffer, received)
        } else {
            self.receive_raw(buffer, received)
        }
    }

    fn receive_udp(&self, buffer: &mut [u8], received: &mut Vec<Received>) -> io::Result<bool> {
        let meta = match sys::receive(self.fd(), &mut buffer[..SLOT]) {
            Ok(meta) => meta,
            Err(error) => return self.nothing(error),
        };
        let info = Info::of(&meta);
        let (Some(destination), false) = (info.destination, meta.truncated) else {
            return Ok(true);
        };
        let Some((source, source_port)) = sender(&meta.name) else {
            return Ok(true);
        };
        let segment = info.segment.unwrap_or(meta.length).max(1);
        let mut start = 0;
        while start < meta.length {
            let length = segment.min(meta.length - start);
            let tos = info.tos;
            received.push(Received {
                start,
                length,
                source,
                source_port,
                destination,
                tos,
                hop_limit: info.hop_limit,
                identification: 0,
                df: true,
                encapsulated: true,
            });
            start += length;
        }
        Ok(true)
    }

    fn receive_raw(&self, buffer: &mut [u8], received: &mut Vec<Received>) -> io::Result<bool> {
        let empty = || Meta {
            length: 0,
            truncated: false,
            name: [0; NAME],
            control: Control::new(),
        };
        let mut metas: [Meta; RAW_BATCH] = std::array::from_fn(|_| empty());
        let count = match sys::receive_many(self.fd(), buffer, SLOT, &mut metas) {
            Ok(count) => count,
            Err(error) => return self.nothing(error),
        };
        for (n, meta) in metas[..count].iter().enumerate() {
            let info = Info::of(meta);
            let (Some(destination), false) = (info.destination, meta.truncated) else {
                continue;
            };
            let Some((source, _)) = sender(&meta.name) else {
                continue;
            };
            // IPv4 gives its header with the packet, IPv6 does not.
            let header = match self.kind {
                SocketKind::RawV4 => usize::from(buffer[n * SLOT] & 15) * 4,
                _ => 0,
            };
            let (identification, df) = match &buffer[n * SLOT..n * SLOT + header] {
                [_, _, _, _, high, low, flags, ..] => {
                    (u16::from_be_bytes([*high, *low]), flags & 0x40 != 0)
                }
                _ => (0, true),
            };
            received.push(Received {
                start: n * SLOT + header,
                length: meta.length.saturating_sub(header),
                source,
                source_port: 0,
                destination,
                tos: info.tos,
                hop_limit: info.hop_limit,
                identification,
                df,
                encapsulated: false,
            });
        }
        Ok(true)
    }

    fn nothing(&self, error: io::Error) -> io::Result<bool> {
        if self.kind.needs_error_queue() {
            // What stays in the queue would wake the worker again and again; but what `path_mtu`
            // has asked for is its own.
            let _held = self.df.read().expect("no holder of the lock panics");
            self.drain_errors();
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
            _ => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

/// The ancillary data of a received packet.
struct Info {
    destination: Option<IpAddr>,
    tos: u8,
    hop_limit: u8,
    segment: Option<usize>,
}

impl Info {
    fn of(meta: &Meta) -> Info {
        let mut info = Info {
            destination: None,
            tos: 0,
            hop_limit: 0,
            segment: None,
        };
        for (level, kind, payload) in meta.control.messages() {
            match (level, kind) {
                // struct in_pktinfo: ifindex, address of the interface, destination of the header
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let octets = payload
                        .get(8..12)
                        .and_then(|four| <[u8; 4]>::try_from(four).ok());
                    info.destination = octets.map(|four| IpAddr::V4(Ipv4Addr::from(four)));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let octets = payload
                        .get(..16)
                        .and_then(|all| <[u8; 16]>::try_from(all).ok());
                    info.destination = octets.map(|all| IpAddr::V6(Ipv6Addr::from(all)));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => {
                    info.tos = payload.first().copied().unwrap_or(0)
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let number = payload
                        .get(..4)
                        .and_then(|four| <[u8; 4]>::try_from(four).ok());
                    info.hop_limit = number.map_or(0, |four| i32::from_ne_bytes(four) as u8);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let number = payload
                        .get(..4)
                        .and_then(|four| <[u8; 4]>::try_from(four).ok());
                    info.tos = number.map_or(0, |four| i32::from_ne_bytes(four) as u8);
                }
                (libc::IPPROTO_UDP, UDP_GRO) => {
                    let number = payload
                        .get(..4)
                        .and_then(|four| <[u8; 4]>::try_from(four).ok());
                    info.segment = number.map(|four| i32::from_ne_bytes(four) as usize);
                }
                _ => {}
            }
        }
        info
    }
}

/// Address and port of a `sockaddr_in` or `sockaddr_in6`.
fn sender(name: &[u8; NAME]) -> Option<(IpAddr, u16)> {
    let port = u16::from_be_bytes([name[2], name[3]]);
    match i32::from(u16::from_ne_bytes([name[0], name[1]])) {
        libc::AF_INET => {
            let octets = <[u8; 4]>::try_from(&name[4..8]).ok()?;
            Some((Ipv4Addr::from(octets).into(), port))
        }
        libc::AF_INET6 => {
            let octets = <[u8; 16]>::try_from(&name[8..24]).ok()?;
            Some((Ipv6Addr::from(octets).into(), port))
        }
        _ => None,
    }
}
