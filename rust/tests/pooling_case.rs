//! One call of pooling, forward and backward.

use ewa_rs::pooling::{ImageView, Pool, PoolingCall};
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};
use ewa_rs::tensor::memory::OutOfMemory;

pub struct Case {
    pub pool: Pool,
    pub channels_last: bool,
}

impl Case {
    /// Windows of one image.
    pub fn of_one(channels: usize, image: usize, kernel: usize, stride: usize) -> Case {
        let [image, kernel, stride] = [image, kernel, stride].map(|n| [n, n]);
        let pool = Pool { lead: vec![1], channels, image, kernel, stride, per_place: false };
        Case { pool, channels_last: false }
    }
}

fn view<T>(data: &mut [T], channels: usize, image: [usize; 2], channels_last: bool) -> ImageView {
    let [channels, height, width] = [channels, image[0], image[1]].map(|n| n as isize);
    let last = [1, width * channels, channels];
    let first = [height * width, width, 1];
    ImageView {
        data: data.as_mut_ptr().cast(),
        lead: vec![channels * height * width],
        strides: if channels_last { last } else { first },
    }
}

/// Output and gradients of x and w, for x, the gradient of y, and w.
pub fn run<T: Copy + From<f32>>(
    case: &Case,
    dtype: DType,
    [mut x, mut g, mut w]: [Vec<T>; 3],
    simd: Simd,
) -> Result<[Vec<T>; 3], OutOfMemory> {
    let (pool, nothing) = (&case.pool, T::from(f32::NAN));
    let [mut y, mut dx, mut dw] = [g.len(), x.len(), w.len()].map(|n| vec![nothing; n]);
    let images = |data: &mut [T], size| view(data, pool.channels, size, case.channels_last);
    let of_w = |data: &mut [T]| {
        let [height, width] = pool.kernel.map(|n| n as isize);
        let strides = if pool.per_place { [height * width, width, 1] } else { [1, 0, 0] };
        ImageView { data: data.as_mut_ptr().cast(), lead: Vec::new(), strides }
    };
    let mut call = PoolingCall {
        pool: pool.clone(),
        dtype,
        x: images(&mut x, pool.image),
        w: of_w(&mut w),
        y: images(&mut y, pool.output()),
        dx: None,
        dw: None,
    };
    // SAFETY: all of it is memory of its own.
    unsafe { call.run(Direction::Forward, simd) }?;
    call.y = images(&mut g, pool.output());
    (call.dx, call.dw) = (Some(images(&mut dx, pool.image)), Some(of_w(&mut dw)));
    // SAFETY: as above.
    unsafe { call.run(Direction::Backward, simd) }?;
    Ok([y, dx, dw])
}
