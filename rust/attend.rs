//! Forward and backward of an op over whole arrays: the work cut into units, each done in cache.
//!
//! A slice whose scores fit in the cache is read once. A longer one is cut into pieces and read twice:
//! once for the maximum and sum of every piece, once for the result. How the work is cut depends on
//! the shapes alone, never on the number of threads, so neither do the bits of the result.

use crate::accumulate::Accumulators;
use crate::block::{Block, Role, Scratch, Staging};
use crate::dispatch::Direction;
use crate::kernel::{
    self, Acc, BackwardRows, Compensated, Dot, Exponentials, ForwardRows, GRADIENTS, Gradients,
    INVERSE, MAXIMUM, Op, Outputs, Saved, Scores, Stats, WEIGHTS, Y,
};
use crate::layout::{Form, Layout, MAX_OPERANDS, Operand, PerOperand, WIDEST, count, offsets};
use crate::memory;
use crate::numerics::{Element, Float};
use crate::parallel;
use crate::simd::Simd;

/// Scores that are kept in the cache for one unit of work; a slice with more is read in two passes.
const SLICE_BYTES: usize = 128 * 1024;
/// A unit of work has about this many elements, so that threads share the work evenly.
const UNIT_ELEMENTS: usize = 16 * 1024;
/// The same where operands must be copied, so that the copies stay in the nearest cache.
const COPIED_UNIT_ELEMENTS: usize = 2 * 1024;
/// A call: the broadcast shape, which of its axes the softmax goes over, and the operands by number.
pub struct Call {
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub operands: Vec<Operand>,
}

/// Outputs (and, where asked for, weights, maxima and inverses) from the inputs.
pub fn forward<O: Op>(op: O, call: &Call, simd: Simd) {
    run(op, call, simd, Direction::Forward);
}

/// Gradients of the inputs from the inputs, the maxima and inverses that `forward` gave, and the
/// gradients of the output (operand `Y`) and of the weights (operand `WEIGHTS`, may be absent).
pub fn backward<O: Op>(op: O, call: &Call, simd: Simd) {
    run(op, call, simd, Direction::Backward);
}

fn run<O: Op>(op: O, call: &Call, simd: Simd, direction: Direction) {
    let total: usize = call.shape.iter().product();
    let mut operands = call.operands.clone();
    let accumulators = match direction {
        Direction::Forward => Accumulators::none(),
        Direction::Backward => Accumulators::new::<O::T>(&call.shape, &mut operands[GRADIENTS..]),
    };
    if total == 0 {
        accumulators
            .allocate(0)
            .reduce_into::<O::T>(&call.operands[GRADIENTS..]);
        return;
    }
    let results = match direction {
        Direction::Forward => &call.operands[Y..=WEIGHTS],
        Direction::Backward => &call.operands[GRADIENTS..],
    };
    for operand in results.iter().filter(|operand| !operand.is_absent()) {
        memory::advise_huge_pages(operand, &call.shape);
    }
    let mut plan = Plan::new::<O>(call, operands, direction);
    let items = plan.units * plan.pieces.len().max(1);
    let groups = accumulators.groups(items, total);
    let accumulators = accumulators.allocate(groups);
    accumulators.attach(&mut plan.base[GRADIENTS..]);
    let work = Work {
        op,
        plan: &plan,
        accumulators: &accumulators,
        items,
        groups,
        direction,
    };
    if plan.pieces.is_empty() {
        work.in_parallel(total, simd, Pass::Whole);
    } else {
        let partials = Partials::new(&plan, size_of::<<O::T as Element>::Acc>());
        work.in_parallel(total, simd, Pass::Reduce(&partials));
        combine::<O>(&plan, &partials, direction);
        work.in_parallel(total, simd, Pass::Apply(&partials));
    }
    accumulators.reduce_into::<O::T>(&call.operands[GRADIENTS..]);
}

/// A part of a slice that is too long for the cache.
#[derive(Clone, Copy)]
struct Piece {
    extra: usize,
    row: usize,
    rows: usize,
    start: usize,
    len: usize,
}

