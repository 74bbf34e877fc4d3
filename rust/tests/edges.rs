//! Empty arrays, and numbers that are none.

use super::array::Placement;
use super::array::indices;
use super::case::{Case, MaskKind};
use super::reference::expected;
use ewa_rs::attention::op::OpName;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};

const OPS: [OpName; 2] = [OpName::ElementwiseAttention, OpName::ElementwiseSelfAttention];

#[test]
fn empty_arrays_have_empty_results_and_gradients_of_zero() {
    for op in OPS {
        for (shape, softmax) in [([0, 4], 1), ([4, 0], 1), ([0, 4], 0), ([0, 0], 0)] {
            let mut case = Case::new(op, DType::F32, &shape, &[softmax]);
            // The second input and its gradient have one element where the shape has none.
            case.inputs[1].as_mut().unwrap().has = shape.iter().map(|&n| n != 0).collect();
            case.gradients[1].clone_from(&case.inputs[1]);
            case.check();
        }
    }
}

/// NaN and infinities stay in their slice, and come out where the reference has them.
#[test]
fn numbers_that_are_none_stay_in_their_slice() {
    for op in OPS {
        for softmax in [0, 1] {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                for place in [[0, 0], [7, 21], [39, 40]] {
                    for shape in [[40, 41], [1, 41], [40, 1], [40, 9]] {
                        check_special(&Case::new(op, DType::F32, &shape, &[softmax]), bad, place);
                    }
                }
            }
        }
    }
}

fn check_special(case: &Case, bad: f64, place: [usize; 2]) {
    let place: Vec<usize> = place.iter().zip(&case.shape).map(|(&i, &n)| i.min(n - 1)).collect();
    for input in 0..3 {
        let arrays = case.arrays();
        arrays.inputs[input].as_ref().unwrap().set(&place, bad);
        let all: Vec<_> = Simd::available()
            .map(|simd| {
                let results = case.results();
                case.run(&arrays, &results, simd);
                results
            })
            .collect();
        let reference = expected(case, &arrays);
        let same_slice = |index: &[usize]| {
            index.iter().zip(&place).zip(&case.softmax).all(|((i, p), &s)| s || i == p)
        };
        for (index, y) in indices(&case.shape).zip(&reference.y) {
            let expected = y.value;
            assert!(same_slice(&index) || expected.is_finite(), "{bad} in {input} of {case:?}");
            for results in &all {
                let found = results.y.get(&index);
                let agrees = found == expected
                    || found.is_nan() && expected.is_nan()
                    || (found - expected).abs() < 1e-5;
                assert!(
                    agrees,
                    "{bad} in {input}: {found}, not {expected} at {index:?} of {case:?}"
                );
                for gradient in results.gradients.iter().flatten() {
                    assert!(same_slice(&index) || gradient.get(&index).is_finite());
                }
            }
        }
    }
}

/// Nothing kept: zeros, and gradients of zero, whatever the inputs hold there.
#[test]
fn slices_without_anything_kept_are_exactly_zero() {
    for op in OPS {
        for (softmax, shape) in
            [(1, [3, 37]), (1, [37, 9]), (0, [37, 3]), (1, [2, 33_000]), (0, [2_100, 17])]
        {
            for kind in [MaskKind::Boolean, MaskKind::Additive] {
                let mut case = Case::new(op, DType::F32, &shape, &[softmax]);
                let plain = Placement::contiguous(2);
                *case.inputs.last_mut().unwrap() = Some(plain.clone());
                case.mask = kind;
                case.weights = Some(plain);
                check_zeros(&case);
            }
        }
    }
}

fn check_zeros(case: &Case) {
    let arrays = case.arrays();
    let in_first = |index: &[usize]| index.iter().zip(&case.softmax).all(|(&i, &s)| s || i == 0);
    let of_value = if case.op == OpName::ElementwiseAttention { 2 } else { 3 };
    let value = arrays.inputs[of_value].as_ref().unwrap();
    value.indices().filter(|i| in_first(i)).for_each(|i| value.set(&i, f32::MAX.into()));
    for simd in Simd::available() {
        let results = case.results();
        case.run(&arrays, &results, simd);
        for index in indices(&case.shape).filter(|index| in_first(index)) {
            let gradients = results.gradients.iter().flatten();
            let all = gradients.chain([&results.y]).chain(&results.weights);
            all.for_each(|array| assert_eq!(array.get(&index), 0.0, "{simd:?} {case:?}"));
        }
    }
}

/// Some masks are filled with the lowest finite number: a slice of nothing else has equal weights.
#[test]
fn the_lowest_number_in_a_mask_is_not_minus_infinity() {
    for (softmax, shape) in
        [(1, [2, 33]), (1, [33, 9]), (0, [33, 3]), (1, [1, 33_000]), (0, [2_100, 17])]
    {
        for (dtype, lowest) in [(DType::F32, f32::MIN.into()), (DType::F64, f64::MIN)] {
            let mut case = Case::new(OPS[0], dtype, &shape, &[softmax]);
            let plain = Placement::contiguous(2);
            (case.inputs[3], case.weights) = (Some(plain.clone()), Some(plain));
            let arrays = case.arrays();
            let mask = arrays.inputs[3].as_ref().unwrap();
            mask.indices().for_each(|index| mask.set(&index, lowest));
            let expected = 1.0 / shape[softmax] as f64;
            for simd in Simd::available() {
                let results = case.results();
                case.run_one(&arrays, &results, simd, Direction::Forward);
                let weights = results.weights.as_ref().unwrap();
                for index in weights.indices() {
                    let error = (weights.get(&index) / expected - 1.0).abs();
                    assert!(error < 1e-6, "{simd:?} {case:?}");
                }
            }
        }
    }
}
