//! The anti-replay window (RFC 4303, 3.4.3 and appendix A; method of RFC 6479).
