//! Forward and backward of an op over whole arrays: the work cut into units, each done in cache.
//!
//! A slice whose scores fit in the cache is read once. A longer one is cut into pieces and read twice:
//! once for the maximum and sum of every piece, once for the result. How the work is cut depends on
//! the shapes alone, never on the number of threads, so neither do the bits of the result.

use crate::accumulate::Accumulators;
use crate::block::{Block, Register, Role, Scratch, Staging};
use crate::dispatch::Direction;
use crate::kernel::{self, GRADIENTS, INVERSE, MAXIMUM, Op, Stats, WEIGHTS, Y};
use crate::layout::{Form, Layout, MAX_OPERANDS, Operand, PerOperand, count, offsets};
use crate::numerics::{Element, Float};
use crate::parallel;
use crate::simd::{Isa, Simd, Task, Vector};

/// Scores that are kept in the cache for one unit of work; a slice with more is read in two passes.
const SLICE_BYTES: usize = 128 * 1024;
/// A unit of work has about this many elements, so that threads share the work evenly.
const UNIT_ELEMENTS: usize = 16 * 1024;
/// The widest register in elements, and the least number of lanes of a lanewise unit.
const WIDEST: usize = 16;

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
        accumulators.allocate(0).reduce_into::<O::T>(&call.operands[GRADIENTS..]);
        return;
    }
    let mut plan = Plan::new::<O>(call, operands, direction);
    let items = plan.units * plan.pieces.len().max(1);
    let groups = accumulators.groups(items, total);
    let accumulators = accumulators.allocate(groups);
    accumulators.attach(&mut plan.base[GRADIENTS..]);
    let work = Work { op, plan: &plan, accumulators: &accumulators, items, groups, direction };
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
        let span = match layout.form {
            Form::RowIsSlice => (UNIT_ELEMENTS / layout.inner.size).clamp(1, layout.rows.size),
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
            self.present[j] = !operand.is_absent() && j != MAXIMUM && j != INVERSE;
            self.role[j] = match direction {
                Direction::Forward if j == Y || j == WEIGHTS => Role::Store,
                Direction::Backward if j >= GRADIENTS && operand.is_broadcast(shape) => Role::Accumulate,
                Direction::Backward if j >= GRADIENTS => Role::Store,
                _ => Role::Input,
            };
        }
    }

    /// A unit's slice in pieces of at most `most` scores.
    fn cut(&self, most: usize) -> Vec<Piece> {
        let lanewise = self.layout.form == Form::Lanewise;
        let inner = if lanewise { self.pitch } else { self.layout.inner.size };
        let (rows, len) = ((most / inner).max(1), inner.min(most));
        let mut pieces = Vec::new();
        for extra in 0..count(&self.layout.extra) {
            for row in (0..self.layout.rows.size).step_by(rows) {
                let rows = rows.min(self.layout.rows.size - row);
                for start in (0..inner).step_by(len) {
                    pieces.push(Piece { extra, row, rows, start, len: len.min(inner - start) });
                }
            }
        }
        pieces
    }

    /// Where unit `unit` starts, its rows, and the length of its rows.
    fn unit(&self, unit: usize) -> (PerOperand<isize>, usize, usize) {
        let Layout { outer, rows, inner, form, .. } = &self.layout;
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
        if *form == Form::RowIsSlice { (base, span, inner.size) } else { (base, rows.size, span) }
    }

    fn at(&self, offset: &PerOperand<isize>, operand: usize) -> *mut u8 {
        self.base[operand].wrapping_offset(offset[operand])
    }

    fn all_at(&self, offset: &PerOperand<isize>) -> PerOperand<*mut u8> {
        std::array::from_fn(|j| {
            if self.present[j] { self.at(offset, j) } else { std::ptr::null_mut() }
        })
    }

    /// The offset of a piece of the unit at `offset`.
    fn piece(&self, mut offset: PerOperand<isize>, piece: &Piece) -> PerOperand<isize> {
        let Layout { extra, rows, inner, .. } = &self.layout;
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
        if self.layout.form == Form::Lanewise { self.pitch } else { 1 }
    }
}

