//! Softmax needs no maximum as long as nothing overflows. So the exponentials are first computed of the
//! scores as they are, in the same pass as the scores; only where a slice's maximum then turns out not
//! to fit are they computed again, shifted by it.

use crate::attention::kernel::stats::shift;
use crate::attention::op::NOTHING;
use crate::simd::{Float, Vector};

/// Maxima of which exponentials of the scores as they are neither overflow, up to 2⁶⁰, nor lose more than
/// the weights below 2⁻¹²² by underflow.
pub const LOW: f64 = -4.0;
pub const HIGH: f64 = 60.0;

/// Whether the greatest of some maxima is among them. False where one is NaN or infinite.
#[inline(always)]
pub fn fits<V: Vector>(maxima: V) -> bool {
    let [low, high] = [LOW, HIGH].map(V::Scalar::from_f64);
    !maxima.any_greater(V::splat(high)) && maxima.any_greater(V::splat(low))
}

/// Whether each of the first `n` is.
#[inline(always)]
pub fn all_fit<V: Vector>(maxima: V, n: usize) -> bool {
    let [low, high] = [LOW, HIGH].map(V::Scalar::from_f64);
    !maxima.any_greater(V::splat(high)) && maxima.count_greater(V::splat(low), n) == n
}

/// What the scores of a column are shifted by: nothing if they fit, whatever its neighbours are.
#[inline(always)]
pub fn shift_unless_fitting<A: Float>(maximum: A) -> A {
    let [low, high] = [LOW, HIGH].map(A::from_f64);
    if maximum > low && maximum <= high { A::ZERO } else { shift(maximum) }
}

/// The inverses of sums of exponentials: zero where nothing was kept.
#[inline(always)]
pub fn inverses<V: Vector>(sums: V) -> V {
    V::splat(V::Scalar::ONE).div(sums).zero_where_less(sums, V::splat(V::Scalar::from_f64(NOTHING)))
}
