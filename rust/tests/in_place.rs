//! The output in the memory of an input.

use super::case::Case;
use ewa_rs::attention::op::OpName;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};

/// Rows, columns, blocks, and pieces of each.
const SHAPES: [(&[usize], &[usize]); 7] = [
    (&[5, 83], &[1]),
    (&[5, 9], &[1]),
    (&[37, 19], &[0]),
    (&[5, 3, 21], &[0, 2]),
    (&[1, 33_001], &[1]),
    (&[2_101, 17], &[0]),
    (&[7, 1, 4_801], &[0, 2]),
];

#[test]
fn the_output_may_be_an_input() {
    for op in [OpName::ElementwiseAttention, OpName::ElementwiseSelfAttention] {
        for dtype in [DType::F16, DType::F32] {
            for (shape, softmax) in SHAPES {
                (0..3).for_each(|input| check(&Case::new(op, dtype, shape, softmax), input));
            }
        }
    }
}

fn check(case: &Case, input: usize) {
    for simd in Simd::available() {
        let (mut arrays, mut results) = (case.arrays(), case.results());
        case.run_one(&arrays, &results, simd, Direction::Forward);
        let expected = results.y.bytes().to_vec();
        // Both stay alive, and point to the same memory.
        let shared = arrays.inputs[input].take().expect("it is there");
        arrays.inputs[input] = Some(shared.alias());
        results.y = shared;
        case.run_one(&arrays, &results, simd, Direction::Forward);
        assert!(results.y.bytes() == expected, "{simd:?}: input {input} of {case:?}");
    }
}