/// The operand that decides the order of the loops: one that is as large as the broadcast shape.
fn primary(operands: &[Operand], shape: &[usize], direction: Direction) -> usize {
    if direction == Direction::Forward {
        return Y;
    }
    let full = |j: &usize| !operands[*j].is_absent() && !operands[*j].is_broadcast(shape);
    (GRADIENTS..MAX_OPERANDS).chain(0..=Y).find(full).unwrap_or(Y)
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
    type Acc<O> = <<O as Op>::T as Element>::Acc;
    let (zero, low) = (Acc::<O>::ZERO, Acc::<O>::NEG_INFINITY);
    for unit in 0..plan.units {
        for lane in 0..partials.lanes {
            let pieces = (0..partials.pieces_per_unit).map(|p| unsafe {
                let pair = partials.piece::<Acc<O>>(unit * partials.pieces_per_unit + p).add(2 * lane);
                (*pair, *pair.add(1))
            });
            let result = unsafe { partials.unit::<Acc<O>>(unit).add(2 * lane) };
            let (maximum, sum) = if direction == Direction::Backward {
                (zero, pieces.fold(zero, |sum, (_, s)| sum + s))
            } else {
                let maximum = pieces.clone().fold(low, |m, (x, _)| if x > m { x } else { m });
                let shift = if maximum == low { zero } else { maximum };
                let sum = pieces.fold(zero, |sum, (m, s)| {
                    if m == low && s == zero { sum } else { sum + s * (m - shift).exp() }
                });
                (shift, if sum == zero { zero } else { Acc::<O>::ONE / sum })
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
        parallel::for_each(self.groups, total, |group| {
            simd.dispatch(Group { work: self, group, pass });
        });
    }
}

/// A run of consecutive items, done by one thread.
struct Group<'a, 'b, O> {
    work: &'a Work<'b, O>,
    group: usize,
    pass: Pass<'a>,
}

impl<O: Op> Task for Group<'_, '_, O> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        type Registers<O, I> = <<O as Op>::T as Element>::Vector<I>;
        if self.work.plan.layout.form == Form::Lanewise {
            self.run_items::<Registers<O, I>, true>();
        } else {
            self.run_items::<Registers<O, I>, false>();
        }
    }
}

/// What one thread needs: the copies of operands that are not contiguous, and scratch.
struct Workspace<A> {
    staging: Staging,
    scores: *mut A,
    statistics: *mut A,
    dots: *mut A,
    _memory: Scratch,
}

impl<A> Workspace<A> {
    fn new(plan: &Plan) -> Workspace<A> {
        let rows = match (plan.pieces.first(), plan.layout.form) {
            (Some(piece), _) => piece.rows,
            (None, Form::RowIsSlice) => 1,
            (None, _) => count(&plan.layout.extra) * plan.layout.rows.size,
        };
        let (scores, lanes) = (rows * plan.pitch, plan.pitch);
        let memory = Scratch::zeroed((scores + 4 * lanes) * size_of::<A>());
        let p = memory.as_ptr::<A>();
        let Layout { rows, inner, .. } = plan.layout;
        Workspace {
            staging: Staging::new(rows, inner, plan.item, plan.role, plan.present, plan.largest_block()),
            scores: p,
            statistics: p.wrapping_add(scores),
            dots: p.wrapping_add(scores + 2 * lanes),
            _memory: memory,
        }
    }
}

impl<O: Op> Group<'_, '_, O> {
    #[inline(always)]
    unsafe fn run_items<V: Register<O::T>, const LANEWISE: bool>(&self) {
        let work = self.work;
        let space = Workspace::new(work.plan);
        let first = self.group * work.items / work.groups;
        let end = (self.group + 1) * work.items / work.groups;
        let pieces = work.plan.pieces.len().max(1);
        for item in first..end {
            let (mut offset, rows, len) = work.plan.unit(item / pieces);
            work.accumulators.move_to_group(self.group, &mut offset[GRADIENTS..]);
            match (self.pass, work.plan.layout.form) {
                (Pass::Whole, Form::RowIsSlice) => self.rows::<V>(&space, &offset, rows, len),
                (Pass::Whole, _) => self.block::<V, LANEWISE>(&space, &offset, rows, len),
                (Pass::Reduce(to), _) => self.reduce::<V, LANEWISE>(&space, &offset, len, item, to),
                (Pass::Apply(from), _) => self.apply::<V, LANEWISE>(&space, &offset, len, item, from),
            }
        }
    }

