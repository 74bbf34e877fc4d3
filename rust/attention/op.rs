//! What an op is to the kernels: its scores, values and gradients, and the numbers of its operands.

use crate::attention::block::Block;
use crate::simd::{Element, Float, Packed, Register, Vector};
use crate::tensor::definition::{Output, Setting, Value};

/// An op: how scores and values come from its inputs, and the inputs' gradients from theirs.
///
/// Scores are in base 2: the logarithm's factor log₂ e is in them.
/// All methods work on the `n` elements from `i` on of one row (`FULL`: `n` is a register's width).
#[allow(clippy::missing_safety_doc)]
pub trait Op: Copy + Send + Sync {
    type T: Packed;
    /// The inputs along one row, and where the gradients along one row go.
    type Inputs: Copy;
    type Gradients: Copy;
    /// The number of inputs; they are the first operands.
    const INPUTS: usize;

    unsafe fn inputs(&self, block: &Block, row: usize) -> Self::Inputs;
    unsafe fn gradients(&self, block: &Block, row: usize) -> Self::Gradients;
    unsafe fn score<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    unsafe fn value<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Ask for the cache lines of element `i`, of the inputs and of the gradients.
    fn prefetch(&self, inputs: &Self::Inputs, i: usize);
    fn prefetch_gradients(&self, gradients: &Self::Gradients, i: usize);
    /// What the output is added to, if anything.
    unsafe fn add_residual<V: Register<Self::T>, const FULL: bool>(
        &self,
        y: V,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Whether the gradients go where they usually do, which a kernel is compiled for.
    fn is_typical(&self, block: &Block) -> bool;
    /// Store the gradients; `grad` holds those of the output, the scores and the values.
    unsafe fn put_gradients<V: Register<Self::T>, const FULL: bool, const TYPICAL: bool>(
        &self,
        inputs: &Self::Inputs,
        gradients: &Self::Gradients,
        grad: Grads<V>,
        i: usize,
        n: usize,
    );
}

/// Gradients that have come down to one register: of the output, the scores and the values.
#[derive(Clone, Copy)]
pub struct Grads<V> {
    pub y: V,
    pub z: V,
    pub v: V,
    /// A slice that keeps nothing has gradients of exactly zero, whatever it is multiplied with.
    pub inverse: V,
}

impl<V: Vector> Grads<V> {
    #[inline(always)]
    pub fn of_kept(&self, gradient: V) -> V {
        zero_if_empty(gradient, self.inverse)
    }
}

/// Sums of exponentials, and their inverses, are above this where anything was kept.
pub const NOTHING: f64 = 1e-30;

/// Zero in the lanes of slices that keep nothing: of which 1/Σ is zero.
#[inline(always)]
pub fn zero_if_empty<V: Vector>(x: V, inverse: V) -> V {
    x.zero_where_less(inverse, V::splat(V::Scalar::from_f64(NOTHING)))
}

/// Operands behind an op's inputs.
pub const Y: usize = 8;
pub const WEIGHTS: usize = 9;
/// The maximum of each slice's scores, and 1/Σ 2^(score − maximum) (zero where nothing is kept).
pub const MAXIMUM: usize = 10;
pub const INVERSE: usize = 11;
/// The first of the gradients, in the order of the inputs. Y and WEIGHTS then hold the upstream ones.
pub const GRADIENTS: usize = 12;

/// The type that an op is computed in.
pub type Acc<O> = <<O as Op>::T as Element>::Acc;

/// What all ops of this family are set by, and what they give.
pub const SETTINGS: &[Setting] = &[
    Setting { name: "axes", schema: "int[]", default: Value::Ints(&[-1]) },
    Setting { name: "scale", schema: "float?", default: Value::None },
    Setting { name: "residual", schema: "bool", default: Value::Bool(false) },
];
pub const OUTPUTS: &[Output] = &[
    Output::differentiable("y", "grad_y"),
    Output::requested("weights", "grad_a", "return_weights"),
    Output::saved("statistics"),
];

/// The ops of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpName {
    ElementwiseAttention,
    ElementwiseSelfAttention,
}
