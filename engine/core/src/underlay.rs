//! The sockets that ESP travels through: raw ESP, and UDP port 4500 (RFC 3948).
//!
//! UDP takes and gives whole rows of equal packets (UDP_SEGMENT, UDP_GRO); raw sockets take and give
//! one message per packet, several per call.
//!
//! Packets go out with DF, and a send that the path does not take is refused; those that may be cut
//! on the way are sent while the option is turned off. Fragments that come in are put together by
//! the host's kernel, which bounds them (`net.ipv4.ipfrag_high_thresh`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::RwLock;

use crate::inbound::Received;
use crate::outbound::{Datagram, Outer};
use crate::sa::{Encapsulation, Sa};
use crate::sys::{self, Control, Meta, Target, NAME};

/// Octets that a receive buffer should hold; the kernel doubles them.
const SOCKET_BUFFER: i32 = 8 << 20;
/// Milliseconds that a send waits for room before its packets are dropped.
const SEND_TIMEOUT: i64 = 100;
/// Packets per call on a raw socket, and octets of each at most.
const RAW_BATCH: usize = 64;
const SLOT: usize = 65_536;
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;
const IPV6_AUTOFLOWLABEL: i32 = 70;

/// Octets that `Socket::receive` needs in its buffer.
pub const RECEIVE_BUFFER: usize = RAW_BATCH * SLOT;

/// The numbers of `SOCK_KIND` (docs/engine-protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SocketKind {
    RawV4 = 1,
    RawV6 = 2,
    UdpV4 = 3,
    UdpV6 = 4,
}

impl SocketKind {
    pub const ALL: [SocketKind; 4] = [
        SocketKind::RawV4,
        SocketKind::RawV6,
        SocketKind::UdpV4,
        SocketKind::UdpV6,
    ];

    /// The socket that an SA's packets leave by.
    pub fn of(sa: &Sa) -> SocketKind {
        match (&sa.config.encapsulation, sa.config.destination.is_ipv4()) {
            (Encapsulation::Esp, true) => SocketKind::RawV4,
            (Encapsulation::Esp, false) => SocketKind::RawV6,
            (Encapsulation::Udp { .. }, true) => SocketKind::UdpV4,
            (Encapsulation::Udp { .. }, false) => SocketKind::UdpV6,
        }
    }

    fn is_udp(self) -> bool {
        matches!(self, SocketKind::UdpV4 | SocketKind::UdpV6)
    }

    /// A raw socket of IPv6 does path MTU discovery only while its error queue is on
    /// (`rawv6_err`); what stands in it must be taken out and is worth nothing else.
    fn needs_error_queue(self) -> bool {
        self == SocketKind::RawV6
    }

    fn is_v4(self) -> bool {
        matches!(self, SocketKind::RawV4 | SocketKind::UdpV4)
    }
}

impl TryFrom<u32> for SocketKind {
    type Error = ();

    fn try_from(number: u32) -> Result<Self, ()> {
        SocketKind::ALL
            .into_iter()
            .find(|kind| *kind as u32 == number)
            .ok_or(())
    }
}

/// A socket that was handed to the engine.
pub struct Socket {
    pub kind: SocketKind,
    fd: OwnedFd,
    pub errors: AtomicU64,
    /// Whether the socket sets DF; held for reading while a row is sent.
    df: RwLock<bool>,
}

/// Packets that did not leave, and why.
#[derive(Debug)]
pub struct Unsent {
    pub error: io::Error,
    pub lost: u64,
}

/// More than any IP packet holds: the host refuses it and tells the path's MTU; nothing is sent.
const OVERSIZE: usize = 65_536;
const ATTEMPTS: usize = 3;
static NOTHING: [u8; OVERSIZE] = [0; OVERSIZE];

