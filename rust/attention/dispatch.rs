//! From what is known at run time (element type, mask, biases) to the kernel compiled for it.

use crate::attention::call::Call;
use crate::attention::op::{Op, OpName};
use crate::attention::ops::elementwise_attention::{self, ElementwiseAttention};
use crate::attention::ops::elementwise_self_attention::{self, ElementwiseSelfAttention};
use crate::attention::schedule;
use crate::definition::Definition;
use crate::simd::Simd;
use crate::simd::{Float, Packed};
use crate::tensor::dtype::{DType, Direction};
use half::{bf16, f16};

impl OpName {
    pub fn definition(self) -> &'static Definition {
        match self {
            OpName::ElementwiseAttention => &elementwise_attention::DEFINITION,
            OpName::ElementwiseSelfAttention => &elementwise_self_attention::DEFINITION,
        }
    }
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

    fn run_as<T: Packed>(&self, direction: Direction, simd: Simd) {
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
    fn with<O: Op>(self, op: O) {
        // SAFETY: the operands are what the bindings have checked.
        unsafe { schedule::run(op, self.call, self.simd, self.direction) }
    }
}
