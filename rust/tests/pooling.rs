//! Pooling on every instruction set, against the reference.

use super::pooling_case::{Case, run};
use super::pooling_reference::expected;
use ewa_rs::pooling::Pool;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;

/// x, the gradient of y, and w.
fn operands<T: From<f32>>(pool: &Pool) -> [Vec<T>; 3] {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut draw =
        |n: usize| -> Vec<T> { (0..n).map(|_| T::from(4.0 * rng.f32() - 2.0)).collect() };
    let images = pool.images() * pool.channels;
    let x = draw(images * pool.image[0] * pool.image[1]);
    let g = draw(images * pool.output()[0] * pool.output()[1]);
    [x, g, draw(pool.weights() * pool.channels)]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (image, kernel, stride) in [
        ([6, 8], [2, 2], [2, 2]),
        ([7, 35], [2, 2], [2, 2]),
        ([5, 7], [5, 7], [5, 7]),
        ([6, 9], [3, 2], [1, 2]),
        ([8, 9], [2, 1], [3, 2]),
        ([5, 5], [1, 1], [1, 1]),
    ] {
        for channels in [1, 5, 16, 35] {
            for per_place in [false, true] {
                for channels_last in [false, true] {
                    let lead = vec![3];
                    let pool = Pool { lead, channels, image, kernel, stride, per_place };
                    cases.push(Case { pool, channels_last });
                }
            }
        }
    }
    cases
}

fn check<T: Copy + From<f32> + Into<f64>>(dtype: DType, tolerance: f64) {
    for case in cases() {
        let exact = expected(&case.pool, case.channels_last, operands(&case.pool));
        for simd in Simd::available() {
            let got = run(&case, dtype, operands::<T>(&case.pool), simd).expect("there is memory");
            for (which, (got, exact)) in got.iter().zip(&exact).enumerate() {
                for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
                    let got: f64 = got.into();
                    // Sums over the images and windows are of the order of 1000 terms of order 1.
                    let size = if which == 2 { 100.0 } else { 4.0 };
                    let what = (simd, dtype, &case.pool, case.channels_last, which, i);
                    assert!(
                        (got - exact).abs() <= tolerance * size,
                        "{what:?}: {got}, not {exact}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_instruction_set_pools_alike() {
    check::<f32>(DType::F32, 4.0 * f64::from(f32::EPSILON));
    check::<f64>(DType::F64, 8.0 * f64::EPSILON);
}
