//! The arithmetic of softmax(z) ∘ v over blocks, forward and backward, whatever z and v are made of.
//!
//! Each [`Task`] here is compiled once for every instruction set, op and element type; what calls them
//! (`attend.rs`) is not.

use crate::block::{Block, Register, Source};
use crate::numerics::{Element, Float};
use crate::simd::{Isa, Task, Vector};

/// An op: how scores and values come from its inputs, and the inputs' gradients from theirs.
///
/// Scores are in base 2: the logarithm's factor log₂ e is in them.
/// All methods work on the `n` elements from `i` on of one row (`FULL`: `n` is a register's width).
#[allow(clippy::missing_safety_doc)]
pub trait Op: Copy + Send + Sync {
    type T: Element;
    /// The inputs along one row, and where the gradients along one row go.
    type Inputs: Copy;
    type Gradients: Copy;
    /// The number of inputs; they are the first operands.
    const INPUTS: usize;

    unsafe fn inputs(&self, block: &Block, row: usize) -> Self::Inputs;
    unsafe fn gradients(&self, block: &Block, row: usize) -> Self::Gradients;
    unsafe fn score<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    unsafe fn value<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// What the output is added to, if anything.
    unsafe fn add_residual<V: Register<Self::T>, const FULL: bool>(
        &self,
        y: V,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Store the gradients; `grad` holds those of the output, the scores and the values.
    unsafe fn put_gradients<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        gradients: &Self::Gradients,
        grad: Upstream<V>,
        i: usize,
        n: usize,
    );
}

/// Gradients that have come down to one register: of the output, the scores and the values.
#[derive(Clone, Copy)]
pub struct Upstream<V> {
    pub y: V,
    pub z: V,
    pub v: V,
    /// A slice that keeps nothing has gradients of exactly zero, whatever it is multiplied with.
    pub inverse: V,
}

impl<V: Vector> Upstream<V> {
    #[inline(always)]
    pub unsafe fn of_kept(&self, gradient: V) -> V {
        zero_if_empty(gradient, self.inverse)
    }
}

/// Operands behind an op's inputs.
pub const Y: usize = 8;
pub const WEIGHTS: usize = 9;
/// The maximum of each slice's scores, and 1/Σ 2^(score − maximum) (zero where nothing is kept).
pub const MAXIMUM: usize = 10;
pub const INVERSE: usize = 11;
/// The first of the gradients, in the order of the inputs. Y and WEIGHTS then hold the upstream ones.
pub const GRADIENTS: usize = 12;

/// Run `$body` for each register's worth of `0..$len`, the last one possibly not full.
macro_rules! for_registers {
    ($V:ty, $len:expr, |$i:ident, $n:ident, $FULL:ident| $body:block) => {{
        let len: usize = $len;
        let full = len - len % <$V>::LANES;
        let mut $i = 0;
        while $i < full {
            #[allow(dead_code)]
            const $FULL: bool = true;
            let $n = <$V>::LANES;
            $body
            $i += <$V>::LANES;
        }
        if $i < len {
            #[allow(dead_code)]
            const $FULL: bool = false;
            let $n = len - $i;
            $body
        }
    }};
}

#[inline(always)]
unsafe fn zero_if_empty<V: Vector>(x: V, inverse: V) -> V {
    // A sum is at least 1 and at most the length: its inverse is far above this, or zero, or NaN.
    x.zero_where_less(inverse, V::splat(V::Scalar::from_f64(1e-30)))
}

/// Terms are summed this many at a time, and these sums with a compensation for what rounding took: the
/// error of a sum does not grow with its length.
const PART: usize = 8;

/// A sum and what rounding took from it (Knuth's TwoSum).
#[derive(Clone, Copy)]
pub struct Compensated<A> {
    sum: A,
    lost: A,
}

impl<A: Float> Compensated<A> {
    pub const ZERO: Self = Compensated {
        sum: A::ZERO,
        lost: A::ZERO,
    };

    pub fn add(self, x: A) -> Self {
        let sum = self.sum + x;
        let added = sum - self.sum;
        let lost = (self.sum - (sum - added)) + (x - added);
        Compensated {
            sum,
            lost: self.lost + lost,
        }
    }

    /// The sum; what an infinite one has lost is NaN and does not count.
    pub fn total(self) -> A {
        let total = self.sum + self.lost;
        if total == total { total } else { self.sum }
    }
}

