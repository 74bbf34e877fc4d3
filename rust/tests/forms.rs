//! Values and gradients: a grid of shapes for every form of the loops, and cases drawn at random.

use super::array::Placement;
use super::case::{Case, MaskKind};
use ewa_rs::attention::op::OpName;
use ewa_rs::tensor::dtype::DType;

const OPS: [OpName; 2] = [OpName::ElementwiseAttention, OpName::ElementwiseSelfAttention];
const DTYPES: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Around the widths of all registers, and around the eight of them that make a part of a sum.
const LENGTHS: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 130];

fn each_op_and_type(check: impl Fn(OpName, DType)) {
    for op in OPS {
        DTYPES.into_iter().for_each(|dtype| check(op, dtype));
    }
}

#[test]
fn rows_of_every_length() {
    each_op_and_type(|op, dtype| {
        LENGTHS.into_iter().for_each(|n| Case::new(op, dtype, &[3, n], &[1]).check());
    });
}

/// One behind the other: fewer than a register has lanes, as many, and some chunks of so many and a bit.
#[test]
fn short_rows_of_every_length_and_number() {
    each_op_and_type(|op, dtype| {
        for n in 1..=34 {
            Case::new(op, dtype, &[77, n], &[1]).check();
        }
        for rows in LENGTHS {
            Case::new(op, dtype, &[rows, 10], &[1]).check();
        }
    });
}

/// Some operands are repeated in every row; there are biases, masks and scores of any size.
#[test]
fn short_rows_in_any_layout() {
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..300 {
        let (op, dtype) = (OPS[n % 2], DTYPES[random.usize(..4)]);
        let shape = [random.usize(1..=3), random.usize(8..=90), random.usize(2..=33)];
        let mut case = vary(Case::new(op, dtype, &shape, &[2]), &mut random);
        for placement in case.inputs.iter_mut().chain(&mut case.gradients).flatten() {
            placement.steps.fill(1);
            placement.order = vec![0, 1, 2];
            placement.has = vec![random.bool(), placement.has[1], true];
        }
        for (input, gradient) in case.inputs.iter().zip(&mut case.gradients) {
            if let (Some(input), Some(gradient)) = (input, gradient) {
                gradient.has.clone_from(&input.has);
            }
        }
        for placement in [&mut case.y, &mut case.upstream] {
            *placement = Placement::contiguous(3);
        }
        (case.weights, case.upstream_weights) = (None, None);
        case.check();
    }
}

#[test]
fn columns_of_every_length_and_number() {
    each_op_and_type(|op, dtype| {
        for n in LENGTHS {
            Case::new(op, dtype, &[2, 5, n], &[1]).check();
            Case::new(op, dtype, &[n, 3], &[0]).check();
        }
    });
}

#[test]
fn blocks_of_every_length() {
    each_op_and_type(|op, dtype| {
        // Softmax axes with a batch axis between them; two such axes more.
        LENGTHS.into_iter().for_each(|n| Case::new(op, dtype, &[3, 2, n], &[0, 2]).check());
        Case::new(op, dtype, &[2, 2, 3, 2, 19], &[0, 2, 4]).check();
        Case::new(op, dtype, &[3, 2, 2, 2, 19], &[0, 2]).check();
    });
}

/// Slices of more scores than are kept in the cache, in pieces: along a row, over rows, over columns.
#[test]
fn slices_too_long_for_the_cache() {
    let [pair, layer] = OPS;
    for (op, dtype) in [(pair, DType::F32), (pair, DType::F64), (layer, DType::BF16)] {
        Case::new(op, dtype, &[1, 33_003], &[1]).check();
        Case::new(op, dtype, &[11, 1, 3_011], &[0, 2]).check();
        Case::new(op, dtype, &[2_103, 19], &[0]).check();
        Case::new(op, dtype, &[1_103, 1, 2, 17], &[0, 2]).check();
    }
}

#[test]
fn long_slices_in_any_layout() {
    let mut random = fastrand::Rng::with_seed(2);
    for n in 0..6 {
        let shapes: [(&[usize], &[usize]); 3] =
            [(&[1, 33_003], &[1]), (&[7, 2, 4_801], &[0, 2]), (&[2_103, 17], &[0])];
        let (shape, softmax) = shapes[n % 3];
        let case = Case::new(OPS[n % 2], DType::F32, shape, softmax);
        vary(case, &mut random).check();
    }
}

#[test]
fn random_layouts_masks_biases_and_magnitudes() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        random_case(&mut random).check();
    }
}

pub fn random_case(random: &mut fastrand::Rng) -> Case {
    let axes = random.usize(1..=4);
    let longest = [200, 60, 18, 9][axes - 1];
    let shape: Vec<usize> = (0..axes)
        .map(|_| if random.u8(..8) == 0 { 1 } else { random.usize(1..=longest) })
        .collect();
    let mut softmax: Vec<usize> = (0..axes).filter(|_| random.bool()).collect();
    if softmax.is_empty() {
        softmax.push(random.usize(..axes));
    }
    let case = Case::new(OPS[random.usize(..2)], DTYPES[random.usize(..4)], &shape, &softmax);
    vary(case, random)
}

/// The same shape and softmax axes, all else drawn.
fn vary(mut case: Case, random: &mut fastrand::Rng) -> Case {
    let axes = case.shape.len();
    let maybe = |random: &mut fastrand::Rng, place: fn(usize, &mut fastrand::Rng) -> Placement| {
        random.bool().then(|| place(axes, random))
    };
    case.scale = [1.0, -0.3, 0.05][random.usize(..3)];
    case.magnitude = [0.1, 1.0, 4.0, 20.0][random.usize(..4)];
    case.residual = case.op == OpName::ElementwiseSelfAttention && random.bool();
    case.mask = if random.bool() { MaskKind::Boolean } else { MaskKind::Additive };
    let mask = case.op.definition().mask();
    for input in &mut case.inputs {
        let optional = input.is_none();
        *input = if optional { maybe(random, broadcast) } else { Some(broadcast(axes, random)) };
    }
    case.gradients =
        case.inputs.iter().map(|input| own_gradient(input.as_ref()?, random)).collect();
    if case.mask == MaskKind::Boolean {
        case.gradients[mask] = None;
    }
    case.y = full(axes, random);
    case.weights = maybe(random, full);
    case.upstream = broadcast(axes, random);
    case.upstream_weights = maybe(random, broadcast);
    case.seed = random.u64(..);
    case
}

/// In half of all cases plainly contiguous.
fn full(axes: usize, random: &mut fastrand::Rng) -> Placement {
    let mut placement = Placement::contiguous(axes);
    placement.guarded_at_end = random.bool();
    if random.bool() {
        random.shuffle(&mut placement.order);
        placement.steps.fill_with(|| [1, 1, 1, -1, 2, -3][random.usize(..6)]);
    }
    placement
}

fn broadcast(axes: usize, random: &mut fastrand::Rng) -> Placement {
    let mut placement = full(axes, random);
    if random.bool() {
        placement.has.fill_with(|| random.bool());
    }
    placement
}

/// Broadcast as its input is; not always wanted.
fn own_gradient(input: &Placement, random: &mut fastrand::Rng) -> Option<Placement> {
    let placement = Placement { has: input.has.clone(), ..full(input.has.len(), random) };
    (random.u8(..4) > 0).then_some(placement)
}