impl Socket {
    /// Sets what the engine needs: ancillary data, receive offload, buffers.
    pub fn new(kind: SocketKind, fd: OwnedFd) -> io::Result<Socket> {
        let socket = fd.as_fd();
        sys::set_nonblocking(socket, false)?;
        sys::set_send_timeout(socket, SEND_TIMEOUT)?;
        for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
            if sys::set_option(socket, libc::SOL_SOCKET, option, SOCKET_BUFFER).is_err() {
                let soft = if option == libc::SO_RCVBUFFORCE {
                    libc::SO_RCVBUF
                } else {
                    libc::SO_SNDBUF
                };
                sys::set_option(socket, libc::SOL_SOCKET, soft, SOCKET_BUFFER)?;
            }
        }
        if kind.is_v4() {
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
        } else {
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            // The host would choose one for the socket, which is neither the packet's nor 0.
            sys::set_option(socket, libc::IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0)?;
        }
        if kind.is_udp() {
            sys::set_option(socket, libc::IPPROTO_UDP, UDP_GRO, 1)?;
        }
        let socket = Socket {
            kind,
            fd,
            errors: AtomicU64::new(0),
            df: RwLock::new(true),
        };
        socket.set_df(true)?;
        if kind.needs_error_queue() {
            sys::set_option(socket.fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        }
        Ok(socket)
    }

    /// Whether what is longer than the path is refused, or cut.
    fn set_df(&self, on: bool) -> io::Result<()> {
        let (level, option) = if self.kind.is_v4() {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
        };
        // The values are the same for both families.
        let value = if on {
            libc::IP_PMTUDISC_DO
        } else {
            libc::IP_PMTUDISC_DONT
        };
        sys::set_option(self.fd(), level, option, value)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends all packets of a row; gives the first error with the number of packets it cost.
    pub fn send(&self, row: &Datagram, buffer: &[u8]) -> Result<(), Unsent> {
        let octets = &buffer[row.start..row.start + row.length];
        self.send_with_df(row, octets).map_err(|(error, sent)| {
            self.errors.fetch_add(1, Ordering::Relaxed);
            let lost = (row.length - sent).div_ceil(row.segment) as u64;
            Unsent { error, lost }
        })
    }

    /// Rows with DF and without come in runs: the socket changes between two runs alone.
    fn send_with_df(&self, row: &Datagram, octets: &[u8]) -> Result<(), (io::Error, usize)> {
        let held = self.df.read().expect("no holder of the lock panics");
        if *held == row.outer.df {
            return self.send_row(row, octets);
        }
        drop(held);
        let mut held = self.df.write().expect("no holder of the lock panics");
        self.turn_df(&mut held, row.outer.df)
            .map_err(|error| (error, 0))?;
        self.send_row(row, octets)
    }

    fn turn_df(&self, is_on: &mut bool, wanted: bool) -> io::Result<()> {
        if *is_on != wanted {
            self.set_df(wanted)?;
            *is_on = wanted;
        }
        Ok(())
    }

    /// On an error gives the octets that went before it.
    fn send_row(&self, row: &Datagram, octets: &[u8]) -> Result<(), (io::Error, usize)> {
        if !self.kind.is_udp() || row.length <= row.segment {
            return self.send_each(row, octets);
        }
        let target = target_of(&row.sa, &row.outer, Some(row.segment as u16));
        match sys::send(self.fd(), &target, octets) {
            // Longer than the path: sent one by one, each meets its own fate.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE)) => {
                self.send_each(row, octets)
            }
            result => result.map_err(|error| (error, 0)),
        }
    }

    fn send_each(&self, row: &Datagram, octets: &[u8]) -> Result<(), (io::Error, usize)> {
        let target = target_of(&row.sa, &row.outer, None);
        let packets: Vec<&[u8]> = octets.chunks(row.segment).collect();
        let mut sent = 0;
        // An error may be of a packet before, to whomever; it is told once.
        let mut excuse = self.kind.needs_error_queue();
        while sent < packets.len() {
            match sys::send_many(self.fd(), &target, &packets[sent..]) {
                Ok(count) => sent += count,
                Err(_) if excuse => excuse = false,
                Err(error) => return Err((error, sent * row.segment)),
            }
        }
        Ok(())
    }

    /// Sends one message; what is longer than the path may be cut into fragments of IP.
    pub fn send_plain(&self, way: &Plain, octets: &[u8]) -> io::Result<()> {
        let outer = Outer {
            source: way.source,
            destination: way.destination,
            tos: 0,
            hop_limit: None,
            df: false,
        };
        let mark = (way.mark != 0).then_some(way.mark);
        let target = target(&outer, way.port, mark, None);
        let mut held = self.df.write().expect("no holder of the lock panics");
        self.turn_df(&mut held, false)?;
        sys::send(self.fd(), &target, octets)
    }

    /// Empties the error queue; gives the last MTU that stood in it.
    fn drain_errors(&self) -> Option<u32> {
        let mut mtu = None;
        let mut quoted = [0; 64];
        while let Ok(meta) = sys::receive_error(self.fd(), &mut quoted) {
            mtu = meta.control.messages().find_map(told_mtu).or(mtu);
        }
        mtu
    }

