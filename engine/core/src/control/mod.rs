//! The control side: requests of `linux/xfrm.h` and our own, one thread, one writer.

pub mod acquire;
pub mod aevents;
pub mod allocate_spi;
pub mod client;
pub mod defaults;
pub mod device_requests;
pub mod dump;
pub mod expiry;
mod external_requests;
pub mod ike;
pub mod keepalive;
pub mod mapping;
pub mod migrate;
pub mod migrate_state;
pub mod policy_encode;
pub mod policy_parse;
pub mod policy_requests;
pub mod sa_encode;
pub mod sa_parse;
pub mod sa_requests;
pub mod sa_verify;
pub mod server;
pub mod spd_info;
pub mod state;
pub mod unix;
