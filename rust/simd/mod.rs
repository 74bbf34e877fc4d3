//! Registers of floats, one implementation an instruction set, chosen at run time.
//!
//! The kernels are written once, generic over [`Isa`]; [`Simd::dispatch`] compiles each of them for
//! every instruction set and calls the one that this processor has. `pulp` was considered: it has
//! neither the 16-bit floats nor the 64-bit shifts that the kernels need.

/// Arithmetic of a register in instructions that the compiler thinks unsafe: a register exists only where
/// its instruction set does.
#[cfg(target_arch = "x86_64")]
macro_rules! arithmetic {
    ($($(#[$doc:meta])* fn $name:ident($($arguments:tt)*) -> $result:ty $body:block)*) => {
        $($(#[$doc])*
        #[inline(always)]
        #[allow(unused_braces)]
        fn $name($($arguments)*) -> $result {
            unsafe { $body }
        })*
    };
}

mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
pub mod sums;
mod vector;

pub use element::{Element, Float};
pub use vector::{Isa, Lanes, Packed, Register, Task, Vector};

use std::fmt;
use std::sync::OnceLock;

/// The lanes of the widest register of all instruction sets.
pub const MAX_LANES: usize = 16;

/// An instruction set that this processor has: there is no other way to one than to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Simd(Set);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Four lanes of plain Rust, which compilers turn into SSE2 or NEON.
    Portable,
}

impl Set {
    /// Fastest first.
    #[cfg(target_arch = "x86_64")]
    const ALL: [Set; 3] = [Set::Avx512, Set::Avx2, Set::Portable];
    #[cfg(not(target_arch = "x86_64"))]
    const ALL: [Set; 1] = [Set::Portable];

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Set::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            Set::Portable => true,
        }
    }
}

impl Simd {
    /// The instruction sets of this processor, fastest first.
    pub fn available() -> impl Iterator<Item = Simd> {
        Set::ALL.into_iter().filter(|set| set.is_available()).map(Simd)
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            Set::Portable => "portable",
        }
    }

    /// The one in use: the best that the processor has, or the one that `EWA_SIMD` names.
    pub fn current() -> Result<Simd, String> {
        static CURRENT: OnceLock<Result<Simd, String>> = OnceLock::new();
        CURRENT.get_or_init(|| choose(std::env::var("EWA_SIMD").ok().as_deref())).clone()
    }

    /// Whether its registers are [`Isa::WIDE`].
    pub fn is_wide(self) -> bool {
        self.0 != Set::Portable
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
    ///
    /// # Safety
    /// As for the task's own [`Task::run`].
    #[inline]
    pub unsafe fn dispatch<K: Task>(self, task: K) -> K::Output {
        // SAFETY: the caller's for the task; whoever made this has found the instruction set.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => avx512::run(task),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => avx2::run(task),
                Set::Portable => task.run::<array::Portable>(),
            }
        }
    }
}

impl fmt::Debug for Simd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

fn choose(wanted: Option<&str>) -> Result<Simd, String> {
    let Some(name) = wanted.filter(|name| !name.is_empty()) else {
        return Ok(Simd::available().next().expect("the portable one is always there"));
    };
    Simd::available().find(|simd| simd.name() == name).ok_or_else(|| {
        let names: Vec<_> = Simd::available().map(Simd::name).collect();
        format!("EWA_SIMD: {name:?} is not an instruction set of this processor; expected one of {names:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_variable_chooses() {
        assert_eq!(choose(Some("portable")), Ok(Simd(Set::Portable)));
        assert_eq!(choose(None), choose(Some("")));
        assert!(choose(Some("sse9")).unwrap_err().contains("sse9"));
    }
}
