//! Results that are so large that they go past the caches.

use super::array::{Array, Placement};
use super::case::Case;
use ewa_rs::attention::op::OpName;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};

/// 16 MiB and a bit of output or of gradients, in rows at every alignment and in columns: the same bits as
/// from small calls.
#[test]
fn a_large_call_gives_the_bits_of_small_ones() {
    check(DType::F32, [72, 80, 751], 2);
    check(DType::BF16, [144, 80, 751], 2);
    check(DType::F32, [72, 6_008, 10], 2);
    check(DType::F64, [18, 112, 1_040], 1);
    check(DType::F16, [72, 112, 1_040], 1);
}

/// The inputs are broadcast over the first axis: every result repeats.
fn check(dtype: DType, shape: [usize; 3], softmax: usize) {
    let repeated = |n: usize| {
        let shape = [n, shape[1], shape[2]];
        let mut case = Case::new(OpName::ElementwiseAttention, dtype, &shape, &[softmax]);
        let once = Placement { has: vec![false, true, true], ..Placement::contiguous(3) };
        case.inputs[..3].fill(Some(once.clone()));
        case.upstream = once;
        case
    };
    let one = repeated(1);
    for simd in Simd::available() {
        let expected = one.results();
        one.run(&one.arrays(), &expected, simd);
        // There are three gradients to one output.
        for (direction, n) in
            [(Direction::Forward, shape[0]), (Direction::Backward, shape[0].div_ceil(3))]
        {
            let large = repeated(n);
            let mut results = large.results();
            results.statistics =
                [0, 1].map(|i| repeat(&expected.statistics[i], &results.statistics[i]));
            large.run_one(&large.arrays(), &results, simd, direction);
            let is_repeated = |(all, one): (&Array, &Array)| {
                let mut chunks = all.bytes().chunks_exact(one.bytes().len());
                assert!(chunks.all(|chunk| chunk == one.bytes()), "{simd:?} {large:?}");
            };
            if direction == Direction::Forward {
                is_repeated((&results.y, &expected.y));
            } else {
                let gradients = results.gradients.iter().flatten();
                gradients.zip(expected.gradients.iter().flatten()).for_each(is_repeated);
            }
        }
    }
}

/// An array like `all` of the elements of `one`, over and over.
fn repeat(one: &Array, all: &Array) -> Array {
    let all = all.alias();
    all.indices().for_each(|index| all.set(&index, one.get(&[&[0], &index[1..]].concat())));
    all
}
