//! The control side: requests of `linux/xfrm.h` and our own, one thread, one writer.

pub mod client;
pub mod defaults;
pub mod device_requests;
pub mod migrate;
pub mod policy_encode;
pub mod policy_parse;
pub mod policy_requests;
pub mod sa_requests;
pub mod server;
pub mod spd_info;
pub mod state;
pub mod unix;
