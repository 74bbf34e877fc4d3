//! From what is known at run time (element type, mask, biases) to the kernel compiled for it.

use crate::attend::{self, Call};
use crate::numerics::{Element, Float};
use crate::ops::elementwise_attention::{self, ElementwiseAttention};
use crate::ops::elementwise_self_attention::{self, ElementwiseSelfAttention};
use crate::plain::{self, Formula};
use crate::simd::Simd;
use half::{bf16, f16};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    F16,
    BF16,
    F32,
    F64,
    Bool,
}

impl DType {
    pub fn item(self) -> usize {
        match self {
            DType::Bool => 1,
            DType::F16 | DType::BF16 => 2,
            DType::F32 => 4,
            DType::F64 => 8,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::Bool => "bool",
        }
    }

    /// What it is computed in, and what maxima and inverses are stored in.
    pub fn computed(self) -> DType {
        if self == DType::F64 { DType::F64 } else { DType::F32 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpName {
    ElementwiseAttention,
    ElementwiseSelfAttention,
}

impl OpName {
    /// The names of the inputs, in the order of the operands.
    pub fn inputs(self) -> &'static [&'static str] {
        match self {
            OpName::ElementwiseAttention => &["q", "k", "v", "mask"],
            OpName::ElementwiseSelfAttention => {
                &["x", "w_q", "w_k", "w_v", "b_q", "b_k", "b_v", "mask"]
            }
        }
    }

    pub fn mask(self) -> usize {
        self.inputs().len() - 1
    }

    /// So many of the inputs, the first ones, are in every call.
    pub fn required(self) -> usize {
        match self {
            OpName::ElementwiseAttention => 3,
            OpName::ElementwiseSelfAttention => 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// A call whose element type is known at run time only.
pub struct DynamicCall {
    pub op: OpName,
    pub dtype: DType,
    pub scale: f64,
    pub boolean_mask: bool,
    /// Whether x is added to the output (self-attention only).
    pub residual: bool,
    pub call: Call,
}

impl DynamicCall {
    pub fn run(&self, direction: Direction, simd: Simd) {
        match self.dtype {
            DType::F16 => self.run_as::<f16>(direction, simd),
            DType::BF16 => self.run_as::<bf16>(direction, simd),
            DType::F32 => self.run_as::<f32>(direction, simd),
            DType::F64 => self.run_as::<f64>(direction, simd),
            DType::Bool => unreachable!("the bindings refuse it"),
        }
    }

    fn run_as<T: Element>(&self, direction: Direction, simd: Simd) {
        let present = |j: usize| !self.call.operands[j].is_absent();
        let run = Run { call: &self.call, direction, simd };
        let boolean = self.boolean_mask;
        let scale = T::Acc::from_f64(self.scale);
        let scale_base_2 = T::Acc::from_f64(self.scale * std::f64::consts::LOG2_E);
        match self.op {
            OpName::ElementwiseAttention => {
                if present(elementwise_attention::MASK) {
                    run.with(ElementwiseAttention::<T, true> { scale, scale_base_2, boolean });
                } else {
                    run.with(ElementwiseAttention::<T, false> { scale, scale_base_2, boolean });
                }
            }
            OpName::ElementwiseSelfAttention => {
                use elementwise_self_attention::{B, MASK};
                let residual = self.residual;
                // Layers without biases or a mask are the common ones: the others share a kernel.
                if (B..B + 3).any(present) || present(MASK) {
                    run.with(ElementwiseSelfAttention::<T, true> {
                        scale,
                        scale_base_2,
                        boolean,
                        residual,
                    });
                } else {
                    run.with(ElementwiseSelfAttention::<T, false> {
                        scale,
                        scale_base_2,
                        boolean,
                        residual,
                    });
                }
            }
        }
    }
}

struct Run<'a> {
    call: &'a Call,
    direction: Direction,
    simd: Simd,
}

impl Run<'_> {
    fn with<O: Formula>(self, op: O) {
        if self.simd == Simd::Scalar {
            return plain::run(&op, self.call, self.direction);
        }
        match self.direction {
            Direction::Forward => attend::forward(op, self.call, self.simd),
            Direction::Backward => attend::backward(op, self.call, self.simd),
        }
    }
}