/// How a call is cut into units (and long slices into pieces).
struct Plan {
    layout: Layout,
    base: PerOperand<*mut u8>,
    item: PerOperand<usize>,
    role: PerOperand<Role>,
    present: PerOperand<bool>,
    units: usize,
    /// Rows (form RowIsSlice) or lanes (form Lanewise) of a unit.
    span: usize,
    /// Elements of scratch along one row: the row's length in whole registers.
    pitch: usize,
    /// Empty where a unit's scores fit in the cache.
    pieces: Vec<Piece>,
}

// The pointers are to the operands, which the caller keeps alive.
unsafe impl Sync for Plan {}

impl Plan {
    fn new<O: Op>(call: &Call, operands: Vec<Operand>, direction: Direction) -> Plan {
        let primary = primary(&operands, &call.shape, direction);
        let mut layout = Layout::new(&call.shape, &call.softmax, &operands, primary);
        let most = SLICE_BYTES / size_of::<<O::T as Element>::Acc>();
        let slice_rows = count(&layout.extra) * layout.rows.size;
        let slice = match layout.form {
            Form::RowIsSlice => layout.inner.size,
            Form::BlockIsSlice => slice_rows * layout.inner.size,
            Form::Lanewise => slice_rows * WIDEST.min(layout.inner.size),
        };
        if slice > most {
            layout = layout.with_single_slices();
        }
        let is_copied = |(j, operand): (usize, &Operand)| {
            takes_part(j, operand) && layout.inner.strides[j] != operand.item as isize
        };
        let copies = operands.iter().enumerate().any(is_copied);
        let unit = if copies {
            COPIED_UNIT_ELEMENTS
        } else {
            UNIT_ELEMENTS
        };
        let span = match layout.form {
            Form::RowIsSlice => (unit / layout.inner.size).clamp(1, layout.rows.size),
            Form::BlockIsSlice => layout.inner.size,
            Form::Lanewise => {
                let lanes = (UNIT_ELEMENTS / slice_rows.max(1)) / WIDEST * WIDEST;
                lanes.clamp(WIDEST, 1024).min(layout.inner.size)
            }
        };
        let per_outer = match layout.form {
            Form::RowIsSlice => layout.rows.size.div_ceil(span),
            Form::BlockIsSlice => 1,
            Form::Lanewise => layout.inner.size.div_ceil(span),
        };
        let pitch = match layout.form {
            Form::Lanewise => span,
            _ => layout.inner.size.min(most),
        };
        let mut plan = Plan {
            units: count(&layout.outer) * per_outer,
            span,
            pitch: pitch.next_multiple_of(WIDEST),
            pieces: Vec::new(),
            base: [std::ptr::null_mut(); MAX_OPERANDS],
            item: [1; MAX_OPERANDS],
            role: [Role::Input; MAX_OPERANDS],
            present: [false; MAX_OPERANDS],
            layout,
        };
        plan.describe_operands(&operands, &call.shape, direction);
        if slice > most {
            plan.pieces = plan.cut(most);
        }
        plan
    }

    fn describe_operands(&mut self, operands: &[Operand], shape: &[usize], direction: Direction) {
        for (j, operand) in operands.iter().enumerate() {
            self.base[j] = operand.data;
            self.item[j] = operand.item;
            self.present[j] = takes_part(j, operand);
            self.role[j] = match direction {
                Direction::Forward if j == Y || j == WEIGHTS => Role::Store,
                Direction::Backward if j >= GRADIENTS && operand.is_broadcast(shape) => {
                    Role::Accumulate
                }
                Direction::Backward if j >= GRADIENTS => Role::Store,
                _ => Role::Input,
            };
        }
    }

    /// A unit's slice in pieces of at most `most` scores.
    fn cut(&self, most: usize) -> Vec<Piece> {
        let lanewise = self.layout.form == Form::Lanewise;
        let inner = if lanewise {
            self.pitch
        } else {
            self.layout.inner.size
        };
        let (rows, len) = ((most / inner).max(1), inner.min(most));
        let mut pieces = Vec::new();
        for extra in 0..count(&self.layout.extra) {
            for row in (0..self.layout.rows.size).step_by(rows) {
                let rows = rows.min(self.layout.rows.size - row);
                for start in (0..inner).step_by(len) {
                    pieces.push(Piece {
                        extra,
                        row,
                        rows,
                        start,
                        len: len.min(inner - start),
                    });
                }
            }
        }
        pieces
    }

