//! One file for each parser and each direction of packets; `check` panics where it is broken.

pub mod esp;
pub mod inbound;
pub mod ip;
pub mod netlink;
pub mod outbound;
pub mod peers;
pub mod replay;
pub mod requests;
pub mod segments;
