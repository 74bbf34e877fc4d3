//! Running error analysis: numbers that carry a bound on what rounding in f32 may have done to them.
//!
//! Every operation adds the unit roundoff times its result to the errors that come in (Wilkinson's
//! analysis, a priori in nothing). Errors are in f32's roundoff; those of f64 are smaller by the ratio.

use ewa_rs::tensor::dtype::DType;
use std::ops::{Add, Mul, Sub};

/// Unit roundoff of f32.
pub const U: f64 = f32::EPSILON as f64 / 2.0;
/// Additions that a term of a kernel's sum goes through that are not compensated for: 8 of a part, 8 of
/// the parts, at most 4 of the lanes (in a tree) or 15 (one after the other), and the last.
pub const SUMMATION: usize = 32;
/// Additions of a gradient of a broadcast operand that are not compensated for: 32 of a part, or 24 of a
/// part of a row and one for each of its halvings.
pub const GRADIENT_SUMMATION: usize = 48;
/// Kernels' 2ˣ is zero for smaller results; their scores may be shifted by as much as 2⁴.
const UNDERFLOW: f64 = 1.0 / (1u128 << 121) as f64;

#[derive(Clone, Copy, Debug, Default)]
pub struct Bounded {
    pub value: f64,
    pub error: f64,
}

impl Bounded {
    pub fn exact(value: f64) -> Self {
        Bounded { value, error: 0.0 }
    }

    /// Off by some roundings.
    pub fn rounded(value: f64, roundings: f64) -> Self {
        Bounded { value, error: roundings * U * value.abs() }
    }

    fn after_rounding(value: f64, error: f64) -> Self {
        Bounded { value, error: error + U * (value.abs() + error) }
    }

    /// Kernels' is within two units in the last place, four roundoffs.
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        Bounded { value, error: value * (self.error.exp_m1() + 4.0 * U) + UNDERFLOW }
    }

    pub fn inverse(self) -> Self {
        let value = 1.0 / self.value;
        Self::after_rounding(value, self.error * value / (self.value - self.error).max(0.0))
    }

    /// How far a result of this type may lie from `value`.
    pub fn tolerance(self, dtype: DType) -> f64 {
        let stored = |unit: f64, subnormal: f64| {
            self.error + unit * (self.value.abs() + self.error) + subnormal
        };
        match dtype {
            // Beyond the largest float16 lies infinity.
            DType::F16 if self.value.abs() + self.error > 65_504.0 => f64::INFINITY,
            DType::F16 => stored(2f64.powi(-11), 2f64.powi(-25)),
            DType::BF16 => stored(2f64.powi(-8), 2f64.powi(-134)),
            // The value itself was computed in f64: twice the error of one.
            DType::F64 => 2.0 * self.error * (f64::EPSILON / f64::from(f32::EPSILON)),
            _ => self.error,
        }
    }
}

impl Add for Bounded {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::after_rounding(self.value + other.value, self.error + other.error)
    }
}

impl Sub for Bounded {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::after_rounding(self.value - other.value, self.error + other.error)
    }
}

impl Mul for Bounded {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let crossed = self.value.abs() * other.error + other.value.abs() * self.error;
        Self::after_rounding(self.value * other.value, crossed + self.error * other.error)
    }
}

/// A sum in any order.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
    magnitude: f64,
    error: f64,
    count: usize,
}

impl Sum {
    pub fn add(&mut self, x: Bounded) {
        // In f64 with compensation, so that the value is good for f64's bound.
        let sum = self.sum + x.value;
        let added = sum - self.sum;
        self.lost += (self.sum - (sum - added)) + (x.value - added);
        self.sum = sum;
        self.magnitude += x.value.abs() + x.error;
        self.error += x.error;
        self.count += 1;
    }

    fn after(self, additions: usize) -> Bounded {
        let value = self.sum + self.lost;
        Bounded { value, error: self.error + additions as f64 * U * self.magnitude }
    }

    /// Over a slice, where kernels compensate for what rounding takes.
    pub fn of_slice(self) -> Bounded {
        self.after(self.count.min(SUMMATION))
    }

    /// Over what an operand was broadcast along.
    pub fn of_gradients(self) -> Bounded {
        self.after(self.count.min(GRADIENT_SUMMATION))
    }
}
