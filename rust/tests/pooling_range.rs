//! What is too large on the way is not too large in the end, on every instruction set.

use super::pooling_case::{Case, run};
use super::pooling_reference::expected;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;

/// The windows of one row of images whose channels are `x`, in both layouts, with finite numbers of another
/// channel beside them. Everything that is finite in f64 is to be right in f32.
fn check(x: &[f32], g: f32, w: &[f32]) {
    let per_place = w.len() > 1;
    for repeat in [1, 4200] {
        for channels_last in [false, true] {
            let mut case = Case::of_one(2, 1, 1, 1);
            case.channels_last = channels_last;
            case.pool.image = [1, x.len() * repeat];
            case.pool.kernel = case.pool.image;
            case.pool.per_place = per_place;
            let all: Vec<f32> = x.iter().copied().cycle().take(x.len() * repeat).collect();
            let two = |of: &[f32]| -> Vec<f32> {
                match channels_last {
                    true => of.iter().flat_map(|&x| [x, 1.0]).collect(),
                    false => of.iter().copied().chain(of.iter().map(|_| 1.0)).collect(),
                }
            };
            let weights = match per_place {
                true => w
                    .iter()
                    .copied()
                    .cycle()
                    .take(all.len())
                    .chain(all.iter().map(|_| 1.0))
                    .collect(),
                false => vec![w[0], 1.0],
            };
            compare(&case, [two(&all), vec![g, 1.0], weights]);
        }
    }
}

fn compare(case: &Case, operands: [Vec<f32>; 3]) {
    let exact = operands.clone().map(|list| list.into_iter().map(f64::from).collect());
    let exact = expected(&case.pool, case.channels_last, exact);
    for simd in Simd::available() {
        let got = run(case, DType::F32, operands.clone(), simd).expect("there is memory");
        for (which, (got, exact)) in got.iter().zip(&exact).enumerate() {
            for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
                let error = (f64::from(got) - exact).abs();
                let is_right = error <= 1e-5 * exact.abs() + 1e-12 || got == exact as f32;
                let what = (simd, &operands[0][..4], ["y", "dx", "dw"][which], i);
                assert!(is_right, "{what:?}: {got}, not {exact}");
            }
        }
    }
}

#[test]
fn sums_beyond_the_largest_number() {
    check(&[1e38; 4], 1.0, &[0.0]);
    check(&[3e38, -1e38, 3e38, 1.0], 1e-30, &[0.0]);
    check(&[1e38, 2e38, 3e38, -1e38], 1e-39, &[1e-38]);
}

#[test]
fn scores_beyond_the_largest_number() {
    check(&[3e38; 4], 1.0, &[1.0]);
    check(&[3e38, 3e38, 1.0, 2e38], 1.0, &[2.0]);
    check(&[-3e38, -3e38, -1.0, -2e38], 1.0, &[-2.0]);
    check(&[1.0, 2.0, 1.5, -2.0], 0.5, &[3e38]);
    check(&[3e38, -3e38, -3e38, 3e38], 1.0, &[-1e30]);
}

#[test]
fn differences_beyond_the_largest_number() {
    check(&[3e38, -3e38, 2e38, -1e38], 1e-3, &[0.0]);
    check(&[1e25, -1e25, 3e24, 2.0], 1e-20, &[1e-26]);
}

#[test]
fn weights_of_places_beyond_the_largest_score() {
    check(&[2.0, 4.0, 1.0, 4.0], 1.0, &[2e38, 1e38, 1e38, -3e38]);
    check(&[1e38, 2e38, -1e38, 3e38], 1e-30, &[1e-38, 1e-38, 1e30, 0.0]);
}

#[test]
fn what_is_not_a_number_stays_that() {
    for (bad, w) in [(f32::NAN, 1.0), (f32::INFINITY, 1.0), (f32::NEG_INFINITY, 0.0)] {
        for channels_last in [false, true] {
            let mut case = Case::of_one(20, 6, 2, 2);
            case.channels_last = channels_last;
            let mut x = vec![0.5; 20 * 36];
            x[3] = bad;
            for simd in Simd::available() {
                let operands = [x.clone(), vec![1.0; 20 * 9], vec![w; 20]];
                let [y, dx, dw] = run(&case, DType::F32, operands, simd).expect("there is memory");
                let strange = |list: &[f32]| list.iter().filter(|x| x.is_nan()).count();
                assert_eq!([&y, &dx, &dw].map(|list| strange(list)), [1, 4, 1], "{simd:?} {bad}");
            }
        }
    }
}
