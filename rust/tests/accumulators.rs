//! Gradients of broadcast operands: buffers a group each, summed into the operand.

use super::array::{Array, Placement};
use super::case::Case;
use ewa_rs::attention::op::OpName;
use ewa_rs::attention::schedule::accumulate::Accumulators;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;
use ewa_rs::tensor::operand::Operand;
use half::f16;

/// An operand of (2, ·, 3) in a shape of (2, 5, 3), its first axis reversed, its axes out of order.
fn operand() -> Array {
    let placement = Placement {
        has: vec![true, false, true],
        order: vec![2, 1, 0],
        steps: vec![-1, 1, 2],
        guarded_at_end: true,
    };
    Array::new(DType::F16, &[2, 5, 3], &placement)
}

#[test]
fn the_groups_sums_arrive_where_they_belong() {
    let array = operand();
    let mut operands = [Operand::absent(), array.operand()];
    let accumulators = Accumulators::new::<f16>(&[2, 5, 3], &mut operands);
    assert_eq!((operands[1].item, &operands[1].strides[..]), (4, &[12, 0, 4][..]));
    let groups = 3;
    let accumulators = accumulators.allocate(groups, |_| true);
    let mut base = [std::ptr::null_mut(); 2];
    accumulators.attach(&mut base);
    assert!(base[0].is_null());
    for group in 0..groups {
        let mut offsets = [0; 2];
        accumulators.move_to_group(group, &mut offsets);
        for i in 0..6 {
            // SAFETY: six numbers a group, as allocated.
            unsafe { *base[1].offset(offsets[1]).cast::<f32>().add(i) += (group + i) as f32 };
        }
    }
    // SAFETY: of this array.
    unsafe { accumulators.reduce_into::<f16>(&[Operand::absent(), array.operand()]) };
    for (i, index) in array.indices().enumerate() {
        assert_eq!(array.get(&index), (3 + 3 * i) as f64);
    }
    assert!(array.gaps_are_untouched());
}

#[test]
fn no_group_means_zeros() {
    let array = operand();
    let mut operands = [array.operand()];
    let accumulators = Accumulators::new::<f16>(&[2, 5, 3], &mut operands).allocate(0, |_| false);
    // SAFETY: of this array.
    unsafe { accumulators.reduce_into::<f16>(&[array.operand()]) };
    assert!(array.indices().all(|index| array.get(&index) == 0.0));
}

#[test]
fn groups_are_few_where_buffers_are_large_and_many_where_work_is() {
    let groups = |shape: &[usize], has: &[bool], items| {
        let placement = Placement { has: has.to_vec(), ..Placement::contiguous(shape.len()) };
        let mut operands = [Array::new(DType::F32, shape, &placement).operand()];
        let total = shape.iter().product();
        Accumulators::new::<f32>(shape, &mut operands).groups(items, total)
    };
    assert_eq!(groups(&[2, 1000], &[false, true], 100), 4);
    assert_eq!(groups(&[1000, 10], &[false, true], 100), 32);
    assert_eq!(groups(&[1000, 10], &[false, true], 3), 3);
    assert_eq!(groups(&[1000, 10], &[true, true], 1000), 256);
}

/// Every form of the loops, with values that are broadcast along rows, planes, slices, softmax axes and
/// everything.
#[test]
fn what_rounding_takes_does_not_grow_with_the_number_of_terms() {
    let cases: [(&[usize], &[usize], &[bool]); 12] = [
        (&[30_011, 3], &[1], &[false, true]),
        (&[9_001, 28], &[1], &[false, true]),
        (&[9_001, 28], &[1], &[false, false]),
        (&[9_001, 28], &[1], &[true, false]),
        (&[12_007, 3, 5], &[2], &[false, true, true]),
        (&[12_007, 3, 5], &[1], &[false, true, true]),
        (&[3, 12_007, 5], &[2], &[true, false, true]),
        (&[12_007, 5], &[0], &[false, true]),
        (&[5, 12_007], &[0], &[true, false]),
        (&[64, 3, 700], &[0, 2], &[false, true, true]),
        (&[2, 30_011], &[1], &[true, false]),
        (&[500, 2, 40, 3], &[0, 2], &[false, true, false, true]),
    ];
    for (shape, softmax, has) in cases {
        let mut case = Case::new(OpName::ElementwiseAttention, DType::F32, shape, softmax);
        let broadcast = Placement { has: has.to_vec(), ..Placement::contiguous(shape.len()) };
        (case.inputs[2], case.gradients) = (Some(broadcast.clone()), vec![None; 4]);
        case.gradients[2] = Some(broadcast);
        let mut arrays = case.arrays();
        let ones = arrays.inputs.drain(..).map(|input| Some(input?.filled(|| 1.0))).collect();
        arrays.inputs = ones;
        arrays.upstream = arrays.upstream.filled(|| 0.1f32.into());
        let slice: usize = softmax.iter().map(|&d| shape[d]).product();
        let terms: usize = (0..shape.len()).filter(|&d| !has[d]).map(|d| shape[d]).product();
        let expected = terms as f64 * f64::from(0.1f32) / slice as f64;
        for simd in Simd::available() {
            let results = case.results();
            case.run(&arrays, &results, simd);
            let gradient = results.gradients[2].as_ref().expect("it is wanted");
            for index in gradient.indices() {
                let error = (gradient.get(&index) / expected - 1.0).abs() / f64::from(f32::EPSILON);
                assert!(error <= 8.0, "{simd:?} {shape:?} {softmax:?} {has:?}: {error} eps");
            }
        }
    }
}

/// Softmax axes that do not become one, lanes across slices, and rows too few for a part: in slices of so
/// many blocks every term counts once, whatever block it is in.
#[test]
fn what_rounding_takes_does_not_grow_with_the_number_of_blocks() {
    let placement = Placement { steps: vec![1, 2, 2, 1], ..Placement::contiguous(4) };
    let mut case = Case::new(OpName::ElementwiseAttention, DType::F32, &[60, 90, 3, 2], &[0, 1, 2]);
    case.inputs[..3].fill(Some(placement.clone()));
    case.gradients[..3].fill(Some(placement));
    case.check();
    let mut arrays = case.arrays();
    arrays.inputs = arrays.inputs.into_iter().map(|x| Some(x?.filled(|| 1.0))).collect();
    for simd in Simd::available() {
        let results = case.results();
        case.run(&arrays, &results, simd);
        for index in results.y.indices() {
            let error = (results.y.get(&index) * 16_200.0 - 1.0).abs() / f64::from(f32::EPSILON);
            assert!(error <= 4.0, "{simd:?}: {error} eps");
        }
    }
}