/// A maximum and a sum for each slice of a unit, in memory.
///
/// Of a lanewise unit there is a pair a lane. Of a unit that is one slice there are
/// [`crate::layout::WIDEST`] pairs: a register's lanes see different elements, until [`Stats::finish`]
/// gives all of them the result.
#[derive(Clone, Copy)]
pub struct Stats<A> {
    memory: *mut A,
    pub count: usize,
    pub lanewise: bool,
}

impl<A: Float> Stats<A> {
    /// Numbers of memory that a pair takes: maximum, sum, what the sum lost, and a part not yet in it.
    pub const NUMBERS: usize = 4;

    /// Nothing seen yet. `memory` holds `NUMBERS`·`count` numbers.
    pub unsafe fn new(memory: *mut A, count: usize, lanewise: bool) -> Self {
        let stats = Stats {
            memory,
            count,
            lanewise,
        };
        (0..count).for_each(|i| stats.set(i, A::NEG_INFINITY, A::ZERO));
        stats
    }

    #[inline(always)]
    fn maxima(&self) -> *mut A {
        self.memory
    }
    #[inline(always)]
    fn sums(&self) -> *mut A {
        self.memory.wrapping_add(self.count)
    }
    #[inline(always)]
    fn lost(&self) -> *mut A {
        self.memory.wrapping_add(2 * self.count)
    }
    #[inline(always)]
    fn parts(&self) -> *mut A {
        self.memory.wrapping_add(3 * self.count)
    }

    pub unsafe fn get(&self, i: usize) -> (A, A) {
        (*self.maxima().add(i), *self.sums().add(i))
    }

    unsafe fn set(&self, i: usize, maximum: A, sum: A) {
        *self.maxima().add(i) = maximum;
        *self.sums().add(i) = sum;
        *self.lost().add(i) = A::ZERO;
        *self.parts().add(i) = A::ZERO;
    }

    /// Give slice `i` a maximum and a sum that are final.
    pub unsafe fn set_slice(&self, i: usize, maximum: A, sum: A) {
        if self.lanewise {
            self.set(i, maximum, sum);
        } else {
            (0..self.count).for_each(|lane| self.set(lane, maximum, sum));
        }
    }

    /// All elements have been seen: add up what belongs together.
    pub unsafe fn finish(&self) {
        let sum = |i| {
            let (sum, lost) = (*self.sums().add(i), *self.lost().add(i));
            Compensated { sum, lost }.add(*self.parts().add(i))
        };
        if self.lanewise {
            (0..self.count).for_each(|i| self.set(i, self.get(i).0, sum(i).total()));
        } else {
            let maximum = (0..self.count).fold(A::NEG_INFINITY, |m, i| {
                let (maximum, _) = self.get(i);
                if maximum > m { maximum } else { m }
            });
            let total = (1..self.count).fold(sum(0), |total, i| {
                let lane = sum(i);
                Compensated {
                    lost: total.lost + lane.lost,
                    ..total
                }
                .add(lane.sum)
            });
            self.set_slice(0, maximum, total.total());
        }
    }

    /// Maxima become what scores are shifted by.
    pub unsafe fn maxima_to_shifts(&self) {
        for i in 0..self.count {
            let (maximum, sum) = self.get(i);
            self.set(i, shift(maximum), sum);
        }
    }

    /// Sums become their inverses.
    pub unsafe fn sums_to_inverses(&self) {
        for i in 0..self.count {
            let (shift, sum) = self.get(i);
            self.set(i, shift, inverse(sum));
        }
    }
}

/// What scores of this maximum are shifted by: zero where all of them are −∞.
#[inline(always)]
pub fn shift<A: Float>(maximum: A) -> A {
    if maximum == A::NEG_INFINITY {
        A::ZERO
    } else {
        maximum
    }
}

/// The inverse of a sum of exponentials: zero where nothing was kept.
#[inline(always)]
pub fn inverse<A: Float>(sum: A) -> A {
    if sum == A::ZERO {
        A::ZERO
    } else {
        A::ONE / sum
    }
}

/// The statistics while rows are worked on: in registers, unless each lane has its own.
struct Running<V: Vector, const LANEWISE: bool> {
    maximum: V,
    sum: V,
    lost: V,
    part: V,
    stats: Stats<V::Scalar>,
}

impl<V: Vector, const LANEWISE: bool> Running<V, LANEWISE> {
    #[inline(always)]
    unsafe fn load(stats: &Stats<V::Scalar>) -> Self {
        Running {
            maximum: V::load(stats.maxima()),
            sum: V::load(stats.sums()),
            lost: V::load(stats.lost()),
            part: V::load(stats.parts()),
            stats: *stats,
        }
    }

