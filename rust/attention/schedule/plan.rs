//! How a call is cut into units of work, and slices that are too long for the cache into pieces.

use super::accumulate::TERMS;
use super::operands::{accumulates_along, has_copies, primary, results, short_rows, takes_part};
use crate::attention::block::Role;
use crate::attention::call::Call;
use crate::attention::layout::{Form, Layout, MAX_OPERANDS, PerOperand, count, offsets};
use crate::attention::op::{Acc, GRADIENTS, Op, WEIGHTS, Y};
use crate::simd::{MAX_LANES, Simd};
use crate::tensor::dtype::Direction;
use crate::tensor::operand::Operand;

/// Scores that are kept in the cache for one unit of work; a slice with more is read in two passes.
const SLICE_BYTES: usize = 128 * 1024;
/// A unit of work has about this many elements, so that threads share the work evenly.
const UNIT_ELEMENTS: usize = 16 * 1024;
/// The same where operands must be copied, so that the copies stay in the nearest cache.
const COPIED_UNIT_ELEMENTS: usize = 2 * 1024;
/// Outputs of this size do not fit in most caches: whoever reads them next reads them from memory.
const NON_TEMPORAL_OUTPUTS: usize = 8 << 20;
/// Of all gradients together, which are usually read one by one.
const NON_TEMPORAL_GRADIENTS: usize = 16 << 20;
/// Columns that are worked on side by side, so that memory is read in order.
const SIDE_BY_SIDE: usize = 4 * MAX_LANES;

/// A part of a slice that is too long for the cache.
#[derive(Clone, Copy)]
pub struct Piece {
    pub extra: usize,
    pub row: usize,
    pub rows: usize,
    pub start: usize,
    pub len: usize,
}

/// A unit of work: where it starts, and how much there is of it.
pub struct Unit {
    pub offset: PerOperand<isize>,
    pub planes: usize,
    pub rows: usize,
    pub len: usize,
}

/// How a call is cut into units (and long slices into pieces).
pub struct Plan {
    pub layout: Layout,
    pub base: PerOperand<*mut u8>,
    pub item: PerOperand<usize>,
    pub role: PerOperand<Role>,
    pub present: PerOperand<bool>,
    pub units: usize,
    /// Rows (form Inner), row length (InnerMulti) or lanes (Outer) of a unit.
    pub span: usize,
    /// Planes of a unit, of rows that are slices.
    pub plane_span: usize,
    /// Elements of scratch along one row: the row's length in whole registers.
    pub pitch: usize,
    /// Whether slices are short rows that are worked on as one long one.
    pub short: bool,
    /// Whether outputs are so large that they had better not go through the caches.
    pub non_temporal: bool,
    /// Empty where a unit's scores fit in the cache.
    pub pieces: Vec<Piece>,
    /// Bytes from the sum of an accumulated gradient to what it has lost.
    pub accumulator_plane: usize,
}

// SAFETY: the pointers are to operands, which the caller keeps alive; units write to places of their own.
unsafe impl Sync for Plan {}

