//! ESP in user space behind XFRM netlink messages.
//!
//! ```text
//! control   UNIX socket ─ netlink ─ control ─ sad, spd ─ tables (an immutable snapshot, published)
//! outbound  device (TUN) ─ offload (segments) ─ tables: policy, SA ─ esp seal ─ underlay
//! inbound   underlay ─ tables: SA ─ replay ─ esp open ─ replay ─ policy ─ offload (GRO) ─ device
//! ```
//!
//! The control thread is the only writer of the SAD and the SPD. Workers hold a snapshot and ask
//! once per batch whether a newer one is there, so no packet takes a lock.

pub mod bundle;
pub mod checksum;
pub mod control;
pub mod crypto;
pub mod datapath;
pub mod decapsulation;
pub mod device;
pub mod drop_ring;
pub mod ecn;
pub mod esp;
pub mod events;
pub mod external_map;
pub mod flow_cache;
pub mod fragment;
pub mod grace;
pub mod held;
pub mod icmp;
pub mod ike_way;
pub mod inbound;
pub mod ip;
pub mod lifetime;
pub mod losses;
pub mod modes;
pub mod netlink;
pub mod offload;
pub mod opening;
pub mod outbound;
pub mod path_mtu;
#[cfg(test)]
mod path_tests;
pub mod policy;
pub mod policy_chain;
pub mod policy_check;
pub mod policy_index;
pub mod published;
pub mod reassembly;
pub mod received;
pub mod replay;
pub mod sa;
pub mod sad;
pub mod sealing;
pub mod sparse;
pub mod spd;
pub mod staging;
pub mod stats;
pub mod sys;
pub mod tables;
pub mod underlay;
pub mod worker;
