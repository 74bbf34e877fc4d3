//! Shapes and strides: a list with one value an axis.

use std::ops::{Deref, DerefMut};

/// So many axes lie in place: more than a batch of images has none but rare arrays.
const FEW: usize = 4;

/// As a `Vec`, without memory of its own for a few axes: a call on small arrays would spend a good part of
/// its time allocating that, and copies of these are plain copies.
#[derive(Clone, Debug)]
pub enum Dims<T> {
    Few { len: usize, values: [T; FEW] },
    Many(Vec<T>),
}

impl<T: Copy + Default> Dims<T> {
    pub fn new() -> Self {
        Dims::Few { len: 0, values: [T::default(); FEW] }
    }

    /// `len` times the default.
    pub fn of_default(len: usize) -> Self {
        if len <= FEW {
            Dims::Few { len, values: [T::default(); FEW] }
        } else {
            Dims::Many(vec![T::default(); len])
        }
    }
}

impl<T: Copy + Default> Default for Dims<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Dims<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Dims::Few { len, values } => &values[..*len],
            Dims::Many(values) => values,
        }
    }
}

impl<T> DerefMut for Dims<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Dims::Few { len, values } => &mut values[..*len],
            Dims::Many(values) => values,
        }
    }
}

impl<T: Copy + Default> From<&[T]> for Dims<T> {
    fn from(list: &[T]) -> Self {
        list.iter().copied().collect()
    }
}

impl<T: Copy + Default> FromIterator<T> for Dims<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iterator: I) -> Self {
        let mut iterator = iterator.into_iter();
        let mut values = [T::default(); FEW];
        for len in 0..FEW {
            match iterator.next() {
                Some(value) => values[len] = value,
                None => return Dims::Few { len, values },
            }
        }
        match iterator.next() {
            None => Dims::Few { len: FEW, values },
            Some(next) => Dims::Many(values.into_iter().chain([next]).chain(iterator).collect()),
        }
    }
}

impl<'a, T> IntoIterator for &'a Dims<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Dims<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_holds_what_it_was_given() {
        for len in 0..2 * FEW {
            let list: Vec<usize> = (10..10 + len).collect();
            let (mut dims, other): (Dims<_>, Dims<_>) = (list[..].into(), list[..].into());
            assert_eq!((&dims[..], dims.clone() == other), (&list[..], true));
            dims.iter_mut().for_each(|value| *value = 0);
            assert_eq!(dims, Dims::of_default(len));
        }
    }
}
