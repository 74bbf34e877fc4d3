//! softmax(scale · q∘k [+ mask]) ∘ v

use crate::attention::block::Block;
use crate::attention::mask::Mask;
use crate::attention::op::{GRADIENTS, Grads, OUTPUTS, Op, SETTINGS};
use crate::attention::row::{GradSink, SinkKind, Source};
use crate::definition::{Definition, Input};
use crate::simd::{Element, Packed, Register};

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
pub struct AttentionInputs<T> {
    q: Source<T>,
    k: Source<T>,
    v: Source<T>,
    mask: Mask<T>,
}

#[derive(Clone, Copy)]
pub struct AttentionSinks {
    q: GradSink,
    k: GradSink,
    v: GradSink,
    mask: GradSink,
}

impl<T: Packed, const MASKED: bool> Op for ElementwiseAttention<T, MASKED> {
    type T = T;
    type Inputs = AttentionInputs<T>;
    type GradSinks = AttentionSinks;

    #[inline(always)]
    fn inputs(&self, block: &Block, row: usize) -> AttentionInputs<T> {
        AttentionInputs {
            q: block.source(Q, row),
            k: block.source(K, row),
            v: block.source(V, row),
            mask: Mask::new(block, MASK, row, self.boolean),
        }
    }

    #[inline(always)]
    fn grad_sinks(&self, block: &Block, row: usize) -> AttentionSinks {
        let [q, k, v, mask] = [Q, K, V, MASK].map(|j| block.sink(GRADIENTS + j, row));
        AttentionSinks { q, k, v, mask }
    }

    #[inline(always)]
    unsafe fn score<R: Register<T>, const FULL: bool>(
        &self,
        inputs: &AttentionInputs<T>,
        i: usize,
        n: usize,
    ) -> R {
        // SAFETY: the caller's.
        unsafe {
            let scaled = inputs.q.load::<R, FULL>(i, n).mul(R::splat(self.scale_base_2));
            let score = scaled.mul(inputs.k.load::<R, FULL>(i, n));
            if MASKED { inputs.mask.apply::<R, FULL>(score, i, n) } else { score }
        }
    }

    #[inline(always)]
    unsafe fn value<R: Register<T>, const FULL: bool>(
        &self,
        inputs: &AttentionInputs<T>,
        i: usize,
        n: usize,
    ) -> R {
        // SAFETY: the caller's.
        unsafe { inputs.v.load::<R, FULL>(i, n) }
    }

    #[inline(always)]
    fn prefetch(&self, inputs: &AttentionInputs<T>, i: usize) {
        inputs.q.prefetch(i);
        inputs.k.prefetch(i);
        inputs.v.prefetch(i);
    }

    #[inline(always)]
    fn prefetch_gradients(&self, sinks: &AttentionSinks, i: usize) {
        let AttentionSinks { q, k, v, .. } = sinks;
        [q, k, v].iter().for_each(|sink| sink.prefetch::<T>(i));
    }

    #[inline(always)]
    unsafe fn add_residual<R: Register<T>, const FULL: bool>(
        &self,
        y: R,
        _: &AttentionInputs<T>,
        _: usize,
        _: usize,
    ) -> R {
        y
    }

    fn is_typical(&self, block: &Block) -> bool {
        !MASKED && (0..3).all(|j| block.is_sink(GRADIENTS + j, SinkKind::Stores))
    }

    #[inline(always)]
    unsafe fn put_gradients<R: Register<T>, const FULL: bool, const TYPICAL: bool>(
        &self,
        inputs: &AttentionInputs<T>,
        sinks: &AttentionSinks,
        grads: Grads<R>,
        i: usize,
        n: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let kind = if TYPICAL { SinkKind::Stores } else { SinkKind::Unknown };
            let scaled = grads.z.mul(R::splat(self.scale));
            let q = scaled.mul(inputs.k.load::<R, FULL>(i, n));
            let k = scaled.mul(inputs.q.load::<R, FULL>(i, n));
            sinks.q.put::<T, R, FULL>(grads.of_kept(q), i, n, kind);
            sinks.k.put::<T, R, FULL>(grads.of_kept(k), i, n, kind);
            sinks.v.put::<T, R, FULL>(grads.of_kept(grads.v), i, n, kind);
            if MASKED {
                sinks.mask.put::<T, R, FULL>(grads.of_kept(grads.z), i, n, SinkKind::Unknown);
            }
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
