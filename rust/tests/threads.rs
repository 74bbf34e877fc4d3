//! The pool of threads, and results that don't depend on how many there are.

use super::array::Placement;
use super::case::Case;
use ewa_rs::attention::op::OpName;
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;
use ewa_rs::threads::{for_each, num_threads, set_num_threads};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of threads is one for the whole process.
static NUMBER: Mutex<()> = Mutex::new(());

/// Every form, in pieces and not, with gradients that are summed over a batch, a row and everything.
const CASES: [(&[usize], &[usize], &[bool]); 7] = [
    (&[200, 301], &[1], &[false, true]),
    (&[200, 301], &[1], &[true, false]),
    (&[4, 50, 301], &[1], &[false, true, true]),
    (&[50, 20, 67], &[0, 2], &[false, true, false]),
    (&[2, 33_001], &[1], &[false, true]),
    (&[3_001, 35], &[0], &[false, true]),
    (&[1, 7, 2, 4_801], &[1, 3], &[false, false, false, false]),
];

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let _guard = NUMBER.lock().unwrap();
    let ops = [OpName::ElementwiseAttention, OpName::ElementwiseSelfAttention];
    for ((shape, softmax, has), op) in CASES.into_iter().zip(ops.into_iter().cycle()) {
        let mut case = Case::new(op, DType::F32, shape, softmax);
        let broadcast = Placement { has: has.to_vec(), ..Placement::contiguous(shape.len()) };
        case.inputs[1] = Some(broadcast.clone());
        case.gradients[1] = Some(broadcast);
        let arrays = case.arrays();
        for simd in Simd::available() {
            let runs = [1, 2, 5].map(|threads| {
                set_num_threads(threads);
                let results = case.results();
                case.run(&arrays, &results, simd);
                results
            });
            for run in &runs[1..] {
                assert!(run.y.bytes() == runs[0].y.bytes(), "y, {simd:?} {case:?}");
                let gradients =
                    run.gradients.iter().flatten().zip(runs[0].gradients.iter().flatten());
                gradients.for_each(|(a, b)| assert!(a.bytes() == b.bytes(), "{simd:?} {case:?}"));
            }
        }
    }
}

#[test]
fn every_item_is_done_once_by_as_many_threads_as_set() {
    let _guard = NUMBER.lock().unwrap();
    for threads in [1, 2, 5] {
        set_num_threads(threads);
        assert_eq!(num_threads(), threads);
        let done: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        let seen = Mutex::new(std::collections::HashSet::new());
        for_each(done.len(), usize::MAX, |i| {
            done[i].fetch_add(1, Relaxed);
            seen.lock().unwrap().insert(std::thread::current().id());
        });
        assert!(done.iter().all(|n| n.load(Relaxed) == 1));
        assert!(seen.lock().unwrap().len() <= threads);
    }
}

#[test]
fn work_within_work_and_small_work() {
    let _guard = NUMBER.lock().unwrap();
    set_num_threads(2);
    let count = AtomicUsize::new(0);
    for_each(20, usize::MAX, |_| {
        for_each(30, usize::MAX, |_| {
            count.fetch_add(1, Relaxed);
        });
    });
    assert_eq!(count.load(Relaxed), 600);
    let here = std::thread::current().id();
    for_each(50, 100, |_| assert_eq!(std::thread::current().id(), here));
    for_each(0, usize::MAX, |_| unreachable!());
}
