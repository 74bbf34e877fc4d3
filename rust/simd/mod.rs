//! Registers of floats, one implementation an instruction set, chosen at run time.
//!
//! The kernels are written once, generic over [`Isa`]; [`Simd::dispatch`] compiles each of them for
//! every instruction set and calls the one that this processor has. `pulp` was considered: it has
//! neither the 16-bit floats nor the 64-bit shifts that the kernels need.

mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use std::sync::OnceLock;

use crate::numerics::{self, Float};
use half::{bf16, f16};

/// A register of `LANES` numbers of the type that is computed in (f32 or f64).
///
/// # Safety
/// Every method may only be called where the register's instruction set is present, which
/// [`Simd::dispatch`] sees to; pointers must be valid for what is read or written.
#[allow(clippy::missing_safety_doc)]
pub trait Vector: Copy {
    type Scalar: Float;
    const LANES: usize;

    unsafe fn splat(x: Self::Scalar) -> Self;
    unsafe fn load(p: *const Self::Scalar) -> Self;
    unsafe fn store(self, p: *mut Self::Scalar);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self · b + c`
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self > other ? self : other`, so that `other` comes back where either is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `self · 2ⁿ`, where `rounded` is n + 1.5·2^(mantissa bits).
    unsafe fn scale_by_power_of_two(self, rounded: Self) -> Self;
    /// Zero in the lanes where `x < low`.
    unsafe fn zero_where_less(self, x: Self, low: Self) -> Self;
    unsafe fn zero_where_nan(self) -> Self;
    /// Whether a lane is greater than `other`'s.
    unsafe fn any_greater(self, other: Self) -> bool;
    /// How many of the first `n` lanes are.
    unsafe fn count_greater(self, other: Self, n: usize) -> usize;
    /// −∞ in the lanes from `n` on.
    unsafe fn first(self, n: usize) -> Self;
    /// −∞ in the lanes whose mask byte is zero; `n` bytes are read.
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self;
    /// The even and the odd ones of two registers' lanes, one register behind the other.
    unsafe fn deinterleave(self, next: Self) -> (Self, Self);
    /// Two registers of which `self` has the even and `odd` the odd lanes.
    unsafe fn interleave(self, odd: Self) -> (Self, Self);
    /// For each lane the one of `self` that its byte of `lanes` names.
    unsafe fn pick(self, lanes: *const u8) -> Self;
    /// The first lane.
    unsafe fn extract(self) -> Self::Scalar;
    unsafe fn reduce_sum(self) -> Self::Scalar;
    unsafe fn reduce_max(self) -> Self::Scalar;
    /// 2ˣ for x ≤ 100, see [`numerics::exp2`].
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        numerics::exp2(self)
    }
}

/// Loads and stores of elements of type `T`, converted in registers.
///
/// `FULL` says that all lanes are wanted; otherwise the first `n`, the others being zero.
///
/// # Safety
/// As for [`Vector`].
#[allow(clippy::missing_safety_doc)]
pub trait Lanes<T>: Vector {
    unsafe fn load_from<const FULL: bool>(p: *const T, n: usize) -> Self;
    unsafe fn store_to<const FULL: bool>(self, p: *mut T, n: usize);
    /// A full store past the caches, at an address that is a multiple of the register's size.
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut T) {
        self.store_to::<true>(p, Self::LANES);
    }
}

/// An instruction set: its registers of f32 and of f64.
pub trait Isa {
    /// Whether registers are so wide that a short row would leave most of one unused.
    const WIDE: bool = true;
    type F32: Vector<Scalar = f32> + Lanes<f32> + Lanes<f16> + Lanes<bf16>;
    type F64: Vector<Scalar = f64> + Lanes<f64>;
}

/// Work that is compiled for every instruction set. `run` must be `#[inline(always)]`, down to the
/// last generic function that it calls: only then is it compiled with the instruction set's features.
pub trait Task {
    type Output;
    /// # Safety
    /// The instruction set must be there.
    unsafe fn run<I: Isa>(self) -> Self::Output;
}

/// The instruction sets that a kernel can run on, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    Avx512,
    Avx2,
    /// Four lanes of plain Rust, which compilers turn into SSE2 or NEON.
    Portable,
    /// The plain loops of [`crate::plain`], which are not kernels.
    Scalar,
}

impl Simd {
    pub const ALL: [Simd; 4] = [Simd::Avx512, Simd::Avx2, Simd::Portable, Simd::Scalar];

    pub fn name(self) -> &'static str {
        match self {
            Simd::Avx512 => "avx512",
            Simd::Avx2 => "avx2",
            Simd::Portable => "portable",
            Simd::Scalar => "scalar",
        }
    }

    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx512 | Simd::Avx2 => false,
            Simd::Portable | Simd::Scalar => true,
        }
    }

    /// The one in use: the best that the processor has, or the one that `EWA_SIMD` names.
    pub fn current() -> Result<Simd, String> {
        static CURRENT: OnceLock<Result<Simd, String>> = OnceLock::new();
        CURRENT.get_or_init(|| choose(std::env::var("EWA_SIMD").ok().as_deref())).clone()
    }

    /// Whether its registers are [`Isa::WIDE`].
    pub fn is_wide(self) -> bool {
        matches!(self, Simd::Avx512 | Simd::Avx2)
    }

    /// Streamed stores of this thread come before whatever it does next.
    #[inline]
    pub fn fence(self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }

    /// Run `task` compiled for this instruction set.
    #[inline]
    pub fn dispatch<K: Task>(self, task: K) -> K::Output {
        debug_assert!(self.is_available());
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => avx512::run(task),
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => avx2::run(task),
                _ => task.run::<array::Portable>(),
            }
        }
    }
}

fn choose(wanted: Option<&str>) -> Result<Simd, String> {
    let mut available = Simd::ALL.into_iter().filter(|simd| simd.is_available());
    let Some(name) = wanted.filter(|name| !name.is_empty()) else {
        return Ok(available.next().expect("scalar is always there"));
    };
    available.find(|simd| simd.name() == name).ok_or_else(|| {
        let names: Vec<_> =
            Simd::ALL.into_iter().filter(|s| s.is_available()).map(Simd::name).collect();
        format!("EWA_SIMD: {name:?} is not an instruction set of this processor; expected one of {names:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_variable_chooses() {
        assert_eq!(choose(Some("scalar")), Ok(Simd::Scalar));
        assert_eq!(choose(None), choose(Some("")));
        assert!(choose(Some("sse9")).unwrap_err().contains("sse9"));
    }
}
