//! Running a call: units are shared among threads, and each is done tile by tile.

use super::call::{ImageView, PoolingCall};
use super::columns::ColumnPooling;
use super::copy::Loops;
use super::direct::{self, DirectPooling};
use super::plan::{PoolingPlan, PoolingUnit};
use super::sums::WeightSums;
use crate::simd::{Element, Float, Isa, Packed, Simd, Task};
use crate::tensor::dtype::{Direction, with_float_type};
use crate::tensor::memory::{OutOfMemory, Scratch, try_vec};
use crate::threads;
use std::sync::atomic::{AtomicBool, Ordering};

impl PoolingCall {
    /// # Safety
    /// The memory is what sizes, strides and type say; what is written overlaps nothing else.
    pub unsafe fn run(&self, direction: Direction, simd: Simd) -> Result<(), OutOfMemory> {
        // SAFETY: the caller's.
        with_float_type!(self.dtype, T => unsafe { self.run_as::<T>(direction, simd) })
    }

    /// # Safety
    /// As for [`PoolingCall::run`].
    unsafe fn run_as<T: Packed>(
        &self,
        direction: Direction,
        simd: Simd,
    ) -> Result<(), OutOfMemory> {
        let pool = &self.pool;
        let [channel, _, column] = self.x.strides.map(isize::unsigned_abs);
        let plan = PoolingPlan::new(pool, pool.channels > 1 && channel < column);
        let has_dw = direction == Direction::Backward && self.dw.is_some();
        let of_unit = if has_dw { 2 * pool.weights() * plan.channels } else { 0 };
        let sums = Scratch::try_zeroed(plan.units() * of_unit * size_of::<T::Acc>())?;
        let sums_of = |number: usize| {
            let start = sums.as_ptr::<T::Acc>().wrapping_add(number * of_unit);
            // SAFETY: every unit has some of its own.
            let numbers = unsafe { std::slice::from_raw_parts_mut(start, of_unit) };
            WeightSums::new(numbers, plan.channels)
        };
        let is_direct = direct::is_possible(self, &plan, direction);
        // SAFETY: the caller's.
        let packed = plan.is_whole(pool).then(|| unsafe { self.packed_weights::<T>() });
        let w = packed.transpose()?.unwrap_or_default();
        let elements = pool.images() * pool.channels * pool.image[0] * pool.image[1];
        let failed = AtomicBool::new(false);
        threads::for_each(plan.units(), elements, |number| {
            let [channels, images] = plan.unit(pool, number);
            let unit = PoolingUnit { call: self, plan: &plan, direction, w: &w, channels, images };
            let task = UnitTask::<T> { unit, is_direct, sums: sums_of(number) };
            // SAFETY: the caller's.
            if unsafe { simd.dispatch(task) }.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        });
        if failed.into_inner() {
            return Err(OutOfMemory);
        }
        if let Some(dw) = self.dw.as_ref().filter(|_| has_dw) {
            // SAFETY: the caller's.
            unsafe { self.store_sums::<T>(dw, &plan, sums_of) };
        }
        Ok(())
    }

    /// w as (place, channel), or one number a channel.
    ///
    /// # Safety
    /// w is what the call says.
    unsafe fn packed_weights<T: Element>(&self) -> Result<Vec<T::Acc>, OutOfMemory> {
        let channels = self.pool.channels;
        let mut packed = try_vec(T::Acc::ZERO, self.pool.weights() * channels)?;
        for (k, row) in packed.chunks_exact_mut(channels.max(1)).enumerate() {
            let first = self.weight::<T>(&self.w, 0, k);
            for (c, to) in row.iter_mut().enumerate() {
                // SAFETY: the caller's.
                *to = unsafe { *first.offset(c as isize * self.w.strides[0]) }.to_acc();
            }
        }
        Ok(packed)
    }

    /// The gradient of w: the sums of all units, in the order of the images.
    ///
    /// # Safety
    /// The gradient of w is what the call says.
    unsafe fn store_sums<'a, T: Packed>(
        &self,
        dw: &ImageView,
        plan: &PoolingPlan,
        sums_of: impl Fn(usize) -> WeightSums<'a, T::Acc>,
    ) {
        for group in 0..plan.groups {
            let units = (0..plan.blocks).map(|block| sums_of(block * plan.groups + group));
            let total = units.reduce(|total, unit| total.plus(&unit));
            let first = group * plan.channels;
            for c in 0..plan.channels.min(self.pool.channels - first) {
                for k in 0..self.pool.weights() {
                    let sum = total.as_ref().map_or(T::Acc::ZERO, |total| total.get(k, c));
                    // SAFETY: the caller's.
                    unsafe { *self.weight::<T>(dw, first + c, k) = T::from_acc(sum) };
                }
            }
        }
    }
}

/// A unit at work.
struct UnitTask<'a, T: Packed> {
    unit: PoolingUnit<'a, T::Acc>,
    is_direct: bool,
    /// Of the gradient of w, if it is wanted.
    sums: WeightSums<'a, T::Acc>,
}

impl<T: Packed> Task for UnitTask<'_, T> {
    type Output = Result<(), OutOfMemory>;

    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> Self::Output {
        let UnitTask { unit, is_direct, mut sums } = self;
        // SAFETY: the caller's.
        unsafe {
            if is_direct && run_directly::<T, I>(&unit, &mut sums)? {
                return Ok(());
            }
            sums.clear();
            let mut columns = ColumnPooling::<T>::try_new(&unit)?;
            for image in unit.images.clone() {
                clear_uncovered::<T>(&unit, image);
                for tile in unit.plan.tiles(&unit.call.pool, image) {
                    match unit.direction {
                        Direction::Forward => columns.forward::<I>(&tile),
                        Direction::Backward => columns.backward::<I>(&tile, &mut sums),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether everything could be computed.
///
/// # Safety
/// As for the unit's task.
#[inline(always)]
unsafe fn run_directly<T: Packed, I: Isa>(
    unit: &PoolingUnit<T::Acc>,
    sums: &mut WeightSums<T::Acc>,
) -> Result<bool, OutOfMemory> {
    let mut direct = DirectPooling::<T>::try_new(unit)?;
    for image in unit.images.clone() {
        // SAFETY: the caller's.
        unsafe {
            clear_uncovered::<T>(unit, image);
            for tile in unit.plan.tiles(&unit.call.pool, image) {
                if direct.run::<I>(&tile, sums) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
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
        let sizes = [unit.channels.len(), pool.image[0], pool.image[1]];
        let loops = Loops::new(unit.plan.channels_last, sizes, dx.strides);
        // SAFETY: the caller's.
        unsafe { loops.clear(start) };
    }
}
