//! Element types, and the two directions that a call can have.

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

/// Whether results are computed from inputs, or gradients from those of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// `$run` with `$T` being the element type of a [`DType`] of floats.
macro_rules! with_float_type {
    ($dtype:expr, $T:ident => $run:expr) => {{
        use $crate::tensor::dtype::DType;
        match $dtype {
            DType::F16 => {
                type $T = half::f16;
                $run
            }
            DType::BF16 => {
                type $T = half::bf16;
                $run
            }
            DType::F32 => {
                type $T = f32;
                $run
            }
            DType::F64 => {
                type $T = f64;
                $run
            }
            DType::Bool => unreachable!("the bindings refuse it"),
        }
    }};
}
pub(crate) use with_float_type;
