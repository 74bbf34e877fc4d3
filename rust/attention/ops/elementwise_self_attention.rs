//! softmax(scale · q∘k [+ mask]) ∘ v with q = x∘w_q + b_q, k = x∘w_k + b_k, v = x∘w_v + b_v
//! [+ x]: x is read once, nothing of its size but the output is written.

use crate::attention::block::{Block, GradSink, Known, Source};
use crate::attention::mask::Mask;
use crate::attention::op::{GRADIENTS, Grads, OUTPUTS, Op, SETTINGS};
use crate::simd::{Element, Packed, Register};
use crate::tensor::definition::{Definition, Input};

pub const X: usize = 0;
/// w_q, w_k, w_v, then b_q, b_k, b_v.
pub const W: usize = 1;
pub const B: usize = 4;
pub const MASK: usize = 7;

/// `GENERAL`: whether there may be biases and a mask.
#[derive(Clone, Copy)]
pub struct ElementwiseSelfAttention<T: Element, const GENERAL: bool> {
    pub scale: T::Acc,
    /// scale · log₂ e: scores are in base 2.
    pub scale_base_2: T::Acc,
    /// Whether the mask is boolean rather than additive.
    pub boolean: bool,
    /// Whether x is added to the output.
    pub residual: bool,
}

#[derive(Clone, Copy)]
pub struct Inputs<T> {
    x: Source<T>,
    w: [Source<T>; 3],
    b: [Source<T>; 3],
    mask: Mask<T>,
}

#[derive(Clone, Copy)]
pub struct Gradients {
    x: GradSink,
    w: [GradSink; 3],
    b: [GradSink; 3],
    mask: GradSink,
}

impl<T: Element, const GENERAL: bool> ElementwiseSelfAttention<T, GENERAL> {
    /// x∘w + b of the query (0), key (1) or value (2).
    #[inline(always)]
    unsafe fn project<V: Register<T>, const FULL: bool>(
        &self,
        inputs: &Inputs<T>,
        which: usize,
        i: usize,
        n: usize,
    ) -> V {
        let x = inputs.x.load::<V, FULL>(i, n);
        let w = inputs.w[which].load::<V, FULL>(i, n);
        if GENERAL && !inputs.b[which].is_absent() {
            x.mul_add(w, inputs.b[which].load::<V, FULL>(i, n))
        } else {
            x.mul(w)
        }
    }
}

impl<T: Packed, const GENERAL: bool> Op for ElementwiseSelfAttention<T, GENERAL> {
    type T = T;
    type Inputs = Inputs<T>;
    type Gradients = Gradients;
    const INPUTS: usize = 8;

    #[inline(always)]
    unsafe fn inputs(&self, block: &Block, row: usize) -> Inputs<T> {
        Inputs {
            x: block.source(X, row),
            w: [block.source(W, row), block.source(W + 1, row), block.source(W + 2, row)],
            b: [block.source(B, row), block.source(B + 1, row), block.source(B + 2, row)],
            mask: Mask::new(block, MASK, row, self.boolean),
        }
    }

    #[inline(always)]
    unsafe fn gradients(&self, block: &Block, row: usize) -> Gradients {
        let sink = |j| block.sink(GRADIENTS + j, row);
        Gradients {
            x: sink(X),
            w: [sink(W), sink(W + 1), sink(W + 2)],
            b: [sink(B), sink(B + 1), sink(B + 2)],
            mask: sink(MASK),
        }
    }

    #[inline(always)]
    unsafe fn score<V: Register<T>, const FULL: bool>(
        &self,
        inputs: &Inputs<T>,
        i: usize,
        n: usize,
    ) -> V {
        let q = self.project::<V, FULL>(inputs, 0, i, n);
        let k = self.project::<V, FULL>(inputs, 1, i, n);
        let score = q.mul(V::splat(self.scale_base_2)).mul(k);
        if GENERAL && !inputs.mask.is_absent() {
            inputs.mask.apply::<V, FULL>(score, i, n)
        } else {
            score
        }
    }

