//! Packets out of a socket: rows of equal ones in one call, with DF or without.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::Socket;
use crate::outbound::{Datagram, Outer};
use crate::sa::{Encapsulation, Sa};
use crate::sys::{self, Control, Target, NAME};

const UDP_SEGMENT: i32 = 103;

/// Packets that did not leave, and why.
#[derive(Debug)]
pub struct Unsent {
    pub error: io::Error,
    pub lost: u64,
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

impl Socket {
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

    /// On an error gives the octets that went before it.
    fn send_row(&self, row: &Datagram, octets: &[u8]) -> Result<(), (io::Error, usize)> {
        if !self.kind.is_udp() || row.length <= row.segment {
            return self.send_each(row, octets);
        }
        let target = target_of(&row.sa, &row.outer, Some(row.segment as u16));
        match sys::send(self.fd(), &target, octets) {
            // Longer than the path, or the way out takes no segments (EIO: before Linux 6.11 where the
            // device makes no checksums): sent one by one, each meets its own fate.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO)
                ) =>
            {
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
}

/// Peer, our own address, output mark, DSCP with ECN, and segment size, for one send.
pub(super) fn target_of(sa: &Sa, outer: &Outer, segment: Option<u16>) -> Target {
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