    /// Slices that are one row each.
    #[inline(always)]
    unsafe fn rows<V: Register<O::T>>(
        &self,
        space: &Workspace<V::Scalar>,
        offset: &PerOperand<isize>,
        rows: usize,
        len: usize,
    ) {
        let (op, plan) = (&self.work.op, self.work.plan);
        let base = plan.all_at(offset);
        let block = space.staging.open(&base, rows, len);
        let mut offset = *offset;
        for row in 0..rows {
            let mut stats = Stats::<V, false>::new(space.statistics, 0);
            if self.work.direction == Direction::Forward {
                kernel::scores(op, &op.inputs(&block, row), len, space.scores, &mut stats);
                stats.finish_maxima();
                stats.maxima_to_shifts(1);
                kernel::exponentials(space.scores, len, &mut stats);
                stats.finish_sums();
                stats.sums_to_inverses(1);
                self.save(&offset, &stats, 1);
                kernel::outputs(op, &block, row, len, space.scores, &stats);
            } else {
                self.restore(&offset, &mut stats, 1);
                let mut dot = Stats::<V, false>::new(space.dots, 0);
                kernel::dot(op, &block, row, len, space.scores, &stats, &mut dot);
                dot.finish_sums();
                kernel::gradients(op, &block, row, len, space.scores, &stats, &dot);
            }
            for j in [MAXIMUM, INVERSE] {
                offset[j] += plan.layout.rows.strides[j];
            }
        }
        space.staging.close::<V::Scalar>(&block, &base, rows, len);
    }

    /// One slice of several rows, or as many as a row is long.
    #[inline(always)]
    unsafe fn block<V: Register<O::T>, const LANEWISE: bool>(
        &self,
        space: &Workspace<V::Scalar>,
        offset: &PerOperand<isize>,
        rows: usize,
        len: usize,
    ) {
        let (op, plan) = (&self.work.op, self.work.plan);
        let extras = count(&plan.layout.extra);
        let pitch = plan.pitch;
        let slices = if LANEWISE { len } else { 1 };
        let mut stats = Stats::<V, LANEWISE>::new(space.statistics, pitch);
        let mut dot = Stats::<V, LANEWISE>::new(space.dots, pitch);
        let open = |extra| {
            let more = offsets(&plan.layout.extra, extra);
            let base = plan.all_at(&std::array::from_fn(|j| offset[j] + more[j]));
            (space.staging.open(&base, rows, len), base)
        };
        let scratch = |extra: usize, row: usize| space.scores.add((extra * rows + row) * pitch);
        if self.work.direction == Direction::Backward {
            self.restore(offset, &mut stats, slices);
        }
        for extra in 0..extras {
            let (block, _) = open(extra);
            for row in 0..rows {
                let z = scratch(extra, row);
                if self.work.direction == Direction::Forward {
                    kernel::scores(op, &op.inputs(&block, row), len, z, &mut stats);
                } else {
                    kernel::dot(op, &block, row, len, z, &stats, &mut dot);
                }
            }
        }
        if self.work.direction == Direction::Forward {
            stats.finish_maxima();
            stats.maxima_to_shifts(slices);
            for row in 0..extras * rows {
                kernel::exponentials(scratch(0, row), len, &mut stats);
            }
            stats.finish_sums();
            stats.sums_to_inverses(slices);
            self.save(offset, &stats, slices);
        } else {
            dot.finish_sums();
        }
        for extra in 0..extras {
            let (block, base) = open(extra);
            for row in 0..rows {
                let z = scratch(extra, row);
                if self.work.direction == Direction::Forward {
                    kernel::outputs(op, &block, row, len, z, &stats);
                } else {
                    kernel::gradients(op, &block, row, len, z, &stats, &dot);
                }
            }
            space.staging.close::<V::Scalar>(&block, &base, rows, len);
        }
    }

    /// The block of a piece, and its base.
    #[inline(always)]
    unsafe fn open_piece<A>(
        &self,
        space: &Workspace<A>,
        offset: &PerOperand<isize>,
        piece: &Piece,
        len: usize,
    ) -> (Block, PerOperand<*mut u8>) {
        let base = self.work.plan.all_at(&self.work.plan.piece(*offset, piece));
        (space.staging.open(&base, piece.rows, len), base)
    }

