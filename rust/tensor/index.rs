//! From the number of an element to where it lies.

/// The index along each axis of the `number`-th element, in the order of `sizes`: fastest axis first.
#[inline]
pub fn unravel(
    mut number: usize,
    sizes: impl Iterator<Item = usize>,
) -> impl Iterator<Item = isize> {
    sizes.map(move |size| {
        let i = number % size;
        number /= size;
        i as isize
    })
}

/// The offset of the `number`-th element of some axes (size and stride), the last axis fastest.
#[inline]
pub fn offset(
    number: usize,
    axes: impl DoubleEndedIterator<Item = (usize, isize)> + Clone,
) -> isize {
    let sizes = axes.clone().rev().map(|(size, _)| size);
    unravel(number, sizes).zip(axes.rev()).map(|(i, (_, stride))| i * stride).sum()
}
