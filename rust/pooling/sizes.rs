//! The sizes of a pooling, and what follows from them.

#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What stands before the channels in the shape.
    pub lead: Vec<usize>,
    pub channels: usize,
    /// Height and width, as in everything that follows.
    pub image: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Whether w has a number for each place in a window.
    pub per_place: bool,
}

impl Pool {
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.image[d] - self.kernel[d]) / self.stride[d] + 1)
    }

    pub fn images(&self) -> usize {
        self.lead.iter().product()
    }

    /// The elements of a window.
    pub fn places(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Row and column in its window of the `p`-th element.
    pub fn place(&self, p: usize) -> [usize; 2] {
        [p / self.kernel[1], p % self.kernel[1]]
    }

    /// The numbers of w for one channel.
    pub fn weights(&self) -> usize {
        if self.per_place { self.places() } else { 1 }
    }

    pub fn overlaps(&self) -> bool {
        (0..2).any(|d| self.kernel[d] > self.stride[d])
    }

    /// Whether every element of an image is in a window.
    pub fn covers(&self) -> bool {
        let out = self.output();
        (0..2).all(|d| self.kernel[d] >= self.stride[d])
            && (0..2).all(|d| (out[d] - 1) * self.stride[d] + self.kernel[d] == self.image[d])
    }
}