    /// A single slice whose statistics are known, in every lane.
    #[inline(always)]
    unsafe fn of_slice(maximum: V::Scalar, sum: V::Scalar) -> Self {
        let zero = V::splat(V::Scalar::ZERO);
        let stats = Stats {
            memory: std::ptr::null_mut(),
            count: 0,
            lanewise: false,
        };
        Running {
            maximum: V::splat(maximum),
            sum: V::splat(sum),
            lost: zero,
            part: zero,
            stats,
        }
    }

    #[inline(always)]
    unsafe fn store(self) {
        if !LANEWISE {
            self.maximum.store(self.stats.maxima());
            self.sum.store(self.stats.sums());
            self.lost.store(self.stats.lost());
            self.part.store(self.stats.parts());
        }
    }

    #[inline(always)]
    unsafe fn see(&mut self, i: usize, z: V) {
        if LANEWISE {
            let p = self.stats.maxima().add(i);
            z.max(V::load(p)).store(p);
        } else {
            self.maximum = z.max(self.maximum);
        }
    }

    #[inline(always)]
    unsafe fn add(&mut self, i: usize, x: V) {
        if LANEWISE {
            let p = self.stats.parts().add(i);
            V::load(p).add(x).store(p);
        } else {
            self.part = self.part.add(x);
            if i % (PART * V::LANES) == (PART - 1) * V::LANES {
                self.end_part();
            }
        }
    }

    /// A single slice's part goes into its sum.
    #[inline(always)]
    unsafe fn end_part(&mut self) {
        let (sum, lost) = two_sum(self.sum, self.part);
        (self.sum, self.lost) = (sum, self.lost.add(lost));
        self.part = V::splat(V::Scalar::ZERO);
    }

    /// Row `row` of `len` has been added.
    #[inline(always)]
    unsafe fn end_row(&mut self, row: usize, len: usize) {
        if !LANEWISE {
            self.end_part();
        } else if row % PART == PART - 1 {
            for i in (0..len).step_by(V::LANES) {
                let [sums, lost, parts] =
                    [self.stats.sums(), self.stats.lost(), self.stats.parts()];
                let (sum, more) = two_sum(V::load(sums.add(i)), V::load(parts.add(i)));
                sum.store(sums.add(i));
                V::load(lost.add(i)).add(more).store(lost.add(i));
                V::splat(V::Scalar::ZERO).store(parts.add(i));
            }
        }
    }

    /// A single slice's sum, all of it having been added.
    #[inline(always)]
    unsafe fn total(&self) -> V::Scalar {
        let (sum, lost) = (self.sum.reduce_sum(), self.lost.reduce_sum());
        Compensated { sum, lost }.total()
    }

    #[inline(always)]
    unsafe fn maximum(&self, i: usize) -> V {
        if LANEWISE {
            V::load(self.stats.maxima().add(i))
        } else {
            self.maximum
        }
    }

    #[inline(always)]
    unsafe fn sum(&self, i: usize) -> V {
        if LANEWISE {
            V::load(self.stats.sums().add(i))
        } else {
            self.sum
        }
    }
}

/// The sum of two registers, and what rounding took from it.
#[inline(always)]
unsafe fn two_sum<V: Vector>(a: V, b: V) -> (V, V) {
    let sum = a.add(b);
    let added = sum.sub(a);
    (sum, a.sub(sum.sub(added)).add(b.sub(added)))
}

/// A block of an op, and scratch of `pitch` numbers a row.
pub struct Work<'a, O: Op> {
    pub op: &'a O,
    pub block: &'a Block,
    pub rows: usize,
    pub len: usize,
    pub scratch: *mut Acc<O>,
    pub pitch: usize,
}

impl<O: Op> Clone for Work<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O: Op> Copy for Work<'_, O> {}

pub type Acc<O> = <<O as Op>::T as Element>::Acc;
type Registers<O, I> = <<O as Op>::T as Element>::Vector<I>;