    /// The MTU of the host's route for an SA's packets, in bytes; None without a route. The error
    /// queue is on for this question alone, or the ICMP errors of one peer would make sends to
    /// others fail.
    pub fn path_mtu(&self, sa: &Sa, outer: &Outer) -> Option<u32> {
        let (level, option) = if self.kind.is_v4() {
            (libc::IPPROTO_IP, libc::IP_RECVERR)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        };
        let oversize = if self.kind.is_v4() {
            &NOTHING[1..]
        } else {
            &NOTHING[..]
        };
        let mut held = self.df.write().expect("no holder of the lock panics");
        self.turn_df(&mut held, true).ok()?;
        sys::set_option(self.fd(), level, option, 1).ok()?;
        self.drain_errors();
        let target = target_of(sa, outer, None);
        let mut mtu = None;
        // A refusal may be that of a packet before, which is told once.
        for _ in 0..ATTEMPTS {
            let refused = sys::send(self.fd(), &target, oversize);
            mtu = self.drain_errors().filter(|_| is_too_big(&refused));
            if mtu.is_some() || !self.kind.needs_error_queue() {
                break;
            }
        }
        if !self.kind.needs_error_queue() {
            sys::set_option(self.fd(), level, option, 0).ok()?;
        }
        mtu
    }

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

fn is_too_big(result: &io::Result<()>) -> bool {
    let error = result.as_ref().err();
    error.and_then(io::Error::raw_os_error) == Some(libc::EMSGSIZE)
}

/// `struct sock_extended_err`: errno, origin, type, code, then what goes with EMSGSIZE.
fn told_mtu((level, kind, payload): (i32, i32, &[u8])) -> Option<u32> {
    let is_error = matches!(
        (level, kind),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    );
    let number = |at: usize| {
        Some(u32::from_ne_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    (is_error && number(0)? == libc::EMSGSIZE as u32)
        .then(|| number(8))
        .flatten()
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

/// The non-ESP marker (RFC 3948, 2.2).
pub const MARKER: [u8; 4] = [0; 4];

/// A message that no SA seals: IKE, by the socket for ESP in UDP. The port is the peer's; a mark of
/// 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
    pub mark: u32,
}

/// Peer, our own address, output mark, DSCP with ECN, and segment size, for one send.
fn target_of(sa: &Sa, outer: &Outer, segment: Option<u16>) -> Target {
    let config = &sa.config;
    let port = match config.encapsulation {
        Encapsulation::Esp => 0,
        Encapsulation::Udp {
            destination_port, ..
        } => destination_port,
    };
    let mark = config.output_mark;
    let mark = (mark.mask != 0).then_some(mark.value & mark.mask);
    target(outer, port, mark, segment)
}

fn target(outer: &Outer, port: u16, mark: Option<u32>, segment: Option<u16>) -> Target {
    let mut name = [0; NAME];
    name[2..4].copy_from_slice(&port.to_be_bytes());
    let mut control = Control::new();
    let name_length = match outer.destination {
        IpAddr::V4(address) => {
            name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name[4..8].copy_from_slice(&address.octets());
            16
        }
        IpAddr::V6(address) => {
            name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name[8..24].copy_from_slice(&address.octets());
            28
        }
    };
    match outer.source {
        IpAddr::V4(address) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&address.octets());
            control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            control.push(
                libc::IPPROTO_IP,
                libc::IP_TOS,
                &i32::from(outer.tos).to_ne_bytes(),
            );
        }
        IpAddr::V6(address) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&address.octets());
            control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            control.push(
                libc::IPPROTO_IPV6,
                libc::IPV6_TCLASS,
                &i32::from(outer.tos).to_ne_bytes(),
            );
        }
    }
    if let Some(hop_limit) = outer.hop_limit {
        let (level, kind) = if outer.destination.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_TTL)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
        };
        control.push(level, kind, &i32::from(hop_limit).to_ne_bytes());
    }
    if let Some(mark) = mark {
        control.push(libc::SOL_SOCKET, libc::SO_MARK, &mark.to_ne_bytes());
    }
    if let Some(segment) = segment {
        control.push(libc::IPPROTO_UDP, UDP_SEGMENT, &segment.to_ne_bytes());
    }
    Target {
        name,
        name_length,
        control,
    }
}
