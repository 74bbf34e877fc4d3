//! Pooling as plain loops over scalars: slow, obvious, and what the kernels are tested against.

use super::{Call, Maps};
use crate::dispatch::Direction;
use crate::numerics::{Element, Float};

pub unsafe fn run<T: Element>(call: &Call, direction: Direction) {
    let pool = &call.pool;
    let [height, width] = pool.image;
    for c in 0..pool.channels {
        let mut dw = vec![T::Acc::ZERO; pool.weights()];
        for image in 0..pool.images() {
            let mut dx = vec![T::Acc::ZERO; height * width];
            let mut dw_of_image = vec![T::Acc::ZERO; pool.weights()];
            let [rows, columns] = pool.output();
            for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                let window = Window::<T>::new(call, image, c, row, column);
                let at = element::<T>(&call.y, call, image, [c, row, column]);
                match direction {
                    Direction::Forward => *at = T::from_acc(window.output()),
                    Direction::Backward => {
                        window.gradients((*at).to_acc(), &mut dx, &mut dw_of_image)
                    }
                }
            }
            dw.iter_mut().zip(dw_of_image).for_each(|(total, sum)| *total = *total + sum);
            if let (Direction::Backward, Some(maps)) = (direction, &call.dx) {
                for (i, &gradient) in dx.iter().enumerate() {
                    let at = [c, i / width, i % width];
                    *element::<T>(maps, call, image, at) = T::from_acc(gradient);
                }
            }
        }
        if let (Direction::Backward, Some(maps)) = (direction, &call.dw) {
            for (k, &gradient) in dw.iter().enumerate() {
                *call.weight::<T>(maps, c, k) = T::from_acc(gradient);
            }
        }
    }
}

unsafe fn element<T>(maps: &Maps, call: &Call, image: usize, at: [usize; 3]) -> *mut T {
    let offset: isize = at.iter().zip(&maps.strides).map(|(&i, &s)| i as isize * s).sum();
    maps.image::<T>(&call.pool, image).offset(offset)
}

/// One window: of each place the index in the image, x, w and exp(w·x − max).
struct Window<T: Element> {
    places: Vec<(usize, T::Acc, T::Acc, T::Acc)>,
}

impl<T: Element> Window<T> {
    unsafe fn new(call: &Call, image: usize, c: usize, row: usize, column: usize) -> Self {
        let pool = &call.pool;
        let mut places = Vec::new();
        for p in 0..pool.places() {
            let y = row * pool.stride[0] + p / pool.kernel[1];
            let x = column * pool.stride[1] + p % pool.kernel[1];
            let value = (*element::<T>(&call.x, call, image, [c, y, x])).to_acc();
            let k = if pool.per_place { p } else { 0 };
            let w = (*call.weight::<T>(&call.w, c, k)).to_acc();
            places.push((y * pool.image[1] + x, value, w, w * value));
        }
        let low = T::Acc::NEG_INFINITY;
        let largest = places.iter().fold(low, |m, place| if place.3 > m { place.3 } else { m });
        places.iter_mut().for_each(|place| place.3 = (place.3 - largest).exp());
        Window { places }
    }

    fn sum(&self, f: impl Fn(T::Acc, T::Acc) -> T::Acc) -> T::Acc {
        self.places.iter().fold(T::Acc::ZERO, |sum, &(_, x, _, e)| sum + f(x, e))
    }

    fn output(&self) -> T::Acc {
        self.sum(|x, e| e * x) / self.sum(|_, e| e)
    }

    fn gradients(&self, g: T::Acc, dx: &mut [T::Acc], dw: &mut [T::Acc]) {
        let (y, sum) = (self.output(), self.sum(|_, e| e));
        for (p, &(index, x, w, e)) in self.places.iter().enumerate() {
            let a = e / sum;
            dx[index] = dx[index] + g * a * (T::Acc::ONE + w * (x - y));
            // Σ a·x·(x − y) over a window is Σ a·(x − y)², which does not cancel.
            let is_shared = dw.len() == 1;
            let factor = if is_shared { x - y } else { x };
            let k = if is_shared { 0 } else { p };
            dw[k] = dw[k] + g * a * factor * (x - y);
        }
    }
}