    #[inline(always)]
    unsafe fn reduce<V: Register<O::T>, const LANEWISE: bool>(
        &self,
        space: &Workspace<V::Scalar>,
        offset: &PerOperand<isize>,
        unit_len: usize,
        item: usize,
        to: &Partials,
    ) {
        let (op, plan) = (&self.work.op, self.work.plan);
        let piece = &plan.pieces[item % plan.pieces.len()];
        let len = if LANEWISE { unit_len } else { piece.len };
        let slices = if LANEWISE { len } else { 1 };
        let (block, _) = self.open_piece(space, offset, piece, len);
        let mut stats = Stats::<V, LANEWISE>::new(space.statistics, plan.pitch);
        let mut result = Stats::<V, LANEWISE>::new(space.dots, plan.pitch);
        if self.work.direction == Direction::Forward {
            for row in 0..piece.rows {
                let z = space.scores.add(row * plan.pitch);
                kernel::scores(op, &op.inputs(&block, row), len, z, &mut stats);
            }
            stats.finish_maxima();
            let partial = to.piece::<V::Scalar>(item);
            for i in 0..slices {
                *partial.add(2 * i) = stats.get(i).0;
            }
            stats.maxima_to_shifts(slices);
            for row in 0..piece.rows {
                kernel::exponentials(space.scores.add(row * plan.pitch), len, &mut stats);
            }
            std::mem::swap(&mut stats, &mut result);
        } else {
            self.restore(offset, &mut stats, slices);
            for row in 0..piece.rows {
                kernel::dot(op, &block, row, len, std::ptr::null_mut(), &stats, &mut result);
            }
        }
        result.finish_sums();
        let partial = to.piece::<V::Scalar>(item);
        for i in 0..slices {
            *partial.add(2 * i + 1) = result.get(i).1;
        }
    }

    #[inline(always)]
    unsafe fn apply<V: Register<O::T>, const LANEWISE: bool>(
        &self,
        space: &Workspace<V::Scalar>,
        offset: &PerOperand<isize>,
        unit_len: usize,
        item: usize,
        from: &Partials,
    ) {
        let (op, plan) = (&self.work.op, self.work.plan);
        let piece = &plan.pieces[item % plan.pieces.len()];
        let len = if LANEWISE { unit_len } else { piece.len };
        let slices = if LANEWISE { len } else { 1 };
        let (block, base) = self.open_piece(space, offset, piece, len);
        let mut combined = Stats::<V, LANEWISE>::new(space.dots, plan.pitch);
        let pair = from.unit::<V::Scalar>(item / plan.pieces.len());
        for i in 0..slices {
            combined.set(i, *pair.add(2 * i), *pair.add(2 * i + 1));
        }
        if self.work.direction == Direction::Forward {
            self.save(offset, &combined, slices);
            for row in 0..piece.rows {
                kernel::outputs(op, &block, row, len, std::ptr::null(), &combined);
            }
        } else {
            let mut stats = Stats::<V, LANEWISE>::new(space.statistics, plan.pitch);
            self.restore(offset, &mut stats, slices);
            for row in 0..piece.rows {
                kernel::gradients(op, &block, row, len, std::ptr::null(), &stats, &combined);
            }
        }
        space.staging.close::<V::Scalar>(&block, &base, piece.rows, len);
    }

    /// Shifts and inverses out to their operands, where these are present.
    #[inline(always)]
    unsafe fn save<V: Vector, const LANEWISE: bool>(
        &self,
        offset: &PerOperand<isize>,
        stats: &Stats<V, LANEWISE>,
        slices: usize,
    ) {
        let plan = self.work.plan;
        if plan.base[MAXIMUM].is_null() {
            return;
        }
        for i in 0..slices {
            let (shift, inverse) = stats.get(i);
            let place = |j| plan.at(offset, j).wrapping_offset(i as isize * plan.layout.inner.strides[j]);
            *place(MAXIMUM).cast::<V::Scalar>() = shift;
            *place(INVERSE).cast::<V::Scalar>() = inverse;
        }
    }

    #[inline(always)]
    unsafe fn restore<V: Vector, const LANEWISE: bool>(
        &self,
        offset: &PerOperand<isize>,
        stats: &mut Stats<V, LANEWISE>,
        slices: usize,
    ) {
        let plan = self.work.plan;
        for i in 0..slices {
            let place = |j| plan.at(offset, j).wrapping_offset(i as isize * plan.layout.inner.strides[j]);
            stats.set(i, *place(MAXIMUM).cast::<V::Scalar>(), *place(INVERSE).cast::<V::Scalar>());
        }
    }
}
