//! The invariant stands in the first line of `src/invariants/outbound.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    |octets: &[u8]| plutino_engine_fuzz::invariants::outbound::check(octets)
);
