//! softmax(scale · q∘k [+ mask]) ∘ v

use crate::attention::block::{Block, GradSink, Known, Source};
use crate::attention::mask::Mask;
use crate::attention::op::{GRADIENTS, Grads, OUTPUTS, Op, SETTINGS};
use crate::simd::{Element, Packed, Register};
use crate::tensor::definition::{Definition, Input};

pub const Q: usize = 0;
pub const K: usize = 1;
pub const V: usize = 2;
pub const MASK: usize = 3;

/// `MASKED`: whether there is a mask.
#[derive(Clone, Copy)]
pub struct ElementwiseAttention<T: Element, const MASKED: bool> {
    pub scale: T::Acc,
    /// scale · log₂ e: scores are in base 2.
    pub scale_base_2: T::Acc,
    /// Whether the mask is boolean rather than additive.
    pub boolean: bool,
}

#[derive(Clone, Copy)]
pub struct Inputs<T> {
    q: Source<T>,
    k: Source<T>,
    v: Source<T>,
    mask: Mask<T>,
}

#[derive(Clone, Copy)]
pub struct Gradients {
    q: GradSink,
    k: GradSink,
    v: GradSink,
    mask: GradSink,
}

impl<T: Packed, const MASKED: bool> Op for ElementwiseAttention<T, MASKED> {
    type T = T;
    type Inputs = Inputs<T>;
    type Gradients = Gradients;
    const INPUTS: usize = 4;

    #[inline(always)]
    unsafe fn inputs(&self, block: &Block, row: usize) -> Inputs<T> {
        Inputs {
            q: block.source(Q, row),
            k: block.source(K, row),
            v: block.source(V, row),
            mask: Mask::new(block, MASK, row, self.boolean),
        }
    }

    #[inline(always)]
    unsafe fn gradients(&self, block: &Block, row: usize) -> Gradients {
        let [q, k, v, mask] = [Q, K, V, MASK].map(|j| block.sink(GRADIENTS + j, row));
        Gradients { q, k, v, mask }
    }

    #[inline(always)]
    unsafe fn score<R: Register<T>, const FULL: bool>(
        &self,
        inputs: &Inputs<T>,
        i: usize,
        n: usize,
    ) -> R {
        let scaled = inputs.q.load::<R, FULL>(i, n).mul(R::splat(self.scale_base_2));
        let score = scaled.mul(inputs.k.load::<R, FULL>(i, n));
        if MASKED { inputs.mask.apply::<R, FULL>(score, i, n) } else { score }
    }

    #[inline(always)]
    unsafe fn value<R: Register<T>, const FULL: bool>(
        &self,
        inputs: &Inputs<T>,
        i: usize,
        n: usize,
    ) -> R {
        inputs.v.load::<R, FULL>(i, n)
    }

    #[inline(always)]
    fn prefetch(&self, inputs: &Inputs<T>, i: usize) {
        inputs.q.prefetch(i);
        inputs.k.prefetch(i);
        inputs.v.prefetch(i);
    }

    #[inline(always)]
    fn prefetch_gradients(&self, gradients: &Gradients, i: usize) {
        let Gradients { q, k, v, .. } = gradients;
        [q, k, v].iter().for_each(|sink| sink.prefetch::<T>(i));
    }

    #[inline(always)]
    unsafe fn add_residual<R: Register<T>, const FULL: bool>(
        &self,
        y: R,
        _: &Inputs<T>,
        _: usize,
        _: usize,
    ) -> R {
        y
    }

    fn is_typical(&self, block: &Block) -> bool {
        !MASKED && (0..3).all(|j| block.is_known(GRADIENTS + j, Known::Stores))
    }

    #[inline(always)]
    unsafe fn put_gradients<R: Register<T>, const FULL: bool, const TYPICAL: bool>(
        &self,
        inputs: &Inputs<T>,
        gradients: &Gradients,
        grad: Grads<R>,
        i: usize,
        n: usize,
    ) {
        let known = if TYPICAL { Known::Stores } else { Known::Nothing };
        let scaled = grad.z.mul(R::splat(self.scale));
        let q = scaled.mul(inputs.k.load::<R, FULL>(i, n));
        let k = scaled.mul(inputs.q.load::<R, FULL>(i, n));
        gradients.q.put::<T, R, FULL>(grad.of_kept(q), i, n, known);
        gradients.k.put::<T, R, FULL>(grad.of_kept(k), i, n, known);
        gradients.v.put::<T, R, FULL>(grad.of_kept(grad.v), i, n, known);
        if MASKED {
            gradients.mask.put::<T, R, FULL>(grad.of_kept(grad.z), i, n, Known::Nothing);
        }
    }
}

pub static DEFINITION: Definition = Definition {
    name: "elementwise_attention",
    inputs: &[
        Input::required("q"),
        Input::required("k"),
        Input::required("v"),
        Input::mask("mask"),
    ],
    settings: SETTINGS,
    outputs: OUTPUTS,
    eager: true,
};
