//! The invariant stands in the first line of `src/invariants/segments.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    |octets: &[u8]| plutino_engine_fuzz::invariants::segments::check(octets)
);
