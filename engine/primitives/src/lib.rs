//! Cryptographic primitives of IKEv2 that no Python library has, or will keep, in constant time.
//!
//! They know no Python and keep no state. AES-XCBC is beside ESP's algorithms, in `engine/core`.

mod aws_lc;
pub mod mlkem;
pub mod modp;
#[cfg(test)]
mod vectors;
