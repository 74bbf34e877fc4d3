//! What a pooling is to give, in f64, written down from the formulas: one window after the other.

use ewa_rs::pooling::Pool;

/// Elements of an image, channel by channel, in memory that has the channels first or last.
struct Indices {
    channels_last: bool,
    channels: usize,
    size: [usize; 2],
}

impl Indices {
    fn at(&self, image: usize, c: usize, [row, column]: [usize; 2]) -> usize {
        let [height, width] = self.size;
        if self.channels_last {
            ((image * height + row) * width + column) * self.channels + c
        } else {
            ((image * self.channels + c) * height + row) * width + column
        }
    }
}

/// y, dx and dw of x, the gradient of y and w.
pub fn expected(pool: &Pool, channels_last: bool, [x, g, w]: [Vec<f64>; 3]) -> [Vec<f64>; 3] {
    let of = |size| Indices { channels_last, channels: pool.channels, size };
    let (inputs, outputs) = (of(pool.image), of(pool.output()));
    let [mut y, mut dx, mut dw] = [&g, &x, &w].map(|like| vec![0.0; like.len()]);
    let [rows, columns] = pool.output();
    for image in 0..pool.images() {
        for c in 0..pool.channels {
            for at in (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column])) {
                let places: Vec<usize> = (0..pool.places())
                    .map(|p| [p / pool.kernel[1], p % pool.kernel[1]])
                    .map(|p| [0, 1].map(|d| at[d] * pool.stride[d] + p[d]))
                    .map(|place| inputs.at(image, c, place))
                    .collect();
                let weight = |p: usize| if pool.per_place { c * pool.places() + p } else { c };
                let window: Vec<f64> = places.iter().map(|&i| x[i]).collect();
                let a = softmax((0..window.len()).map(|p| w[weight(p)] * window[p]).collect());
                // From the element of the largest weight on: exact where the others are like it, or nothing.
                let most = (1..a.len()).fold(0, |most, p| if a[p] > a[most] { p } else { most });
                let from = window[most];
                let average =
                    from + a.iter().zip(&window).map(|(a, x)| a * (x - from)).sum::<f64>();
                let output = outputs.at(image, c, at);
                y[output] = average;
                for (p, (&i, &a)) in places.iter().zip(&a).enumerate() {
                    let apart = x[i] - average;
                    dx[i] += g[output] * a * (1.0 + w[weight(p)] * apart);
                    // Over a whole window Σ a·x·(x − y) is Σ a·(x − y)², which does not cancel.
                    let factor = if pool.per_place { x[i] } else { apart };
                    dw[weight(p)] += g[output] * a * factor * apart;
                }
            }
        }
    }
    [y, dx, dw]
}

fn softmax(z: Vec<f64>) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}
