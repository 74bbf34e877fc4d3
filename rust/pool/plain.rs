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

/// An element of a window.
struct Place<A> {
    /// In the image.
    index: usize,
    x: A,
    w: A,
    /// exp(w·x − the largest w·x).
    e: A,
}

struct Window<T: Element>(Vec<Place<T::Acc>>);

impl<T: Element> Window<T> {
    unsafe fn new(call: &Call, image: usize, c: usize, row: usize, column: usize) -> Self {
        let pool = &call.pool;
        let mut places = Vec::new();
        for p in 0..pool.places() {
            let i = row * pool.stride[0] + p / pool.kernel[1];
            let j = column * pool.stride[1] + p % pool.kernel[1];
            let x = (*element::<T>(&call.x, call, image, [c, i, j])).to_acc();
            let k = if pool.per_place { p } else { 0 };
            let w = (*call.weight::<T>(&call.w, c, k)).to_acc();
            places.push(Place { index: i * pool.image[1] + j, x, w, e: w * x });
        }
        let low = T::Acc::NEG_INFINITY;
        let largest = places.iter().fold(low, |m, place| if place.e > m { place.e } else { m });
        places.iter_mut().for_each(|place| place.e = (place.e - largest).exp());
        Window(places)
    }

    fn sum(&self, f: impl Fn(&Place<T::Acc>) -> T::Acc) -> T::Acc {
        self.0.iter().fold(T::Acc::ZERO, |sum, place| sum + f(place))
    }

    fn output(&self) -> T::Acc {
        self.sum(|place| place.e * place.x) / self.sum(|place| place.e)
    }

    fn gradients(&self, g: T::Acc, dx: &mut [T::Acc], dw: &mut [T::Acc]) {
        let (y, sum) = (self.output(), self.sum(|place| place.e));
        let is_shared = dw.len() == 1;
        for (p, &Place { index, x, w, e }) in self.0.iter().enumerate() {
            let a = e / sum;
            dx[index] = dx[index] + g * a * (T::Acc::ONE + w * (x - y));
            // Σ a·x·(x − y) over a window is Σ a·(x − y)², which does not cancel.
            let factor = if is_shared { x - y } else { x };
            let k = if is_shared { 0 } else { p };
            dw[k] = dw[k] + g * a * factor * (x - y);
        }
    }
}