/// A task on all rows of a block that does the same whether lanes are slices or not.
macro_rules! block_task {
    ($(#[$doc:meta])* $name:ident { $($field:ident),* } => $row:ident) => {
        $(#[$doc])*
        pub struct $name<'a, O: Op> {
            pub work: Work<'a, O>,
            $(pub $field: Stats<Acc<O>>,)*
        }

        impl<O: Op> Task for $name<'_, O> {
            type Output = ();
            #[inline(always)]
            unsafe fn run<I: Isa>(self) {
                if first!($(self.$field),*).lanewise {
                    self.run_rows::<Registers<O, I>, true>();
                } else {
                    self.run_rows::<Registers<O, I>, false>();
                }
            }
        }

        impl<O: Op> $name<'_, O> {
            #[inline(always)]
            unsafe fn run_rows<V: Register<O::T>, const LANEWISE: bool>(self) {
                $(let mut $field = Running::<V, LANEWISE>::load(&self.$field);)*
                for row in 0..self.work.rows {
                    let scratch = self.work.scratch.wrapping_add(row * self.work.pitch);
                    $row::<O, V, LANEWISE>(&self.work, row, scratch, $(&mut $field),*);
                }
                $($field.store();)*
            }
        }
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

block_task! {
    /// Scores into the scratch, their maxima into `stats`.
    Scores { stats } => scores_of_row
}
block_task! {
    /// Exponentials in place of the scores, their sums into `stats`.
    Exponentials { stats } => exponentials_of_row
}
block_task! {
    /// Outputs from the exponentials; `stats` holds shifts and inverses.
    Outputs { stats } => outputs_of_row
}
block_task! {
    /// The backward's first pass: weights into the scratch, Σ a·da into the sums of `dot`; `stats` holds
    /// shifts and inverses.
    Dot { stats, dot } => dot_of_row
}
block_task! {
    /// The backward's second pass: the gradients from the weights and Σ a·da.
    Gradients { stats, dot } => gradients_of_row
}

/// Where the maxima and inverses of slices that are rows lie: the first's, and the distance in bytes to
/// the next. Null where nobody wants them.
#[derive(Clone, Copy)]
pub struct Saved {
    pub data: *mut u8,
    pub step: isize,
}

impl Saved {
    #[inline(always)]
    unsafe fn at<A>(&self, row: usize) -> *mut A {
        self.data.wrapping_offset(row as isize * self.step).cast()
    }
}

/// The whole forward of slices that are a row each.
pub struct ForwardRows<'a, O: Op> {
    pub work: Work<'a, O>,
    pub maxima: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for ForwardRows<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        type Slice<O, I> = Running<Registers<O, I>, false>;
        let Work { rows, scratch, .. } = self.work;
        for row in 0..rows {
            let mut stats = Slice::<O, I>::of_slice(Acc::<O>::NEG_INFINITY, Acc::<O>::ZERO);
            scores_of_row(&self.work, row, scratch, &mut stats);
            let shift = shift(stats.maximum.reduce_max());
            stats.maximum = Vector::splat(shift);
            exponentials_of_row(&self.work, row, scratch, &mut stats);
            let inverse = inverse(stats.total());
            stats.sum = Vector::splat(inverse);
            if !self.maxima.data.is_null() {
                *self.maxima.at(row) = shift;
                *self.inverses.at(row) = inverse;
            }
            outputs_of_row(&self.work, row, scratch, &mut stats);
        }
    }
}

/// The whole backward of slices that are a row each.
pub struct BackwardRows<'a, O: Op> {
    pub work: Work<'a, O>,
    pub maxima: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for BackwardRows<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        type Slice<O, I> = Running<Registers<O, I>, false>;
        let Work { rows, scratch, .. } = self.work;
        for row in 0..rows {
            let mut stats = Slice::<O, I>::of_slice(*self.maxima.at(row), *self.inverses.at(row));
            let mut sum = Slice::<O, I>::of_slice(Acc::<O>::ZERO, Acc::<O>::ZERO);
            dot_of_row(&self.work, row, scratch, &mut stats, &mut sum);
            sum.sum = Vector::splat(sum.total());
            gradients_of_row(&self.work, row, scratch, &mut stats, &mut sum);
        }
    }
}

#[inline(always)]
unsafe fn scores_of_row<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    work: &Work<O>,
    row: usize,
    z: *mut V::Scalar,
    stats: &mut Running<V, LANEWISE>,
) {
    let inputs = work.op.inputs(work.block, row);
    for_registers!(V, work.len, |i, n, FULL| {
        let score = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
        score.store(z.add(i));
        stats.see(i, score);
    });
}

/// The scores of `n` elements; −∞ in the lanes beyond.
#[inline(always)]
unsafe fn padded_score<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    i: usize,
    n: usize,
) -> V {
    let score = op.score::<V, FULL>(inputs, i, n);
    if FULL { score } else { score.first(n) }
}