    #[inline(always)]
    unsafe fn value<V: Register<T>, const FULL: bool>(
        &self,
        inputs: &Inputs<T>,
        i: usize,
        n: usize,
    ) -> V {
        self.project::<V, FULL>(inputs, 2, i, n)
    }

    #[inline(always)]
    fn prefetch(&self, inputs: &Inputs<T>, i: usize) {
        inputs.x.prefetch(i);
    }

    #[inline(always)]
    fn prefetch_gradients(&self, gradients: &Gradients, i: usize) {
        gradients.x.prefetch::<T>(i);
    }

    #[inline(always)]
    unsafe fn add_residual<V: Register<T>, const FULL: bool>(
        &self,
        y: V,
        inputs: &Inputs<T>,
        i: usize,
        n: usize,
    ) -> V {
        if self.residual { y.add(inputs.x.load::<V, FULL>(i, n)) } else { y }
    }

    fn is_typical(&self, block: &Block) -> bool {
        let accumulates = |j| block.is_known(GRADIENTS + j, Known::Accumulates);
        let biases = [B, B + 1, B + 2].map(accumulates);
        let biases_are_alike = if GENERAL { biases == [true; 3] } else { biases == [false; 3] };
        // The first layer of a network has no use for the gradient of x.
        let x_is_stored =
            block.is_absent(GRADIENTS + X) || block.is_known(GRADIENTS + X, Known::Stores);
        let has_mask = !block.is_absent(GRADIENTS + MASK);
        x_is_stored && (W..B).all(accumulates) && biases_are_alike && !has_mask
    }

    #[inline(always)]
    unsafe fn put_gradients<V: Register<T>, const FULL: bool, const TYPICAL: bool>(
        &self,
        inputs: &Inputs<T>,
        gradients: &Gradients,
        grad: Grads<V>,
        i: usize,
        n: usize,
    ) {
        let scaled = grad.z.mul(V::splat(self.scale));
        let of_q = scaled.mul(self.project::<V, FULL>(inputs, 1, i, n));
        let of_k = scaled.mul(self.project::<V, FULL>(inputs, 0, i, n));
        let x = inputs.x.load::<V, FULL>(i, n);
        let [w_q, w_k, w_v] = [0, 1, 2].map(|j| inputs.w[j]);
        let of_x = of_q.mul(w_q.load::<V, FULL>(i, n));
        let of_x = of_k.mul_add(w_k.load::<V, FULL>(i, n), of_x);
        let mut of_x = grad.of_kept(grad.v.mul_add(w_v.load::<V, FULL>(i, n), of_x));
        if self.residual {
            of_x = of_x.add(grad.y);
        }
        gradients.x.put::<T, V, FULL>(of_x, i, n, Known::Nothing);
        let sums = if TYPICAL { Known::Accumulates } else { Known::Nothing };
        let of_projections = [of_q, of_k, grad.v];
        for j in 0..3 {
            gradients.w[j].put::<T, V, FULL>(grad.of_kept(of_projections[j].mul(x)), i, n, sums);
            if GENERAL {
                gradients.b[j].put::<T, V, FULL>(grad.of_kept(of_projections[j]), i, n, sums);
            }
        }
        if GENERAL && !TYPICAL {
            gradients.mask.put::<T, V, FULL>(grad.of_kept(grad.z), i, n, Known::Nothing);
        }
    }
}

pub static DEFINITION: Definition = Definition {
    name: "elementwise_self_attention",
    inputs: &[
        Input::required("x"),
        Input::required("w_q"),
        Input::required("w_k"),
        Input::required("w_v"),
        Input::optional("b_q"),
        Input::optional("b_k"),
        Input::optional("b_v"),
        Input::mask("mask"),
    ],
    settings: SETTINGS,
    outputs: OUTPUTS,
    eager: true,
};
