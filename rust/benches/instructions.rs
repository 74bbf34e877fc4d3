//! Three kernels, once each, for callgrind to count the instructions of: see `tools/bench_guard.py`.
//!
//! On AVX2, or without it on the portable registers: valgrind knows no AVX-512. One thread.

use ewa_rs::attention::call::Call;
use ewa_rs::attention::dispatch::DynamicCall;
use ewa_rs::attention::layout::MAX_OPERANDS;
use ewa_rs::attention::op::OpName;
use ewa_rs::attention::op::{GRADIENTS, INVERSE, MAXIMUM, Y};
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::{DType, Direction};
use ewa_rs::tensor::operand::Operand;

const ROWS: usize = 1024;
const LENGTH: usize = 784;

fn main() {
    let simd = Simd::available().find(|simd| simd.name() != "avx512").expect("the portable one");
    ewa_rs::threads::set_num_threads(1);
    let (pair, layer) = (OpName::ElementwiseAttention, OpName::ElementwiseSelfAttention);
    match std::env::args().nth(1).as_deref() {
        Some("attention_forward") => measured(&Bench::new(pair, 3), Direction::Forward, simd),
        Some("attention_backward") => measured(&Bench::new(pair, 3), Direction::Backward, simd),
        Some("layer_backward") => measured(&Bench::new(layer, 4), Direction::Backward, simd),
        // Whoever runs all benchmarks has no kernel in mind.
        _ => println!("{}", simd.name()),
    }
}

/// Callgrind counts what happens in here, by its name.
#[inline(never)]
#[unsafe(no_mangle)]
fn measured(bench: &Bench, direction: Direction, simd: Simd) {
    bench.run(direction, simd);
}

/// A call on rows, all inputs but the first of a layer being broadcast over these.
struct Bench {
    op: OpName,
    operands: Vec<Operand>,
    _memory: Vec<Vec<f32>>,
}

impl Bench {
    fn new(op: OpName, inputs: usize) -> Bench {
        let is_layer = op == OpName::ElementwiseSelfAttention;
        let mut bench =
            Bench { op, operands: vec![Operand::absent(); MAX_OPERANDS], _memory: Vec::new() };
        for j in 0..inputs {
            let rows = if is_layer && j > 0 { 1 } else { ROWS };
            bench.add(j, rows, LENGTH);
            bench.add(GRADIENTS + j, rows, LENGTH);
        }
        bench.add(Y, ROWS, LENGTH);
        bench.add(MAXIMUM, ROWS, 1);
        bench.add(INVERSE, ROWS, 1);
        bench
    }

    fn add(&mut self, j: usize, rows: usize, length: usize) {
        let number = |i: usize| ((i * 37 + j * 11) % 101) as f32 / 50.0 - 1.0;
        let mut array: Vec<f32> = (0..rows * length).map(number).collect();
        let stride = |n: usize, stride: usize| if n == 1 { 0 } else { 4 * stride as isize };
        let strides = [stride(rows, length), stride(length, 1)].into_iter().collect();
        self.operands[j] = Operand { data: array.as_mut_ptr().cast(), item: 4, strides };
        self._memory.push(array);
    }

    fn run(&self, direction: Direction, simd: Simd) {
        let call = DynamicCall {
            op: self.op,
            dtype: DType::F32,
            scale: 1.0 / (LENGTH as f64).sqrt(),
            boolean_mask: false,
            residual: false,
            call: Call {
                shape: vec![ROWS, LENGTH],
                softmax: vec![false, true],
                operands: self.operands.clone(),
            },
        };
        // SAFETY: the operands are arrays of that type and shape, each with memory of its own.
        unsafe { call.run(direction, simd) };
    }
}
