//! The invariant stands in the first line of `src/invariants/inbound.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    |octets: &[u8]| plutino_engine_fuzz::invariants::inbound::check(octets)
);