    /// Where unit `unit` starts, its rows, and the length of its rows.
    fn unit(&self, unit: usize) -> (PerOperand<isize>, usize, usize) {
        let Layout {
            outer,
            rows,
            inner,
            form,
            ..
        } = &self.layout;
        let (axis, size) = match form {
            Form::RowIsSlice => (rows, rows.size),
            _ => (inner, inner.size),
        };
        let per_outer = size.div_ceil(self.span);
        let first = (unit % per_outer) * self.span;
        let span = self.span.min(size - first);
        let mut base = offsets(outer, unit / per_outer);
        for (offset, stride) in base.iter_mut().zip(&axis.strides) {
            *offset += first as isize * stride;
        }
        if *form == Form::RowIsSlice {
            (base, span, inner.size)
        } else {
            (base, rows.size, span)
        }
    }

    fn at(&self, offset: &PerOperand<isize>, operand: usize) -> *mut u8 {
        self.base[operand].wrapping_offset(offset[operand])
    }

    fn all_at(&self, offset: &PerOperand<isize>) -> PerOperand<*mut u8> {
        std::array::from_fn(|j| {
            if self.present[j] {
                self.at(offset, j)
            } else {
                std::ptr::null_mut()
            }
        })
    }

    /// The offset of a piece of the unit at `offset`.
    fn piece(&self, mut offset: PerOperand<isize>, piece: &Piece) -> PerOperand<isize> {
        let Layout {
            extra, rows, inner, ..
        } = &self.layout;
        let more = offsets(extra, piece.extra);
        for j in 0..MAX_OPERANDS {
            offset[j] += more[j]
                + piece.row as isize * rows.strides[j]
                + piece.start as isize * inner.strides[j];
        }
        offset
    }

    /// The most rows of a block, and the most elements of a row.
    fn largest_block(&self) -> (usize, usize) {
        match (self.pieces.first(), self.layout.form) {
            (Some(piece), _) => (piece.rows, piece.len),
            (None, Form::RowIsSlice) => (self.span, self.layout.inner.size),
            (None, _) => (self.layout.rows.size, self.span),
        }
    }

    fn lanes(&self) -> usize {
        if self.layout.form == Form::Lanewise {
            self.pitch
        } else {
            1
        }
    }

    /// Pairs of maximum and sum that a unit's [`Stats`] hold.
    fn statistics(&self) -> usize {
        if self.layout.form == Form::Lanewise {
            self.pitch
        } else {
            WIDEST
        }
    }
}

/// Whether an operand is there and is read or written element by element.
fn takes_part(j: usize, operand: &Operand) -> bool {
    !operand.is_absent() && j != MAXIMUM && j != INVERSE
}

/// The operand that decides the order of the loops: one that is as large as the broadcast shape.
fn primary(operands: &[Operand], shape: &[usize], direction: Direction) -> usize {
    if direction == Direction::Forward {
        return Y;
    }
    let full = |j: &usize| !operands[*j].is_absent() && !operands[*j].is_broadcast(shape);
    (GRADIENTS..MAX_OPERANDS)
        .chain(0..=Y)
        .find(full)
        .unwrap_or(Y)
}

/// Maximum and sum of every piece, then of every unit, lane by lane.
struct Partials {
    pieces: Scratch,
    units: Scratch,
    lanes: usize,
    pieces_per_unit: usize,
}

impl Partials {
    fn new(plan: &Plan, item: usize) -> Partials {
        let lanes = plan.lanes();
        let pair = 2 * lanes * item;
        Partials {
            pieces: Scratch::zeroed(plan.units * plan.pieces.len() * pair),
            units: Scratch::zeroed(plan.units * pair),
            lanes,
            pieces_per_unit: plan.pieces.len(),
        }
    }

    unsafe fn piece<A>(&self, index: usize) -> *mut A {
        self.pieces.as_ptr::<A>().add(2 * self.lanes * index)
    }

    unsafe fn unit<A>(&self, unit: usize) -> *mut A {
        self.units.as_ptr::<A>().add(2 * self.lanes * unit)
    }
}

