//! The control side: requests of `linux/xfrm.h` and our own, one thread, one writer.

pub mod device_requests;
pub mod policy_requests;
pub mod sa_requests;
pub mod server;
pub mod state;
pub mod unix;
