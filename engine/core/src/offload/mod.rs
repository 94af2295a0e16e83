//! What TUN offloads ask of us: large TCP segments are cut on the way out, and built on the way in.

pub mod coalesce;
pub mod segment;
pub mod vnet;
