//! A call on made-up arrays, run on every instruction set and compared with the reference.

use super::array::{Array, Placement};
use super::reference::{Expected, expected};
use super::running_error::Bounded;
use ewa_rs::attention::call::Call;
use ewa_rs::attention::dispatch::DynamicCall;
use ewa_rs::attention::layout::MAX_OPERANDS;
use ewa_rs::attention::op::OpName;
use ewa_rs::attention::op::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};
use ewa_rs::tensor::operand::Operand;

#[derive(Clone, Debug)]
pub struct Case {
    pub op: OpName,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub scale: f64,
    pub residual: bool,
    /// In the order of the op's inputs, the mask last.
    pub inputs: Vec<Option<Placement>>,
    pub mask: MaskKind,
    pub y: Placement,
    pub weights: Option<Placement>,
    pub upstream: Placement,
    pub upstream_weights: Option<Placement>,
    /// Of each input; never of a boolean mask.
    pub gradients: Vec<Option<Placement>>,
    /// Inputs are drawn from ±`magnitude`.
    pub magnitude: f64,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    Boolean,
    Additive,
}

/// The arrays that a case reads.
pub struct Arrays {
    pub inputs: Vec<Option<Array>>,
    pub upstream: Array,
    pub upstream_weights: Option<Array>,
}

/// The arrays that it writes.
pub struct Results {
    pub y: Array,
    pub weights: Option<Array>,
    pub statistics: [Array; 2],
    pub gradients: Vec<Option<Array>>,
}

impl Case {
    /// Everything contiguous and present but mask and biases, the softmax over the given axes.
    pub fn new(op: OpName, dtype: DType, shape: &[usize], softmax: &[usize]) -> Case {
        let plain = Placement::contiguous(shape.len());
        let mut inputs = vec![Some(plain.clone()); op.definition().inputs.len()];
        inputs
            .iter_mut()
            .skip(if op.definition().mask() == 3 { 3 } else { 4 })
            .for_each(|input| *input = None);
        Case {
            op,
            dtype,
            shape: shape.to_vec(),
            softmax: (0..shape.len()).map(|d| softmax.contains(&d)).collect(),
            scale: 1.0,
            residual: false,
            gradients: inputs.clone(),
            inputs,
            mask: MaskKind::Additive,
            y: plain.clone(),
            weights: None,
            upstream: plain,
            upstream_weights: None,
            magnitude: 2.0,
            seed: 0,
        }
    }

    pub fn arrays(&self) -> Arrays {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut number = move |magnitude: f64| magnitude * (2.0 * random.f64() - 1.0);
        let mut array = |dtype, placement: &Placement| {
            Array::new(dtype, &self.shape, placement).filled(|| number(self.magnitude))
        };
        let mut inputs: Vec<Option<Array>> =
            self.inputs.iter().map(|p| p.as_ref().map(|p| array(self.dtype, p))).collect();
        let upstream = array(self.dtype, &self.upstream);
        let upstream_weights = self.upstream_weights.as_ref().map(|p| array(self.dtype, p));
        let mask = self.op.definition().mask();
        inputs[mask] = self.inputs[mask].as_ref().map(|placement| self.mask(placement));
        Arrays { inputs, upstream, upstream_weights }
    }

    /// A third of it keeps nothing out, and the first slice is kept out wholly.
    fn mask(&self, placement: &Placement) -> Array {
        let mut random = fastrand::Rng::with_seed(!self.seed);
        let (dtype, dropped) = match self.mask {
            MaskKind::Boolean => (DType::Bool, 0.0),
            MaskKind::Additive => (self.dtype, f64::NEG_INFINITY),
        };
        let mask = Array::new(dtype, &self.shape, placement);
        for index in mask.indices() {
            let is_first = index.iter().zip(&self.softmax).all(|(&i, &s)| s || i == 0);
            let keeps = !is_first && random.f64() < 0.7;
            mask.set(&index, if keeps { 1.0 + random.f64() } else { dropped });
        }
        mask
    }

    pub fn results(&self) -> Results {
        let own = |p: &Placement| Array::new(self.dtype, &self.shape, p);
        let mut per_slice = Placement::contiguous(self.shape.len());
        per_slice.has = self.softmax.iter().map(|&s| !s).collect();
        Results {
            y: own(&self.y),
            weights: self.weights.as_ref().map(own),
            statistics: [0, 1].map(|_| Array::new(self.dtype.computed(), &self.shape, &per_slice)),
            gradients: self.gradients.iter().map(|p| p.as_ref().map(own)).collect(),
        }
    }

    pub fn run(&self, arrays: &Arrays, results: &Results, simd: Simd) {
        for direction in [Direction::Forward, Direction::Backward] {
            self.run_one(arrays, results, simd, direction);
        }
    }

    pub fn run_one(&self, arrays: &Arrays, results: &Results, simd: Simd, direction: Direction) {
        let mut operands = vec![Operand::absent(); MAX_OPERANDS];
        let mut put = |j: usize, array: Option<&Array>| {
            if let Some(array) = array {
                operands[j] = array.operand();
            }
        };
        arrays.inputs.iter().enumerate().for_each(|(j, input)| put(j, input.as_ref()));
        put(MAXIMUM, Some(&results.statistics[0]));
        put(INVERSE, Some(&results.statistics[1]));
        if direction == Direction::Forward {
            put(Y, Some(&results.y));
            put(WEIGHTS, results.weights.as_ref());
        } else {
            put(Y, Some(&arrays.upstream));
            put(WEIGHTS, arrays.upstream_weights.as_ref());
            let gradients = results.gradients.iter().enumerate();
            gradients.for_each(|(j, gradient)| put(GRADIENTS + j, gradient.as_ref()));
        }
        let mask = &arrays.inputs[self.op.definition().mask()];
        let call = DynamicCall {
            op: self.op,
            dtype: self.dtype,
            scale: self.scale,
            boolean_mask: mask.as_ref().is_some_and(|mask| mask.dtype == DType::Bool),
            residual: self.residual,
            call: Call { shape: self.shape.clone(), softmax: self.softmax.clone(), operands },
        };
        // SAFETY: the operands are arrays of that type and shape, each with memory of its own.
        unsafe { call.run(direction, simd) };
    }

    /// Run it on every instruction set, forward and backward, and compare.
    pub fn check(&self) {
        let arrays = self.arrays();
        let expected = expected(self, &arrays);
        for simd in Simd::available() {
            let results = self.results();
            self.run(&arrays, &results, simd);
            self.compare(&results, &expected, simd);
        }
    }

    fn compare(&self, results: &Results, expected: &Expected, simd: Simd) {
        let compare = |name: &str, array: Option<&Array>, expected: &[Bounded]| {
            let Some(array) = array else { return };
            for (index, &expected) in array.indices().zip(expected) {
                let found = array.get(&index);
                let tolerance = expected.tolerance(self.dtype);
                let difference = (found - expected.value).abs();
                assert!(
                    difference <= tolerance,
                    "{simd:?}: {name}{index:?} is {found:e}, expected {:e} ± {tolerance:e}\n{self:?}",
                    expected.value
                );
            }
            assert!(array.gaps_are_untouched(), "{simd:?}: {name} has written beside\n{self:?}");
        };
        compare("y", Some(&results.y), &expected.y);
        compare("weights", results.weights.as_ref(), &expected.weights);
        for (j, gradient) in results.gradients.iter().enumerate() {
            let name = format!("gradient of {}", self.op.definition().inputs[j].name);
            compare(&name, gradient.as_ref(), &expected.gradients[j]);
        }
    }
}
