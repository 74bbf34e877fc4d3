//! The ops as plain loops over scalars, one element at a time in the order of the axes: slow, obvious, and
//! what every kernel is tested against. `EWA_SIMD=scalar` runs them.

use crate::attend::Call;
use crate::dispatch::Direction;
use crate::kernel::{GRADIENTS, INVERSE, MAXIMUM, Op, WEIGHTS, Y};
use crate::layout::Operand;
use crate::numerics::{Element, Float};

/// An op's formula. `x` holds one element of every input, zero where it is absent.
pub trait Formula: Op {
    /// The score, without the mask.
    fn score_of(&self, x: &[A<Self>]) -> A<Self>;
    fn value_of(&self, x: &[A<Self>]) -> A<Self>;
    /// The output, of weight times value.
    fn output_of(&self, x: &[A<Self>], attended: A<Self>) -> A<Self>;
    /// The gradients of the inputs from those of the output, the score and the value.
    fn gradients_of(&self, x: &[A<Self>], y: A<Self>, z: A<Self>, v: A<Self>) -> Vec<A<Self>>;
    /// Whether the mask, the last input, is boolean.
    fn has_boolean_mask(&self) -> bool;
}

/// The type computed in.
type A<O> = <<O as Op>::T as Element>::Acc;

pub fn run<O: Formula>(op: &O, call: &Call, direction: Direction) {
    let loops = Loops { op, call };
    match direction {
        Direction::Forward => loops.forward(),
        Direction::Backward => loops.backward(),
    }
}

struct Loops<'a, O> {
    op: &'a O,
    call: &'a Call,
}

impl<O: Formula> Loops<'_, O> {
    fn forward(&self) {
        for slice in self.slices() {
            let z: Vec<_> = slice.iter().map(|index| self.score(index)).collect();
            let low = A::<O>::NEG_INFINITY;
            let maximum = z.iter().fold(low, |m, &z| if z > m { z } else { m });
            let shift = if maximum == low { A::<O>::ZERO } else { maximum };
            let sum = z.iter().fold(A::<O>::ZERO, |sum, &z| sum + (z - shift).exp());
            let inverse = if sum == A::<O>::ZERO { sum } else { A::<O>::ONE / sum };
            for (index, z) in slice.iter().zip(z) {
                let x = self.inputs(index);
                let a = (z - shift).exp() * inverse;
                let is_empty = inverse == A::<O>::ZERO;
                let attended = if is_empty { A::<O>::ZERO } else { a * self.op.value_of(&x) };
                self.write(Y, index, self.op.output_of(&x, attended));
                self.write(WEIGHTS, index, a);
            }
            if let Some(first) = slice.first() {
                self.write_acc(MAXIMUM, first, shift);
                self.write_acc(INVERSE, first, inverse);
            }
        }
    }

    fn backward(&self) {
        let mut sums: Vec<_> = (0..O::INPUTS)
            .map(|j| Sums::new(&self.call.operands[GRADIENTS + j], self.call))
            .collect();
        for slice in self.slices() {
            let Some(first) = slice.first() else { continue };
            let (shift, inverse) = (self.read_acc(MAXIMUM, first), self.read_acc(INVERSE, first));
            if inverse == A::<O>::ZERO {
                // Only what goes past the attention (a residual) has a gradient.
                for index in &slice {
                    let (zero, y) = (A::<O>::ZERO, self.read(Y, index));
                    let nothing = vec![zero; O::INPUTS];
                    let gradients = self.op.gradients_of(&nothing, y, zero, zero);
                    sums.iter_mut().zip(gradients).for_each(|(sum, g)| sum.add(index, g));
                }
                continue;
            }
            let terms: Vec<_> = slice
                .iter()
                .map(|index| {
                    let x = self.inputs(index);
                    let a = (self.score(index) - shift).exp() * inverse;
                    let y = self.read(Y, index);
                    let da = y * self.op.value_of(&x) + self.read(WEIGHTS, index);
                    (x, a, y, da)
                })
                .collect();
            let dot = terms.iter().fold(A::<O>::ZERO, |sum, (_, a, _, da)| sum + *a * *da);
            for (index, (x, a, y, da)) in slice.iter().zip(terms) {
                let gradients = self.op.gradients_of(&x, y, a * (da - dot), y * a);
                sums.iter_mut().zip(gradients).for_each(|(sum, g)| sum.add(index, g));
            }
        }
        sums.iter().for_each(Sums::write::<O::T>);
    }

    /// The index of every element, slice by slice.
    fn slices(&self) -> Vec<Vec<Vec<usize>>> {
        let Call { shape, softmax, .. } = self.call;
        let sizes = |wanted: bool| -> Vec<usize> {
            shape.iter().zip(softmax).map(|(&n, &s)| if s == wanted { n } else { 1 }).collect()
        };
        let within = indices(&sizes(true));
        let add = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        indices(&sizes(false))
            .iter()
            .map(|batch| within.iter().map(|inner| add(batch, inner)).collect())
            .collect()
    }

    fn inputs(&self, index: &[usize]) -> Vec<A<O>> {
        let mask = O::INPUTS - 1;
        let is_number = |j: &usize| *j != mask || !self.op.has_boolean_mask();
        (0..O::INPUTS)
            .map(|j| if is_number(&j) { self.read(j, index) } else { A::<O>::ZERO })
            .collect()
    }

    fn score(&self, index: &[usize]) -> A<O> {
        let mask = O::INPUTS - 1;
        let operand = &self.call.operands[mask];
        if self.op.has_boolean_mask() && !operand.is_absent() {
            if unsafe { *place::<u8>(operand, index) } == 0 {
                return A::<O>::NEG_INFINITY;
            }
            return self.op.score_of(&self.inputs(index));
        }
        let x = self.inputs(index);
        self.op.score_of(&x) + x[mask]
    }

    fn read(&self, j: usize, index: &[usize]) -> A<O> {
        let operand = &self.call.operands[j];
        if operand.is_absent() {
            A::<O>::ZERO
        } else {
            unsafe { (*place::<O::T>(operand, index)).to_acc() }
        }
    }

    fn write(&self, j: usize, index: &[usize], x: A<O>) {
        let operand = &self.call.operands[j];
        if !operand.is_absent() {
            unsafe { *place::<O::T>(operand, index) = O::T::from_acc(x) };
        }
    }

    fn read_acc(&self, j: usize, index: &[usize]) -> A<O> {
        unsafe { *place(&self.call.operands[j], index) }
    }

    fn write_acc(&self, j: usize, index: &[usize], x: A<O>) {
        if !self.call.operands[j].is_absent() {
            unsafe { *place(&self.call.operands[j], index) = x };
        }
    }
}

