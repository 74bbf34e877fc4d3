//! Outputs that are so large that they go past the caches.

use super::array::Placement;
use super::case::{Case, instruction_sets};
use ewa_rs::dispatch::{DType, Direction, OpName};
use ewa_rs::simd::Simd;

/// 16 MiB and a bit of output, in rows at every alignment: the same bits as from calls of few rows.
#[test]
fn a_large_call_gives_the_bits_of_small_ones() {
    for (dtype, rows) in [(DType::F32, 5_600), (DType::F64, 2_800), (DType::BF16, 11_200)] {
        let few = 80;
        let mut large = Case::new(OpName::ElementwiseAttention, dtype, &[rows, 751], &[1]);
        let mut row = Placement::contiguous(2);
        // Every `few` rows repeat: the inputs are broadcast over the repetitions.
        large.shape = vec![rows / few, few, 751];
        large.softmax = vec![false, false, true];
        row.has = vec![false, true, true];
        (row.order, row.steps) = (vec![0, 1, 2], vec![1; 3]);
        large.inputs[..3].fill(Some(row.clone()));
        large.gradients.fill(None);
        large.upstream = row;
        large.y = Placement::contiguous(3);
        let mut small = large.clone();
        small.shape[0] = 1;
        let (inputs, few_inputs) = (large.arrays(), small.arrays());
        for simd in instruction_sets().filter(|&simd| simd != Simd::Scalar) {
            let (results, expected) = (large.results(), small.results());
            large.run_one(&inputs, &results, simd, Direction::Forward);
            small.run_one(&few_inputs, &expected, simd, Direction::Forward);
            let mut chunks = results.y.bytes().chunks_exact(expected.y.bytes().len());
            assert!(chunks.all(|chunk| chunk == expected.y.bytes()), "{simd:?} {dtype:?}");
        }
    }
}
