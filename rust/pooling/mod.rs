//! Pooling by attention: y = Σ softmax(w·x)·x over the windows of images, forward and backward.
//!
//! One register holds one element of each of several windows: of several channels where images have
//! their channels last (`direct`), otherwise of what has been moved into columns before (`columns`).

mod columns;
mod direct;
pub mod elementwise_attention_pool2d;
mod memory;
mod movers;
mod plan;
mod unit;
mod window;

use crate::simd::Simd;
use crate::simd::{Float, Packed};
use crate::tensor::dtype::{DType, Direction};
use crate::threads;
use half::{bf16, f16};
use plan::Plan;
use unit::Unit;

/// The sizes of a pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What stands before the channels in the shape.
    pub lead: Vec<usize>,
    pub channels: usize,
    /// Height and width, as in everything that follows.
    pub image: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Whether w has a number for each place in a window.
    pub per_place: bool,
}

impl Pool {
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.image[d] - self.kernel[d]) / self.stride[d] + 1)
    }

    pub fn images(&self) -> usize {
        self.lead.iter().product()
    }

    /// The elements of a window.
    pub fn places(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The numbers of w for one channel.
    pub fn weights(&self) -> usize {
        if self.per_place { self.places() } else { 1 }
    }

    fn overlaps(&self) -> bool {
        (0..2).any(|d| self.kernel[d] > self.stride[d])
    }

    /// Whether every element of an image is in a window.
    fn covers(&self) -> bool {
        let out = self.output();
        (0..2).all(|d| self.kernel[d] >= self.stride[d])
            && (0..2).all(|d| (out[d] - 1) * self.stride[d] + self.kernel[d] == self.image[d])
    }
}

/// Where images lie: strides in elements, of the axes before the channels and of (channel, row, column).
pub struct Maps {
    pub data: *mut u8,
    pub lead: Vec<isize>,
    pub strides: [isize; 3],
}

impl Maps {
    /// The offset of an image's row and column.
    fn place(&self, [row, column]: [usize; 2]) -> isize {
        row as isize * self.strides[1] + column as isize * self.strides[2]
    }

    /// The first element of an image.
    pub fn image<T>(&self, pool: &Pool, image: usize) -> *mut T {
        let (mut rest, mut offset) = (image, 0);
        for (&size, &stride) in pool.lead.iter().zip(&self.lead).rev() {
            offset += (rest % size) as isize * stride;
            rest /= size;
        }
        self.data.cast::<T>().wrapping_offset(offset)
    }
}

/// A call: x and w, and the output, or its gradient and those of x and w as far as they are wanted.
pub struct Call {
    pub pool: Pool,
    pub dtype: DType,
    pub x: Maps,
    /// Strides of (channel, row, column), the last two zero where all places have one w.
    pub w: Maps,
    pub y: Maps,
    pub dx: Option<Maps>,
    pub dw: Option<Maps>,
}

// SAFETY: units write to places of their own, and the caller of `run` owns the memory.
unsafe impl Sync for Call {}

impl Call {
    /// # Safety
    /// The memory is what sizes, strides and type say; what is written overlaps nothing else.
    pub unsafe fn run(&self, direction: Direction, simd: Simd) {
        match self.dtype {
            DType::F16 => self.run_as::<f16>(direction, simd),
            DType::BF16 => self.run_as::<bf16>(direction, simd),
            DType::F32 => self.run_as::<f32>(direction, simd),
            DType::F64 => self.run_as::<f64>(direction, simd),
            DType::Bool => unreachable!("the bindings refuse it"),
        }
    }

    unsafe fn run_as<T: Packed>(&self, direction: Direction, simd: Simd) {
        let pool = &self.pool;
        let [channel, _, column] = self.x.strides.map(isize::unsigned_abs);
        let plan = Plan::new(pool, pool.channels > 1 && channel < column);
        let sums = match direction {
            Direction::Backward if self.dw.is_some() => {
                plan.units() * pool.weights() * plan.channels
            }
            _ => 0,
        };
        let mut partials = vec![T::Acc::ZERO; sums];
        let sums_of_unit = partials.len() / plan.units().max(1);
        let start = Shared(partials.as_mut_ptr());
        let w = self.packed_weights::<T>();
        let elements = pool.images() * pool.channels * pool.image[0] * pool.image[1];
        threads::for_each(plan.units(), elements, |number| {
            let sums = start.at(number * sums_of_unit);
            let sums = std::slice::from_raw_parts_mut(sums, sums_of_unit);
            simd.dispatch(Unit::<T> { call: self, plan: &plan, w: &w, direction, number, sums });
        });
        if sums > 0 || pool.channels > 0 {
            self.add_up::<T>(&plan, &partials);
        }
    }

    /// w as (place, channel), or one number a channel.
    unsafe fn packed_weights<T: Packed>(&self) -> Vec<T::Acc> {
        let mut packed = Vec::with_capacity(self.pool.weights() * self.pool.channels);
        for k in 0..self.pool.weights() {
            for c in 0..self.pool.channels {
                packed.push((*self.weight::<T>(&self.w, c, k)).to_acc());
            }
        }
        packed
    }

    unsafe fn weight<T>(&self, w: &Maps, channel: usize, k: usize) -> *mut T {
        let (row, column) = (k / self.pool.kernel[1], k % self.pool.kernel[1]);
        let at = [channel, row, column];
        let offset: isize = at.iter().zip(&w.strides).map(|(&i, &s)| i as isize * s).sum();
        w.data.cast::<T>().offset(offset)
    }

    /// The gradient of w: the sums of all units, in the order of the images.
    unsafe fn add_up<T: Packed>(&self, plan: &Plan, partials: &[T::Acc]) {
        let Some(dw) = &self.dw else { return };
        let size = self.pool.weights() * plan.channels;
        for c in 0..self.pool.channels {
            let (group, within) = (c / plan.channels, c % plan.channels);
            for k in 0..self.pool.weights() {
                let place =
                    |block| (block * plan.groups + group) * size + k * plan.channels + within;
                let sums = (0..plan.blocks).map(|block| partials[place(block)]);
                let total = sums.fold(T::Acc::ZERO, |total, sum| total + sum);
                *self.weight::<T>(dw, c, k) = T::from_acc(total);
            }
        }
    }
}

/// The start of memory of which each unit writes its part.
struct Shared<A>(*mut A);

unsafe impl<A> Sync for Shared<A> {}

impl<A> Shared<A> {
    fn at(&self, offset: usize) -> *mut A {
        self.0.wrapping_add(offset)
    }
}