/// Each unit's pieces into one: shift and inverse (forward) or Σ a·da (backward).
fn combine<O: Op>(plan: &Plan, partials: &Partials, direction: Direction) {
    let (zero, low) = (Acc::<O>::ZERO, Acc::<O>::NEG_INFINITY);
    for unit in 0..plan.units {
        for lane in 0..partials.lanes {
            let pieces = (0..partials.pieces_per_unit).map(|p| unsafe {
                let pair = partials
                    .piece::<Acc<O>>(unit * partials.pieces_per_unit + p)
                    .add(2 * lane);
                (*pair, *pair.add(1))
            });
            let result = unsafe { partials.unit::<Acc<O>>(unit).add(2 * lane) };
            let (maximum, sum) = if direction == Direction::Backward {
                (
                    zero,
                    pieces
                        .fold(Compensated::ZERO, |sum, (_, s)| sum.add(s))
                        .total(),
                )
            } else {
                let maximum = pieces
                    .clone()
                    .fold(low, |m, (x, _)| if x > m { x } else { m });
                let shift = kernel::shift(maximum);
                let sum = pieces.fold(Compensated::ZERO, |sum, (m, s)| {
                    if m == low && s == zero {
                        sum
                    } else {
                        sum.add(s * (kernel::shift(m) - shift).exp2())
                    }
                });
                let sum = sum.total();
                (shift, kernel::inverse(sum))
            };
            unsafe {
                *result = maximum;
                *result.add(1) = sum;
            }
        }
    }
}

/// What a pass over all units does.
#[derive(Clone, Copy)]
enum Pass<'a> {
    /// Everything, of units that fit in the cache.
    Whole,
    /// Of each piece, the maximum and sum (forward) or Σ a·da (backward).
    Reduce(&'a Partials),
    /// The results, once these are known.
    Apply(&'a Partials),
}

struct Work<'a, O> {
    op: O,
    plan: &'a Plan,
    accumulators: &'a Accumulators,
    /// Units, or pieces of all units.
    items: usize,
    groups: usize,
    direction: Direction,
}

impl<O: Op> Work<'_, O> {
    fn in_parallel(&self, total: usize, simd: Simd, pass: Pass) {
        parallel::for_each(self.groups, total, |group| unsafe {
            Group {
                work: self,
                group,
                pass,
                simd,
                space: Workspace::new(self.plan),
            }
            .run();
        });
    }
}

/// A run of consecutive items, done by one thread.
struct Group<'a, 'b, O: Op> {
    work: &'a Work<'b, O>,
    group: usize,
    pass: Pass<'a>,
    simd: Simd,
    space: Workspace<Acc<O>>,
}

/// What one thread needs: the copies of operands that are not contiguous, and scratch.
struct Workspace<A> {
    staging: Staging,
    scores: *mut A,
    statistics: *mut A,
    dots: *mut A,
    _memory: Scratch,
}

impl<A: Float> Workspace<A> {
    fn new(plan: &Plan) -> Workspace<A> {
        let rows = match (plan.pieces.first(), plan.layout.form) {
            (Some(piece), _) => piece.rows,
            (None, Form::RowIsSlice) => 1,
            (None, _) => count(&plan.layout.extra) * plan.layout.rows.size,
        };
        let (scores, lanes) = (rows * plan.pitch, Stats::<A>::NUMBERS * plan.statistics());
        let memory = Scratch::zeroed((scores + 2 * lanes) * size_of::<A>());
        let p = memory.as_ptr::<A>();
        let Layout { rows, inner, .. } = plan.layout;
        Workspace {
            staging: Staging::new(
                rows,
                inner,
                plan.item,
                plan.role,
                plan.present,
                plan.largest_block(),
            ),
            scores: p,
            statistics: p.wrapping_add(scores),
            dots: p.wrapping_add(scores + lanes),
            _memory: memory,
        }
    }
}

/// A unit, or a piece of one: what the passes over it need to know.
struct Part<'a> {
    offset: &'a PerOperand<isize>,
    rows: usize,
    len: usize,
    /// Slices side by side: 1 unless lanewise.
    slices: usize,
}

