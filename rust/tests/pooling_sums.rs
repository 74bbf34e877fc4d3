//! Errors of pooling do not grow with the windows, nor with their number, on every instruction set.

use super::pooling_case::{Case, run};
use super::pooling_reference::expected;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;

/// Assert that y, dx and dw are within some eps of what an error of each sum is proportional to: Σ a·|x|,
/// Σ g·a·(1 + |w|·(|x| + |y|)) and Σ g·a·(x − y)², the gradient itself (and the square of an error of y, which
/// that of y enters by). x, g and w are positive.
fn check(case: &Case, x: Vec<f32>, g: f32, w: f32) {
    let pool = &case.pool;
    let outputs = pool.channels * pool.output()[0] * pool.output()[1];
    let operands = [x, vec![g; outputs], vec![w; pool.channels]];
    let exact = operands.clone().map(|list| list.into_iter().map(f64::from).collect());
    let largest = operands[0].iter().fold(0.0, |m: f32, &x| m.max(x));
    let exact = expected(pool, case.channels_last, exact);
    let score = f64::from(3.0 * w * largest);
    // A gradient of x is g·a times 1 − |w|·largest at least, if that is positive.
    let factor = f64::from((1.0 + 2.0 * w * largest) / (1.0 - w * largest).max(0.1));
    for simd in Simd::available() {
        let got = run(case, DType::F32, operands.clone(), simd).expect("there is memory");
        let square = |eps: f32| f64::from(eps * f32::EPSILON * largest).powi(2);
        let floors = [0.0, 0.0, f64::from(g) * pool.places() as f64 * square(16.0)];
        let bounds = [8.0, 16.0 * factor, 16.0].map(|eps| (eps + score) * f64::from(f32::EPSILON));
        for (which, (got, exact)) in got.iter().zip(&exact).enumerate() {
            for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
                let error = (f64::from(got) - exact).abs();
                let what = (simd, pool, case.channels_last, ["y", "dx", "dw"][which], i);
                let bound = bounds[which] * exact.abs() + floors[which];
                assert!(error <= bound, "{what:?}: {got}, not {exact}");
            }
        }
    }
}

fn in_both_layouts(mut case: Case, value: impl FnMut() -> f32, g: f32, w: f32) {
    let n = case.pool.channels * case.pool.image[0] * case.pool.image[1];
    let x: Vec<f32> = std::iter::repeat_with(value).take(n).collect();
    for channels_last in [false, true] {
        case.channels_last = channels_last;
        check(&case, x.clone(), g, w);
    }
}

fn noise() -> impl FnMut() -> f32 {
    let mut rng = fastrand::Rng::with_seed(3);
    move || rng.f32()
}

#[test]
fn windows_of_a_million_places() {
    let mut noise = noise();
    in_both_layouts(Case::of_one(1, 1000, 1000, 1000), move || 100.0 + noise(), 1.0, 0.0);
    in_both_layouts(Case::of_one(2, 1000, 1000, 1000), self::noise(), 1.0, 0.3);
}

#[test]
fn constant_windows_of_every_size() {
    for size in [5, 28, 64, 130, 224] {
        in_both_layouts(Case::of_one(3, size, size, size), || 0.1, 0.1, 0.0);
    }
}

#[test]
fn a_gradient_of_w_over_many_windows() {
    in_both_layouts(Case::of_one(1, 1200, 2, 2), noise(), 0.1, 0.3);
    in_both_layouts(Case::of_one(17, 200, 2, 2), noise(), 0.1, 0.3);
    in_both_layouts(Case::of_one(2, 300, 1, 1), noise(), 0.1, 0.3);
}

#[test]
fn gradients_of_what_many_windows_have_in_common() {
    in_both_layouts(Case::of_one(2, 100, 48, 1), noise(), 0.1, 0.0);
    in_both_layouts(Case::of_one(1, 140, 130, 3), noise(), 0.1, 0.3);
}
