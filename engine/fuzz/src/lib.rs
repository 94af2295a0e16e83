//! What must hold for every input, for libFuzzer here and for the seeded generator of
//! `core/tests/hostile_packets.rs`.

pub mod invariants;