impl<O: Op> Group<'_, '_, O> {
    unsafe fn run(&self) {
        let (work, plan) = (self.work, self.work.plan);
        let first = self.group * work.items / work.groups;
        let end = (self.group + 1) * work.items / work.groups;
        let pieces = plan.pieces.len().max(1);
        for item in first..end {
            let (mut offset, rows, len) = plan.unit(item / pieces);
            work.accumulators
                .move_to_group(self.group, &mut offset[GRADIENTS..]);
            let slices = if plan.layout.form == Form::Lanewise {
                len
            } else {
                1
            };
            let part = Part {
                offset: &offset,
                rows,
                len,
                slices,
            };
            match (self.pass, plan.layout.form) {
                (Pass::Whole, Form::RowIsSlice) => self.rows(part),
                (Pass::Whole, _) => self.block(part),
                (Pass::Reduce(to), _) => self.reduce(part, item, to),
                (Pass::Apply(from), _) => self.apply(part, item, from),
            }
        }
    }

    fn is_forward(&self) -> bool {
        self.work.direction == Direction::Forward
    }

    /// No statistics as yet, in the workspace's memory for `memory`.
    unsafe fn stats(&self, memory: *mut Acc<O>) -> Stats<Acc<O>> {
        let plan = self.work.plan;
        Stats::new(
            memory,
            plan.statistics(),
            plan.layout.form == Form::Lanewise,
        )
    }