impl Plan {
    pub fn new<O: Op>(
        call: &Call,
        operands: Vec<Operand>,
        direction: Direction,
        simd: Simd,
    ) -> Plan {
        let primary = primary(&operands, &call.shape, direction);
        let layout = Layout::new(&call.shape, &call.softmax, &operands, primary);
        let most = SLICE_BYTES / size_of::<Acc<O>>();
        let is_long = scores_at_once(&layout) > most;
        let layout = if is_long { layout.with_single_slices() } else { layout };
        let (short, repeats) = short_rows(&layout, &operands, direction);
        let short = short && simd.is_wide();
        let (mut span, mut plane_span) = spans(&layout, has_copies(&layout, &operands), repeats);
        if layout.form == Form::Inner && accumulates_along(&layout.rows, &operands) {
            (span, plane_span) = (span.min(if short { TERMS * MAX_LANES } else { TERMS }), 1);
        }
        if accumulates_along(&layout.planes, &operands) {
            plane_span = plane_span.min(TERMS);
        }
        let pitch = match layout.form {
            Form::Outer => span,
            _ => layout.inner.size.min(most),
        };
        let large = match direction {
            Direction::Forward => NON_TEMPORAL_OUTPUTS,
            Direction::Backward => NON_TEMPORAL_GRADIENTS,
        };
        let mut plan = Plan {
            units: count(&layout.outer) * units_per_outer(&layout, span, plane_span),
            span,
            plane_span,
            short,
            pitch: pitch.next_multiple_of(MAX_LANES),
            pieces: Vec::new(),
            accumulator_plane: 0,
            non_temporal: results(call, &operands, direction) >= large,
            base: [std::ptr::null_mut(); MAX_OPERANDS],
            item: [1; MAX_OPERANDS],
            role: [Role::Input; MAX_OPERANDS],
            present: [false; MAX_OPERANDS],
            layout,
        };
        plan.describe_operands(&operands, &call.shape, direction);
        if is_long {
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
        let outer_form = self.layout.form == Form::Outer;
        let inner = if outer_form { self.pitch } else { self.layout.inner.size };
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

    /// Into how many units rows (form Inner) or the inner axis (other forms) are cut, and planes.
    pub fn spans(&self) -> [usize; 2] {
        let Layout { planes, rows, inner, form, .. } = &self.layout;
        let axis = if *form == Form::Inner { rows } else { inner };
        [axis.size.div_ceil(self.span), planes.size.div_ceil(self.plane_span)]
    }

    /// What unit number `unit` consists of.
    pub fn unit(&self, unit: usize) -> Unit {
        let Layout { outer, planes, rows, inner, form, .. } = &self.layout;
        let is_rows = *form == Form::Inner;
        let axis = if is_rows { rows } else { inner };
        let [spans, plane_spans] = self.spans();
        let first = (unit % spans) * self.span;
        let first_plane = (unit / spans % plane_spans) * self.plane_span;
        let mut offset = offsets(outer, unit / (spans * plane_spans));
        for (j, offset) in offset.iter_mut().enumerate() {
            *offset += first as isize * axis.strides[j] + first_plane as isize * planes.strides[j];
        }
        let span = self.span.min(axis.size - first);
        let (rows, len) = if is_rows { (span, inner.size) } else { (rows.size, span) };
        Unit { offset, planes: self.plane_span.min(planes.size - first_plane), rows, len }
    }

    pub fn at(&self, offset: &PerOperand<isize>, operand: usize) -> *mut u8 {
        self.base[operand].wrapping_offset(offset[operand])
    }

    pub fn all_at(&self, offset: &PerOperand<isize>) -> PerOperand<*mut u8> {
        std::array::from_fn(
            |j| {
                if self.present[j] { self.at(offset, j) } else { std::ptr::null_mut() }
            },
        )
    }

    /// The offset of a piece of the unit at `offset`.
    pub fn piece(&self, mut offset: PerOperand<isize>, piece: &Piece) -> PerOperand<isize> {
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
    pub fn largest_block(&self) -> (usize, usize) {
        match (self.pieces.first(), self.layout.form) {
            (Some(piece), _) => (piece.rows, piece.len),
            (None, Form::Inner) => (self.span, self.layout.inner.size),
            (None, _) => (self.layout.rows.size, self.span),
        }
    }

    pub fn lanes(&self) -> usize {
        if self.layout.form == Form::Outer { self.pitch } else { 1 }
    }

    /// Pairs of maximum and sum that a unit's [`Stats`] hold.
    pub fn statistics(&self) -> usize {
        if self.layout.form == Form::Outer { self.pitch } else { MAX_LANES }
    }
}

/// Scores of what has to be kept at once: a slice, or as many as a register has lanes.
fn scores_at_once(layout: &Layout) -> usize {
    let rows = count(&layout.extra) * layout.rows.size;
    match layout.form {
        Form::Inner => layout.inner.size,
        Form::InnerMulti => rows * layout.inner.size,
        Form::Outer => rows * MAX_LANES.min(layout.inner.size),
    }
}

/// Of a unit: rows (form Inner), row length (InnerMulti) or lanes (Outer); and planes. `copies`: whether
/// operands are copied; `repeats`: whether one repeats its only row.
fn spans(layout: &Layout, copies: bool, repeats: bool) -> (usize, usize) {
    let unit = if copies { COPIED_UNIT_ELEMENTS } else { UNIT_ELEMENTS };
    match layout.form {
        Form::Inner => {
            let rows = (unit / layout.inner.size).clamp(1, layout.rows.size);
            let one_plane = copies || repeats || rows < layout.rows.size;
            let planes = (unit / (rows * layout.inner.size)).clamp(1, layout.planes.size);
            (rows, if one_plane { 1 } else { planes })
        }
        Form::InnerMulti => (layout.inner.size, 1),
        Form::Outer => {
            let rows = count(&layout.extra) * layout.rows.size;
            let lanes = (UNIT_ELEMENTS / rows.max(1)) / SIDE_BY_SIDE * SIDE_BY_SIDE;
            (lanes.clamp(SIDE_BY_SIDE, 1024).min(layout.inner.size), 1)
        }
    }
}

fn units_per_outer(layout: &Layout, span: usize, plane_span: usize) -> usize {
    match layout.form {
        Form::Inner => layout.planes.size.div_ceil(plane_span) * layout.rows.size.div_ceil(span),
        Form::InnerMulti => 1,
        Form::Outer => layout.inner.size.div_ceil(span),
    }
}
