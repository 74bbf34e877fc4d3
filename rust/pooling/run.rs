//! Running a call: units are shared among threads, and each is done tile by tile.

use super::call::PoolingCall;
use super::columns::ColumnPooling;
use super::copy::Loops;
use super::direct::{self, DirectPooling};
use super::plan::{PoolingPlan, PoolingUnit};
use crate::simd::{Element, Float, Isa, Packed, Simd, Task};
use crate::tensor::dtype::{Direction, with_float_type};
use crate::threads;

impl PoolingCall {
    /// # Safety
    /// The memory is what sizes, strides and type say; what is written overlaps nothing else.
    pub unsafe fn run(&self, direction: Direction, simd: Simd) {
        // SAFETY: the caller's.
        with_float_type!(self.dtype, T => unsafe { self.run_as::<T>(direction, simd) });
    }

    /// # Safety
    /// As for [`PoolingCall::run`].
    unsafe fn run_as<T: Packed>(&self, direction: Direction, simd: Simd) {
        let pool = &self.pool;
        let [channel, _, column] = self.x.strides.map(isize::unsigned_abs);
        let plan = PoolingPlan::new(pool, pool.channels > 1 && channel < column);
        let has_dw = direction == Direction::Backward && self.dw.is_some();
        let sums_of_unit = if has_dw { pool.weights() * plan.channels } else { 0 };
        let mut partials = vec![T::Acc::ZERO; plan.units() * sums_of_unit];
        let start = Shared(partials.as_mut_ptr());
        // SAFETY: the caller's.
        let w = unsafe { self.packed_weights::<T>() };
        let elements = pool.images() * pool.channels * pool.image[0] * pool.image[1];
        threads::for_each(plan.units(), elements, |number| {
            let [channels, images] = plan.unit(pool, number);
            let unit = PoolingUnit { call: self, plan: &plan, direction, w: &w, channels, images };
            // SAFETY: the caller's, and every unit has sums of its own.
            unsafe {
                let sums = start.at(number * sums_of_unit);
                let sums = std::slice::from_raw_parts_mut(sums, sums_of_unit);
                simd.dispatch(UnitTask::<T> { unit, sums });
            }
        });
        // SAFETY: the caller's.
        unsafe { self.add_up::<T>(&plan, &partials) };
    }

    /// w as (place, channel), or one number a channel.
    ///
    /// # Safety
    /// w is what the call says.
    unsafe fn packed_weights<T: Element>(&self) -> Vec<T::Acc> {
        let places = 0..self.pool.weights();
        let all = places.flat_map(|k| (0..self.pool.channels).map(move |c| (c, k)));
        // SAFETY: the caller's.
        all.map(|(c, k)| unsafe { *self.weight::<T>(&self.w, c, k) }.to_acc()).collect()
    }

    /// The gradient of w: the sums of all units, in the order of the images.
    ///
    /// # Safety
    /// The gradient of w is what the call says.
    unsafe fn add_up<T: Element>(&self, plan: &PoolingPlan, partials: &[T::Acc]) {
        let Some(dw) = &self.dw else { return };
        let size = self.pool.weights() * plan.channels;
        for c in 0..self.pool.channels {
            let (group, within) = (c / plan.channels, c % plan.channels);
            for k in 0..self.pool.weights() {
                let place =
                    |block| (block * plan.groups + group) * size + k * plan.channels + within;
                let sums = (0..plan.blocks).map(|block| partials[place(block)]);
                let total = sums.fold(T::Acc::ZERO, |total, sum| total + sum);
                // SAFETY: the caller's.
                unsafe { *self.weight::<T>(dw, c, k) = T::from_acc(total) };
            }
        }
    }
}

/// A unit at work.
struct UnitTask<'a, T: Packed> {
    unit: PoolingUnit<'a, T::Acc>,
    /// Of the gradient of w, if it is wanted: (place, channel of the unit).
    sums: &'a mut [T::Acc],
}

impl<T: Packed> Task for UnitTask<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let UnitTask { unit, sums } = self;
        // SAFETY: the caller's.
        unsafe {
            if unit.plan.channels_last && direct::is_possible(unit.call, unit.direction) {
                let mut direct = DirectPooling::<T>::new(&unit);
                for image in unit.images.clone() {
                    clear_uncovered::<T>(&unit, image);
                    for tile in unit.plan.tiles(&unit.call.pool, image) {
                        direct.run::<I>(&tile, sums);
                    }
                }
                return;
            }
            let mut columns = ColumnPooling::<T>::new(&unit);
            for image in unit.images.clone() {
                clear_uncovered::<T>(&unit, image);
                for tile in unit.plan.tiles(&unit.call.pool, image) {
                    match unit.direction {
                        Direction::Forward => columns.forward::<I>(&tile),
                        Direction::Backward => columns.backward::<I>(&tile, sums),
                    }
                }
                columns.finish_image::<I>(image);
            }
        }
    }
}

/// What no window covers has a gradient of zero.
///
/// # Safety
/// The gradient of x is what the call says.
#[inline(always)]
unsafe fn clear_uncovered<T: Packed>(unit: &PoolingUnit<T::Acc>, image: usize) {
    let pool = &unit.call.pool;
    if let Some(dx) = &unit.call.dx
        && !pool.overlaps()
        && !pool.covers()
    {
        let start = dx.channel::<T>(pool, image, unit.channels.start);
        let loops = Loops::of_image(pool, unit.channels.len(), unit.plan.channels_last, dx);
        // SAFETY: the caller's.
        unsafe { loops.clear(start) };
    }
}

/// The start of memory of which each unit writes its part.
struct Shared<A>(*mut A);

// SAFETY: so it is used.
unsafe impl<A> Sync for Shared<A> {}

impl<A> Shared<A> {
    fn at(&self, offset: usize) -> *mut A {
        self.0.wrapping_add(offset)
    }
}
