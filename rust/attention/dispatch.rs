//! From what is known at run time (element type, mask, biases) to the kernel compiled for it.
#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

use crate::attention::call::Call;
use crate::attention::op::{Op, OpName};
use crate::attention::ops::elementwise_attention::{self, ElementwiseAttention};
use crate::attention::ops::elementwise_self_attention::{self, ElementwiseSelfAttention};
use crate::attention::schedule;
use crate::simd::Simd;
use crate::simd::{Float, Packed};
use crate::tensor::definition::Definition;
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
    /// # Safety
    /// Each operand is the memory that shape, strides and element type say, and absent only where its op
    /// does without it. What is written is nobody else's, no two of its elements share memory, and it
    /// overlaps no input, unless it is one, element for element.
    pub unsafe fn run(&self, direction: Direction, simd: Simd) {
        // SAFETY: the caller's, in each of these.
        unsafe {
            match self.dtype {
                DType::F16 => self.run_as::<f16>(direction, simd),
                DType::BF16 => self.run_as::<bf16>(direction, simd),
                DType::F32 => self.run_as::<f32>(direction, simd),
                DType::F64 => self.run_as::<f64>(direction, simd),
                DType::Bool => unreachable!("the bindings refuse it"),
            }
        }
    }

    /// # Safety
    /// As `run`, the element type being `T`.
    unsafe fn run_as<T: Packed>(&self, direction: Direction, simd: Simd) {
        let present = |j: usize| !self.call.operands[j].is_absent();
        let run = Run { call: &self.call, direction, simd };
        let (boolean, residual) = (self.boolean_mask, self.residual);
        let scale = T::Acc::from_f64(self.scale);
        let scale_base_2 = T::Acc::from_f64(self.scale * std::f64::consts::LOG2_E);
        match self.op {
            OpName::ElementwiseAttention => {
                type Op<T, const MASKED: bool> = ElementwiseAttention<T, MASKED>;
                let masked = present(elementwise_attention::MASK);
                let masked_op = Op::<T, true> { scale, scale_base_2, boolean };
                let plain_op = Op::<T, false> { scale, scale_base_2, boolean };
                // SAFETY: the caller's.
                unsafe { if masked { run.with(masked_op) } else { run.with(plain_op) } }
            }
            OpName::ElementwiseSelfAttention => {
                use elementwise_self_attention::{B, MASK};
                type Op<T, const GENERAL: bool> = ElementwiseSelfAttention<T, GENERAL>;
                // Layers without biases or a mask are the common ones: the others share a kernel.
                let general = (B..B + 3).any(present) || present(MASK);
                let general_op = Op::<T, true> { scale, scale_base_2, boolean, residual };
                let plain_op = Op::<T, false> { scale, scale_base_2, boolean, residual };
                // SAFETY: the caller's.
                unsafe { if general { run.with(general_op) } else { run.with(plain_op) } }
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
    /// # Safety
    /// As [`DynamicCall::run`], for a call of this op.
    unsafe fn with<O: Op>(self, op: O) {
        // SAFETY: the caller's.
        unsafe { schedule::run(op, self.call, self.simd, self.direction) }
    }
}
