//! What a case is to give, written down from the formulas, with a bound on the rounding errors.

use super::array::{Array, indices};
use super::case::{Arrays, Case};
use super::running_error::{Bounded, Sum};
use ewa_rs::attention::op::OpName;
use ewa_rs::tensor::dtype::DType;

pub struct Expected {
    /// In the order of [`indices`] of the case's shape.
    pub y: Vec<Bounded>,
    pub weights: Vec<Bounded>,
    /// Of each input, in the order of its own indices.
    pub gradients: Vec<Vec<Bounded>>,
}

/// One element of every input and of the upstream gradients.
struct Element {
    x: Vec<Bounded>,
    kept: bool,
    mask: Bounded,
    y: Bounded,
    weights: Bounded,
}

pub fn expected(case: &Case, arrays: &Arrays) -> Expected {
    let total: usize = case.shape.iter().product();
    let mut sums: Vec<Vec<Sum>> =
        arrays.inputs.iter().map(|input| own(input, Sum::default())).collect();
    let mut result = Expected {
        y: vec![Bounded::default(); total],
        weights: vec![Bounded::default(); total],
        gradients: Vec::new(),
    };
    for slice in slices(case) {
        let elements: Vec<Element> =
            slice.iter().map(|index| element(case, arrays, index)).collect();
        let weights = softmax(case, &elements);
        let gradients = gradients(case, &elements, &weights);
        let is_empty = weights.iter().all(|a| a.value == 0.0);
        for (n, index) in slice.iter().enumerate() {
            let at = position(index, &case.shape);
            let attended =
                if is_empty { Bounded::exact(0.0) } else { weights[n] * value(case, &elements[n]) };
            result.y[at] = if case.residual { attended + elements[n].x[0] } else { attended };
            result.weights[at] = weights[n];
            for (j, input) in arrays.inputs.iter().enumerate() {
                if let Some(input) = input {
                    sums[j][position(index, &input.shape)].add(gradients[n][j]);
                }
            }
        }
    }
    result.gradients =
        sums.iter().map(|sums| sums.iter().map(|sum| sum.of_gradients()).collect()).collect();
    result
}

fn own<T: Clone>(input: &Option<Array>, x: T) -> Vec<T> {
    vec![x; input.as_ref().map_or(0, |input| input.shape.iter().product())]
}

/// The number of an index in an array's order; an axis that it is broadcast over has one place.
pub fn position(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (&i, &n)| at * n + if n == 1 { 0 } else { i })
}

fn slices(case: &Case) -> Vec<Vec<Vec<usize>>> {
    let part = |wanted: bool| -> Vec<usize> {
        case.shape
            .iter()
            .zip(&case.softmax)
            .map(|(&n, &s)| if s == wanted { n } else { 1 })
            .collect()
    };
    let add = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect();
    let within: Vec<_> = indices(&part(true)).collect();
    indices(&part(false)).map(|batch| within.iter().map(|i| add(&batch, i)).collect()).collect()
}

fn element(case: &Case, arrays: &Arrays, index: &[usize]) -> Element {
    let get = |array: &Option<Array>| array.as_ref().map_or(0.0, |array| array.get(index));
    let mask = &arrays.inputs[case.op.definition().mask()];
    let is_boolean = mask.as_ref().is_some_and(|mask| mask.dtype == DType::Bool);
    let m = get(mask);
    let kept = if is_boolean { m != 0.0 } else { m != f64::NEG_INFINITY };
    Element {
        x: arrays.inputs.iter().map(|input| Bounded::exact(get(input))).collect(),
        kept,
        // Kernels multiply it by log₂ e, which is rounded.
        mask: if is_boolean || !kept { Bounded::exact(0.0) } else { Bounded::rounded(m, 2.0) },
        y: Bounded::exact(arrays.upstream.get(index)),
        weights: Bounded::exact(get(&arrays.upstream_weights)),
    }
}

/// Query, key and value.
fn projections(case: &Case, element: &Element) -> [Bounded; 3] {
    let x = &element.x;
    match case.op {
        OpName::ElementwiseAttention => [x[0], x[1], x[2]],
        OpName::ElementwiseSelfAttention => [0, 1, 2].map(|j| x[0] * x[1 + j] + x[4 + j]),
    }
}

fn value(case: &Case, element: &Element) -> Bounded {
    projections(case, element)[2]
}

/// Rounded once as it is, and again after a multiplication by log₂ e.
fn scale(case: &Case) -> Bounded {
    Bounded::rounded(case.scale, 2.0)
}

fn softmax(case: &Case, elements: &[Element]) -> Vec<Bounded> {
    let score = |element: &Element| {
        let [q, k, _] = projections(case, element);
        element.kept.then(|| scale(case) * q * k + element.mask)
    };
    let scores: Vec<Option<Bounded>> = elements.iter().map(score).collect();
    let maximum = scores.iter().flatten().fold(f64::NEG_INFINITY, |m, z| m.max(z.value));
    if maximum == f64::NEG_INFINITY && !scores.iter().flatten().any(|z| z.value.is_nan()) {
        return vec![Bounded::exact(0.0); elements.len()]; // nothing is kept
    }
    let exponential = |z: &Option<Bounded>| {
        z.map_or(Bounded::exact(0.0), |z| (z - Bounded::exact(maximum)).exp())
    };
    let exponentials: Vec<Bounded> = scores.iter().map(exponential).collect();
    let mut sum = Sum::default();
    exponentials.iter().for_each(|&e| sum.add(e));
    let sum = sum.of_slice();
    exponentials.iter().map(|&e| e * sum.inverse()).collect()
}

/// Of every element, the gradients of all inputs.
fn gradients(case: &Case, elements: &[Element], weights: &[Bounded]) -> Vec<Vec<Bounded>> {
    let of_weight = |element: &Element| element.y * value(case, element) + element.weights;
    let mut dot = Sum::default();
    elements.iter().zip(weights).for_each(|(e, &a)| dot.add(a * of_weight(e)));
    let dot = dot.of_slice();
    let gradient = |(element, &a): (&Element, &Bounded)| {
        let z = a * (of_weight(element) - dot);
        let [q, k, _] = projections(case, element);
        let of_projections = [scale(case) * z * k, scale(case) * z * q, element.y * a];
        match case.op {
            OpName::ElementwiseAttention => [&of_projections[..], &[z]].concat(),
            OpName::ElementwiseSelfAttention => {
                let x = &element.x;
                let through = |j: usize| of_projections[j] * x[1 + j];
                let of_x = through(0) + through(1) + through(2);
                let of_x = if case.residual { of_x + element.y } else { of_x };
                let of_w = of_projections.map(|of| of * x[0]);
                [&[of_x], &of_w[..], &of_projections[..], &[z]].concat()
            }
        }
    };
    elements.iter().zip(weights).map(gradient).collect()
}
