//! Netlink messages as the kernel frames them, and those of XFRM and of the engine itself.

pub mod attributes;
pub mod engine;
pub mod wire;
pub mod xfrm;