    /// A block for the kernels, with scratch from row `first` on.
    fn kernel_work<'a>(
        &'a self,
        block: &'a Block,
        rows: usize,
        len: usize,
        first: usize,
    ) -> kernel::Work<'a, O> {
        let pitch = self.work.plan.pitch;
        let scratch = self.space.scores.wrapping_add(first * pitch);
        kernel::Work {
            op: &self.work.op,
            block,
            rows,
            len,
            scratch,
            pitch,
        }
    }

    /// Slices that are one row each.
    unsafe fn rows(&self, part: Part) {
        let plan = self.work.plan;
        let base = plan.all_at(part.offset);
        let block = self.space.staging.open(&base, part.rows, part.len);
        let work = self.kernel_work(&block, part.rows, part.len, 0);
        let [maxima, inverses] = [MAXIMUM, INVERSE].map(|j| {
            let is_absent = plan.base[j].is_null();
            let data = if is_absent {
                plan.base[j]
            } else {
                plan.at(part.offset, j)
            };
            Saved {
                data,
                step: plan.layout.rows.strides[j],
            }
        });
        if self.is_forward() {
            self.simd.dispatch(ForwardRows {
                work,
                maxima,
                inverses,
            });
        } else {
            self.simd.dispatch(BackwardRows {
                work,
                maxima,
                inverses,
            });
        }
        self.space
            .staging
            .close::<Acc<O>>(&block, &base, part.rows, part.len);
    }

    /// One slice of several rows, or as many as a row is long.
    unsafe fn block(&self, part: Part) {
        let plan = self.work.plan;
        let extras = count(&plan.layout.extra);
        let stats = self.stats(self.space.statistics);
        let dot = self.stats(self.space.dots);
        let open = |extra| {
            let more = offsets(&plan.layout.extra, extra);
            let base = plan.all_at(&std::array::from_fn(|j| part.offset[j] + more[j]));
            (self.space.staging.open(&base, part.rows, part.len), base)
        };
        if !self.is_forward() {
            self.restore(&part, &stats);
        }
        for extra in 0..extras {
            let (block, _) = open(extra);
            let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
            self.first_pass(work, stats, dot);
        }
        if self.is_forward() {
            stats.finish();
            stats.maxima_to_shifts();
            for extra in 0..extras {
                let (block, _) = open(extra);
                let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
                self.simd.dispatch(Exponentials { work, stats });
            }
            stats.finish();
            stats.sums_to_inverses();
            self.save(&part, &stats);
        } else {
            dot.finish();
        }
        for extra in 0..extras {
            let (block, base) = open(extra);
            let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
            self.last_pass(work, stats, dot);
            self.space
                .staging
                .close::<Acc<O>>(&block, &base, part.rows, part.len);
        }
    }

    unsafe fn first_pass(&self, work: kernel::Work<O>, stats: Stats<Acc<O>>, dot: Stats<Acc<O>>) {
        if self.is_forward() {
            self.simd.dispatch(Scores { work, stats });
        } else {
            self.simd.dispatch(Dot { work, stats, dot });
        }
    }

    unsafe fn last_pass(&self, work: kernel::Work<O>, stats: Stats<Acc<O>>, dot: Stats<Acc<O>>) {
        if self.is_forward() {
            self.simd.dispatch(Outputs { work, stats });
        } else {
            self.simd.dispatch(Gradients { work, stats, dot });
        }
    }

    /// A piece's block and its base; its rows and length.
    unsafe fn open_piece(
        &self,
        part: &Part,
        item: usize,
    ) -> (Block, PerOperand<*mut u8>, usize, usize) {
        let plan = self.work.plan;
        let piece = &plan.pieces[item % plan.pieces.len()];
        let len = if plan.layout.form == Form::Lanewise {
            part.len
        } else {
            piece.len
        };
        let base = plan.all_at(&plan.piece(*part.offset, piece));
        (
            self.space.staging.open(&base, piece.rows, len),
            base,
            piece.rows,
            len,
        )
    }

    /// Maximum and sum, or Σ a·da, of a piece.
    unsafe fn reduce(&self, part: Part, item: usize, to: &Partials) {
        let (block, _, rows, len) = self.open_piece(&part, item);
        let work = self.kernel_work(&block, rows, len, 0);
        let stats = self.stats(self.space.statistics);
        let dot = self.stats(self.space.dots);
        let partial = to.piece::<Acc<O>>(item);
        if self.is_forward() {
            self.first_pass(work, stats, dot);
            stats.finish();
            for i in 0..part.slices {
                *partial.add(2 * i) = stats.get(i).0;
            }
            stats.maxima_to_shifts();
            self.simd.dispatch(Exponentials { work, stats });
        } else {
            self.restore(&part, &stats);
            self.first_pass(work, stats, dot);
        }
        let sums = if self.is_forward() { stats } else { dot };
        sums.finish();
        for i in 0..part.slices {
            *partial.add(2 * i + 1) = sums.get(i).1;
        }
    }

    /// The results of a piece, whose slice's statistics are known.
    unsafe fn apply(&self, part: Part, item: usize, from: &Partials) {
        let (block, base, rows, len) = self.open_piece(&part, item);
        let work = self.kernel_work(&block, rows, len, 0);
        let known = self.stats(self.space.dots);
        let pair = from.unit::<Acc<O>>(item / self.work.plan.pieces.len());
        for i in 0..part.slices {
            known.set_slice(i, *pair.add(2 * i), *pair.add(2 * i + 1));
        }
        // The pieces' scores or weights were not kept: compute them again, and ignore what they sum to.
        let again = self.stats(self.space.statistics);
        if self.is_forward() {
            self.first_pass(work, again, known);
            (0..part.slices).for_each(|i| again.set_slice(i, known.get(i).0, Acc::<O>::ZERO));
            self.simd.dispatch(Exponentials { work, stats: again });
            self.save(&part, &known);
            self.last_pass(work, known, again);
        } else {
            self.restore(&part, &again);
            self.first_pass(work, again, known);
            (0..part.slices)
                .for_each(|i| known.set_slice(i, *pair.add(2 * i), *pair.add(2 * i + 1)));
            self.last_pass(work, again, known);
        }
        self.space.staging.close::<Acc<O>>(&block, &base, rows, len);
    }

    /// Shifts and inverses out to their operands, where these are present.
    unsafe fn save(&self, part: &Part, stats: &Stats<Acc<O>>) {
        if !self.work.plan.base[MAXIMUM].is_null() {
            for i in 0..part.slices {
                let (shift, inverse) = stats.get(i);
                *self.saved(part, MAXIMUM, i) = shift;
                *self.saved(part, INVERSE, i) = inverse;
            }
        }
    }

    unsafe fn restore(&self, part: &Part, stats: &Stats<Acc<O>>) {
        for i in 0..part.slices {
            stats.set_slice(
                i,
                *self.saved(part, MAXIMUM, i),
                *self.saved(part, INVERSE, i),
            );
        }
    }

    fn saved(&self, part: &Part, operand: usize, slice: usize) -> *mut Acc<O> {
        let plan = self.work.plan;
        let step = plan.layout.inner.strides[operand];
        plan.at(part.offset, operand)
            .wrapping_offset(slice as isize * step)
            .cast()
    }
}
