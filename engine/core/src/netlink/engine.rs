//! The engine's own messages and attributes (docs/engine-protocol.md).

pub const NEWDEV: u16 = 0x80;
pub const DELDEV: u16 = 0x81;
pub const GETDEV: u16 = 0x82;
pub const NEWSOCK: u16 = 0x83;
pub const DELSOCK: u16 = 0x84;
pub const GETSOCK: u16 = 0x85;
pub const GETSTAT: u16 = 0x86;
pub const NEWSTAT: u16 = 0x87;
pub const JOIN: u16 = 0x88;
pub const GETINFO: u16 = 0x89;
pub const NEWINFO: u16 = 0x8a;
pub const SHUTDOWN: u16 = 0x8b;

pub const IFNAME: u16 = 1;
pub const IF_ID: u16 = 2;
pub const IFINDEX: u16 = 3;
pub const MTU: u16 = 4;
pub const ATTACHED: u16 = 5;
pub const STATS64: u16 = 6;
pub const SOCK_KIND: u16 = 7;
pub const STAT: u16 = 8;
pub const GROUPS: u16 = 9;
pub const VERSION: u16 = 10;
pub const PID: u16 = 11;
pub const CRYPTO: u16 = 12;
pub const BOOT_ID: u16 = 13;
pub const SOCK_ERRORS: u16 = 14;
