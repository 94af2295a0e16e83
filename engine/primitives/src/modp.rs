//! Exponentiation for Diffie-Hellman over finite fields (RFC 7296, RFC 6989), by AWS-LC.
//!
//! The time depends on the lengths of modulus and exponent, not on the exponent's bits: AWS-LC goes
//! through all of its octets, leading zeros too, and reads its tables of powers whole.

use aws_lc_sys as aws;
use zeroize::Zeroizing;

use crate::aws_lc::{succeeded, Owned};

/// Octets of the largest group (RFC 3526, 7), and so of any number here.
const MAX_SIZE: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The modulus is even, of another size than a group can have, or has leading zeros.
    Modulus,
    /// No exponent, or one longer than the modulus.
    Exponent,
    /// The base has another length than the modulus, or is 0, 1, p - 1 or beyond (RFC 6989, 2.1).
    Base,
    /// Out of memory.
    Library,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(match self {
            Error::Modulus => "the modulus is no odd number of 64 to 1024 octets",
            Error::Exponent => "the exponent is empty or longer than the modulus",
            Error::Base => {
                "the value is not between 1 and the modulus less 1, or of another length"
            }
            Error::Library => "the exponentiation failed",
        })
    }
}

/// `base` to the power of `exponent`, modulo `modulus`; all big-endian, the result of its length.
pub fn power(modulus: &[u8], base: &[u8], exponent: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return Err(Error::Modulus);
    };
    if !(64..=MAX_SIZE).contains(&modulus.len()) || *first == 0 || last & 1 == 0 {
        return Err(Error::Modulus);
    }
    if exponent.is_empty() || exponent.len() > modulus.len() {
        return Err(Error::Exponent);
    }
    if !is_acceptable(modulus, base) {
        return Err(Error::Base);
    }
    exponentiate(modulus, base, exponent).ok_or(Error::Library)
}

/// Whether 1 < value < modulus - 1, where the modulus is odd. Values of peers are public.
fn is_acceptable(modulus: &[u8], value: &[u8]) -> bool {
    let mut less_one = modulus.to_vec();
    if let Some(last) = less_one.last_mut() {
        *last &= !1;
    }
    let Some((last, rest)) = value.split_last() else {
        return false;
    };
    let above_one = *last > 1 || rest.iter().any(|octet| *octet != 0);
    // Big-endian numbers of one length compare as their octets do.
    value.len() == modulus.len() && above_one && value < less_one.as_slice()
}

fn exponentiate(modulus: &[u8], base: &[u8], exponent: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let modulus_number = number(modulus)?;
    let base_number = number(base)?;
    let exponent_number = number(exponent)?;
    // SAFETY: each object is valid until the end of this function, where its owner frees it; all
    // numbers are distinct, and `out` has room for the length that is said.
    unsafe {
        let context = Owned::new(aws::BN_CTX_new(), aws::BN_CTX_free)?;
        let montgomery = Owned::new(
            aws::BN_MONT_CTX_new_for_modulus(modulus_number.get(), context.get()),
            aws::BN_MONT_CTX_free,
        )?;
        let result = Owned::new(aws::BN_new(), aws::BN_clear_free)?;
        succeeded(aws::BN_mod_exp_mont_consttime(
            result.get(),
            base_number.get(),
            exponent_number.get(),
            modulus_number.get(),
            context.get(),
            montgomery.get(),
        ))?;
        let mut out = Zeroizing::new(vec![0; modulus.len()]);
        succeeded(aws::BN_bn2bin_padded(
            out.as_mut_ptr(),
            out.len(),
            result.get(),
        ))?;
        Some(out)
    }
}

fn number(octets: &[u8]) -> Option<Owned<aws::BIGNUM>> {
    // SAFETY: the length is that of the octets, and a new number is made of them.
    unsafe {
        let new = aws::BN_bin2bn(octets.as_ptr(), octets.len(), std::ptr::null_mut());
        Owned::new(new, aws::BN_clear_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64;

    /// 2^512 - 569, the largest prime of its size.
    fn prime() -> Vec<u8> {
        let mut prime = vec![0xff; SIZE];
        prime[SIZE - 2] = 0xfd;
        prime[SIZE - 1] = 0xc7;
        prime
    }

    fn small(value: u8) -> Vec<u8> {
        let mut octets = vec![0; SIZE];
        octets[SIZE - 1] = value;
        octets
    }

    #[test]
    fn small_powers() {
        for exponent in [&[5][..], &[0, 5], &[0; 0]] {
            let expected = if exponent.is_empty() {
                Err(Error::Exponent)
            } else {
                Ok(Zeroizing::new(small(243)))
            };
            assert_eq!(power(&prime(), &small(3), exponent), expected);
        }
    }

    #[test]
    fn fermat() {
        let mut exponent = prime();
        exponent[SIZE - 1] -= 1;
        assert_eq!(*power(&prime(), &small(3), &exponent).unwrap(), small(1));
    }

    #[test]
    fn values_of_peers_are_checked() {
        let minus = |less| {
            let mut value = prime();
            value[SIZE - 1] -= less;
            value
        };
        for value in [small(0), small(1), minus(1), minus(0), vec![0xff; SIZE]] {
            assert_eq!(power(&prime(), &value, &[3]), Err(Error::Base));
        }
        for value in [vec![], vec![2], [vec![0], small(2)].concat()] {
            assert_eq!(power(&prime(), &value, &[3]), Err(Error::Base));
        }
        assert!(power(&prime(), &minus(2), &[3]).is_ok());
        assert!(power(&prime(), &small(2), &[3]).is_ok());
    }

    #[test]
    fn moduli_are_checked() {
        let mut even = prime();
        even[SIZE - 1] &= 0xfe;
        for modulus in [vec![], vec![7], even, small(7), vec![0xff; MAX_SIZE + 1]] {
            assert_eq!(power(&modulus, &small(3), &[3]), Err(Error::Modulus));
        }
    }
}
