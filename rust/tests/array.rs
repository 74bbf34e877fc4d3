//! Arrays of any element type and layout, in guarded memory.

use super::guarded::Guarded;
use ewa_rs::tensor::dtype::DType;
use ewa_rs::tensor::operand::Operand;
use half::{bf16, f16};

/// How an array lies in memory.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The axes that it has; it is broadcast over the others.
    pub has: Vec<bool>,
    /// The axes, from the outermost in memory to the innermost.
    pub order: Vec<usize>,
    /// Elements from one index to the next along each axis, over what lies inside of it: −1 is reversed,
    /// 2 leaves gaps.
    pub steps: Vec<isize>,
    pub guarded_at_end: bool,
}

impl Placement {
    pub fn contiguous(axes: usize) -> Placement {
        Placement {
            has: vec![true; axes],
            order: (0..axes).collect(),
            steps: vec![1; axes],
            guarded_at_end: true,
        }
    }
}

pub struct Array {
    pub dtype: DType,
    /// One where it is broadcast.
    pub shape: Vec<usize>,
    /// Zero where it is broadcast.
    pub strides: Vec<isize>,
    start: *mut u8,
    memory: std::rc::Rc<Guarded>,
}

/// What memory that belongs to no element holds.
const GAP: u8 = 0xA5;

impl Array {
    pub fn new(dtype: DType, shape: &[usize], placement: &Placement) -> Array {
        let own: Vec<usize> =
            shape.iter().zip(&placement.has).map(|(&n, &has)| if has { n } else { 1 }).collect();
        let mut strides = vec![0; shape.len()];
        let (mut reach, mut start) = (dtype.item(), 0);
        for &d in placement.order.iter().rev().filter(|&&d| placement.has[d]) {
            let step = placement.steps[d].unsigned_abs() * reach;
            strides[d] = placement.steps[d].signum() * step as isize;
            if placement.steps[d] < 0 {
                start += own[d].saturating_sub(1) * step;
            }
            reach += own[d].saturating_sub(1) * step;
        }
        let bytes = if own.contains(&0) { 0 } else { reach };
        let memory = Guarded::zeroed(bytes, placement.guarded_at_end);
        memory.fill(GAP);
        let start = memory.data.wrapping_add(start);
        Array { dtype, shape: own, strides, start, memory: memory.into() }
    }

    /// The same array: its memory is shared.
    pub fn alias(&self) -> Array {
        let (shape, strides) = (self.shape.clone(), self.strides.clone());
        Array { shape, strides, memory: self.memory.clone(), ..*self }
    }

    pub fn filled(self, mut value: impl FnMut() -> f64) -> Array {
        self.indices().for_each(|index| self.set(&index, value()));
        self
    }

    pub fn operand(&self) -> Operand {
        Operand { data: self.start, item: self.dtype.item(), strides: self.strides[..].into() }
    }

    /// Every index of the elements that it has.
    pub fn indices(&self) -> impl Iterator<Item = Vec<usize>> {
        indices(&self.shape)
    }

    fn place(&self, index: &[usize]) -> *mut u8 {
        let offset: isize = index.iter().zip(&self.strides).map(|(&i, s)| i as isize * s).sum();
        self.start.wrapping_offset(offset)
    }

    /// The element at an index of the broadcast shape.
    pub fn get(&self, index: &[usize]) -> f64 {
        let p = self.place(index);
        // SAFETY: the index lies inside.
        unsafe {
            match self.dtype {
                DType::F16 => (*p.cast::<f16>()).to_f64(),
                DType::BF16 => (*p.cast::<bf16>()).to_f64(),
                DType::F32 => (*p.cast::<f32>()).into(),
                DType::F64 => *p.cast::<f64>(),
                DType::Bool => (*p).into(),
            }
        }
    }

    pub fn set(&self, index: &[usize], x: f64) {
        let p = self.place(index);
        // SAFETY: the index lies inside.
        unsafe {
            match self.dtype {
                DType::F16 => *p.cast() = f16::from_f64(x),
                DType::BF16 => *p.cast() = bf16::from_f64(x),
                DType::F32 => *p.cast() = x as f32,
                DType::F64 => *p.cast() = x,
                DType::Bool => *p = (x != 0.0).into(),
            }
        }
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.contents()
    }

    /// Whether what lies between the elements is as it was.
    pub fn gaps_are_untouched(&self) -> bool {
        let mut gap = vec![true; self.memory.bytes];
        for index in self.indices() {
            let at = self.place(&index) as usize - self.memory.data as usize;
            gap[at..at + self.dtype.item()].fill(false);
        }
        self.bytes().iter().zip(gap).all(|(&byte, gap)| !gap || byte == GAP)
    }
}

/// Every index of a shape, the last axis fastest.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let total: usize = shape.iter().product();
    (0..total).map(move |mut i| {
        let mut index = vec![0; shape.len()];
        for (place, &n) in index.iter_mut().zip(&shape).rev() {
            *place = i % n;
            i /= n;
        }
        index
    })
}
