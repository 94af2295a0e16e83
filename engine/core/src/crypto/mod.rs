//! AEAD for ESP, by the fastest library that the machine has.
