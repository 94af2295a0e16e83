//! Values that are nearly always one of a few, in two words instead of their whole size.

use std::ops::Deref;

/// What a value usually is.
pub trait Usual: PartialEq + Sized + 'static {
    const USUAL: &'static [Self];
}

/// A value that takes memory of its own only where it is unusual.
#[derive(Clone, Debug)]
pub enum Sparse<T: 'static> {
    Usual(&'static T),
    Own(Box<T>),
}

impl<T: Usual> From<T> for Sparse<T> {
    fn from(value: T) -> Self {
        match T::USUAL.iter().find(|usual| **usual == value) {
            Some(usual) => Sparse::Usual(usual),
            None => Sparse::Own(Box::new(value)),
        }
    }
}

impl<T> Deref for Sparse<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Sparse::Usual(usual) => usual,
            Sparse::Own(own) => own,
        }
    }
}

impl<T: PartialEq> PartialEq for Sparse<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
