//! Threads: a persistent pool, and what a forked child does.

mod workers;

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use workers::Workers;

/// Below this many elements the calling thread does all the work.
const THRESHOLD: usize = 32 * 1024;

struct Threads {
    count: usize,
    /// Started at the first call that needs it.
    pool: Option<Arc<Workers>>,
}

/// Null before the first use, in this process or in a forked child.
static THREADS: AtomicPtr<RwLock<Threads>> = AtomicPtr::new(null_mut());
static FORKED: AtomicBool = AtomicBool::new(false);

fn threads() -> &'static RwLock<Threads> {
    let mut found = THREADS.load(Ordering::Acquire);
    if found.is_null() {
        let count = if FORKED.load(Ordering::Relaxed) { 1 } else { default_count() };
        let new = Box::into_raw(Box::new(RwLock::new(Threads { count, pool: None })));
        found = new;
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        if let Err(first) = THREADS.compare_exchange(null_mut(), new, success, failure) {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
            found = first;
        }
    }
    // SAFETY: what is stored there is never freed.
    unsafe { &*found }
}

/// Have forked children work alone until they ask for more: threads do not survive a fork.
pub fn watch_forks() {
    // SAFETY: the handler only stores to atomics.
    #[cfg(unix)]
    unsafe {
        libc::pthread_atfork(None, None, Some(after_fork));
    }
}

/// The parent's lock may be held by a thread that is not in the child, and its pool has none there: both
/// are left as they lie.
#[cfg(unix)]
unsafe extern "C" fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
    THREADS.store(null_mut(), Ordering::Release);
}

fn parse_count(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|count| (1..=4096).contains(count))
}

/// What EWA_NUM_THREADS says: an error if that is no number of threads.
fn own_setting() -> Result<Option<usize>, String> {
    let value = std::env::var("EWA_NUM_THREADS").unwrap_or_default();
    if value.trim().is_empty() {
        return Ok(None);
    }
    let error = || format!("EWA_NUM_THREADS: expected 1 to 4096 threads, got {value:?}");
    parse_count(&value).map(Some).ok_or_else(error)
}

pub fn check_environment() -> Result<(), String> {
    own_setting().map(|_| ())
}

/// EWA_NUM_THREADS, else OMP_NUM_THREADS (which joblib and torchrun set for their workers, and which may
/// be a list, a number a level of nesting), else the processors that this process may use.
fn default_count() -> usize {
    let openmp = || parse_count(std::env::var("OMP_NUM_THREADS").ok()?.split(',').next()?);
    own_setting()
        .ok()
        .flatten()
        .or_else(openmp)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

pub fn num_threads() -> usize {
    threads().read().expect("no panic while held").count
}

pub fn set_num_threads(count: usize) {
    let mut threads = threads().write().expect("no panic while held");
    if threads.count != count {
        *threads = Threads { count, pool: None };
    }
}

/// The threads beside the calling one: none if one is all.
fn pool() -> Option<Arc<Workers>> {
    let lock = threads();
    {
        let threads = lock.read().expect("no panic while held");
        if threads.count == 1 || threads.pool.is_some() {
            return threads.pool.clone();
        }
    }
    let mut threads = lock.write().expect("no panic while held");
    if threads.pool.is_none() {
        threads.pool = Some(Arc::new(Workers::start(threads.count - 1)));
    }
    threads.pool.clone()
}

/// Call `work` with each of `0..count`, on several threads if there are at least [`THRESHOLD`] elements to
/// work on.
pub fn for_each(count: usize, elements: usize, work: impl Fn(usize) + Sync) {
    for_each_with(count, elements, || (), |(), i| work(i));
}

/// The same with a state for each thread, which `start` makes. The calling thread takes part, so that
/// nothing waits for the others to wake up.
pub fn for_each_with<S>(
    count: usize,
    elements: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) + Sync,
) {
    if count > 1
        && elements >= THRESHOLD
        && let Some(pool) = pool()
    {
        let next = AtomicUsize::new(0);
        let take = || {
            let mut state = None;
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                work(state.get_or_insert_with(&start), i);
            }
        };
        return pool.share(elements, &take);
    }
    let mut state = start();
    (0..count).for_each(|i| work(&mut state, i));
}