/// Every index of an array of this shape.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut result = vec![Vec::new()];
    for &n in shape {
        result =
            result.iter().flat_map(|index| (0..n).map(|i| [&index[..], &[i]].concat())).collect();
    }
    result
}

fn place<T>(operand: &Operand, index: &[usize]) -> *mut T {
    let offset: isize = index.iter().zip(&operand.strides).map(|(&i, &s)| i as isize * s).sum();
    operand.data.wrapping_offset(offset).cast()
}

/// A gradient being summed up, element by element of its operand.
struct Sums<'a, A> {
    operand: &'a Operand,
    indices: Vec<Vec<usize>>,
    sums: std::collections::HashMap<*mut u8, A>,
}

impl<'a, A: Float> Sums<'a, A> {
    fn new(operand: &'a Operand, call: &Call) -> Self {
        let own = |(&n, &s): (&usize, &isize)| if s == 0 { 1 } else { n };
        let shape: Vec<_> = call.shape.iter().zip(&operand.strides).map(own).collect();
        let is_absent = operand.is_absent();
        Sums {
            operand,
            indices: if is_absent { Vec::new() } else { indices(&shape) },
            sums: Default::default(),
        }
    }

    fn add(&mut self, index: &[usize], x: A) {
        let sum = self.sums.entry(place(self.operand, index)).or_insert(A::ZERO);
        *sum = *sum + x;
    }

    fn write<T: Element<Acc = A>>(&self) {
        for index in &self.indices {
            let p = place::<u8>(self.operand, index);
            let sum = self.sums.get(&p).copied().unwrap_or(A::ZERO);
            unsafe { *p.cast::<T>() = T::from_acc(sum) };
        }
    }
}
