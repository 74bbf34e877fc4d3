//! Gradients of broadcast operands: buffers a group each, summed into the operand.

use super::array::{Array, Placement};
use ewa_rs::attention::schedule::accumulate::Accumulators;
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
    let accumulators = accumulators.allocate(groups);
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
    let accumulators = Accumulators::new::<f16>(&[2, 5, 3], &mut operands).allocate(0);
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
