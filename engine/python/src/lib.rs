//! `plutino._native`: what IKEv2 needs in constant time, and no Python library has or will keep.
//!
//! Only conversions are here: it turns arguments and errors, and lets go of the interpreter's
//! lock while a primitive works. Nothing here panics: bad input is a `ValueError`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use plutino_engine_core::crypto::xcbc::Xcbc;
use plutino_primitives::{mlkem, modp};

type Octets<'py> = Bound<'py, PyBytes>;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{aes_xcbc, mlkem_decapsulate, mlkem_encapsulate, mlkem_key, modp_power};
}

/// `base` to the power of `exponent` modulo `modulus`, in constant time in the exponent.
#[pyfunction]
#[pyo3(signature = (modulus, base, exponent, /))]
fn modp_power<'py>(
    py: Python<'py>,
    modulus: &[u8],
    base: &[u8],
    exponent: &[u8],
) -> PyResult<Octets<'py>> {
    let result = py
        .detach(|| modp::power(modulus, base, exponent))
        .map_err(refuse)?;
    Ok(PyBytes::new(py, &result))
}

/// The encapsulation key of a seed.
#[pyfunction]
#[pyo3(signature = (parameter_set, seed, /))]
fn mlkem_key<'py>(py: Python<'py>, parameter_set: u16, seed: &[u8]) -> PyResult<Octets<'py>> {
    let set = mlkem::ParameterSet::of(parameter_set).map_err(refuse)?;
    let key = py.detach(|| set.encapsulation_key(seed)).map_err(refuse)?;
    Ok(PyBytes::new(py, &key))
}

/// Ciphertext and secret.
#[pyfunction]
#[pyo3(signature = (parameter_set, encapsulation_key, seed, /))]
fn mlkem_encapsulate<'py>(
    py: Python<'py>,
    parameter_set: u16,
    encapsulation_key: &[u8],
    seed: &[u8],
) -> PyResult<(Octets<'py>, Octets<'py>)> {
    let set = mlkem::ParameterSet::of(parameter_set).map_err(refuse)?;
    let (ciphertext, secret) = py
        .detach(|| set.encapsulate(encapsulation_key, seed))
        .map_err(refuse)?;
    Ok((PyBytes::new(py, &ciphertext), PyBytes::new(py, &secret)))
}

/// The secret of a ciphertext.
#[pyfunction]
#[pyo3(signature = (parameter_set, seed, ciphertext, /))]
fn mlkem_decapsulate<'py>(
    py: Python<'py>,
    parameter_set: u16,
    seed: &[u8],
    ciphertext: &[u8],
) -> PyResult<Octets<'py>> {
    let set = mlkem::ParameterSet::of(parameter_set).map_err(refuse)?;
    let secret = py
        .detach(|| set.decapsulate(seed, ciphertext))
        .map_err(refuse)?;
    Ok(PyBytes::new(py, &secret))
}

/// AES-XCBC-MAC, all 16 octets.
#[pyfunction]
#[pyo3(signature = (key, data, /))]
fn aes_xcbc<'py>(py: Python<'py>, key: &[u8], data: &[u8]) -> PyResult<Octets<'py>> {
    let mac = py.detach(|| Xcbc::new(key).map(|key| key.mac(&[data])));
    let mac = mac.ok_or_else(|| PyValueError::new_err("AES-XCBC takes a key of 16 octets"))?;
    Ok(PyBytes::new(py, &mac))
}

fn refuse(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}