#[inline(always)]
unsafe fn exponentials_of_row<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    work: &Work<O>,
    row: usize,
    z: *mut V::Scalar,
    stats: &mut Running<V, LANEWISE>,
) {
    for i in (0..work.len).step_by(V::LANES) {
        let e = V::load(z.add(i)).sub(stats.maximum(i)).exp2();
        e.store(z.add(i));
        stats.add(i, e);
    }
    stats.end_row(row, work.len);
}

#[inline(always)]
unsafe fn outputs_of_row<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    work: &Work<O>,
    row: usize,
    e: *mut V::Scalar,
    stats: &mut Running<V, LANEWISE>,
) {
    if work.block.is_absent(WEIGHTS) {
        store_outputs::<O, V, LANEWISE, false>(work, row, e, stats);
    } else {
        store_outputs::<O, V, LANEWISE, true>(work, row, e, stats);
    }
}

#[inline(always)]
unsafe fn store_outputs<
    O: Op,
    V: Register<O::T>,
    const LANEWISE: bool,
    const WITH_WEIGHTS: bool,
>(
    work: &Work<O>,
    row: usize,
    e: *const V::Scalar,
    stats: &Running<V, LANEWISE>,
) {
    let inputs = work.op.inputs(work.block, row);
    let y_output = work.block.output::<O::T>(Y, row);
    let weight_output = work.block.output::<O::T>(WEIGHTS, row);
    for_registers!(V, work.len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let a = V::load(e.add(i)).mul(inverse);
        let y = zero_if_empty(a.mul(work.op.value::<V, FULL>(&inputs, i, n)), inverse);
        y_output.store::<V, FULL>(work.op.add_residual::<V, FULL>(y, &inputs, i, n), i, n);
        if WITH_WEIGHTS {
            weight_output.store::<V, FULL>(a, i, n);
        }
    });
}

/// The gradients of the output and of the weights along one row.
struct Arriving<T> {
    y: Source<T>,
    weights: Source<T>,
}

impl<T: Element> Arriving<T> {
    #[inline(always)]
    fn new(block: &Block, row: usize) -> Self {
        Arriving {
            y: block.source(Y, row),
            weights: block.source(WEIGHTS, row),
        }
    }

    /// The gradients of the output and, through y = a·v, of a.
    #[inline(always)]
    unsafe fn load<V: Register<T>, const FULL: bool>(
        &self,
        value: V,
        i: usize,
        n: usize,
    ) -> (V, V) {
        let y = self.y.load::<V, FULL>(i, n);
        let da = y.mul(value);
        let is_absent = self.weights.is_absent();
        (
            y,
            if is_absent {
                da
            } else {
                da.add(self.weights.load::<V, FULL>(i, n))
            },
        )
    }
}

#[inline(always)]
unsafe fn dot_of_row<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    work: &Work<O>,
    row: usize,
    a_out: *mut V::Scalar,
    stats: &mut Running<V, LANEWISE>,
    dot: &mut Running<V, LANEWISE>,
) {
    let inputs = work.op.inputs(work.block, row);
    let arriving = Arriving::<O::T>::new(work.block, row);
    for_registers!(V, work.len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let z = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
        let a = z.sub(stats.maximum(i)).exp2().mul(inverse);
        a.store(a_out.add(i));
        let (_, da) = arriving.load::<V, FULL>(work.op.value::<V, FULL>(&inputs, i, n), i, n);
        dot.add(i, zero_if_empty(a.mul(da), inverse));
    });
    dot.end_row(row, work.len);
}

#[inline(always)]
unsafe fn gradients_of_row<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    work: &Work<O>,
    row: usize,
    a_in: *mut V::Scalar,
    stats: &mut Running<V, LANEWISE>,
    dot: &mut Running<V, LANEWISE>,
) {
    let inputs = work.op.inputs(work.block, row);
    let sinks = work.op.gradients(work.block, row);
    let arriving = Arriving::<O::T>::new(work.block, row);
    for_registers!(V, work.len, |i, n, FULL| {
        let a = V::load(a_in.add(i));
        let (y, da) = arriving.load::<V, FULL>(work.op.value::<V, FULL>(&inputs, i, n), i, n);
        let z = a.mul(da.sub(dot.sum(i)));
        let grad = Upstream {
            y,
            z,
            v: y.mul(a),
            inverse: stats.sum(i),
        };
        work.op
            .put_gradients::<V, FULL>(&inputs, &sinks, grad, i, n);
    });
}
