//! Threads: a persistent pool, and what a forked child does.

use crate::workers::Workers;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

/// Below this many elements the calling thread does all the work.
const THRESHOLD: usize = 32 * 1024;

struct Threads {
    count: usize,
    /// Started at the first call that needs it.
    pool: Option<Arc<Workers>>,
}

static THREADS: OnceLock<RwLock<Threads>> = OnceLock::new();
static FORKED: AtomicBool = AtomicBool::new(false);

fn threads() -> &'static RwLock<Threads> {
    THREADS.get_or_init(|| {
        // SAFETY: the handler only stores to an atomic.
        #[cfg(unix)]
        unsafe {
            libc::pthread_atfork(None, None, Some(after_fork));
        }
        RwLock::new(Threads { count: default_count(), pool: None })
    })
}

/// Threads do not survive a fork: the child works alone until it asks for more.
#[cfg(unix)]
unsafe extern "C" fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// A number of threads that the environment names.
fn from_environment(name: &str) -> Result<Option<usize>, String> {
    let Some(value) = std::env::var(name).ok().filter(|value| !value.trim().is_empty()) else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(count @ 1..=4096) => Ok(Some(count)),
        _ => Err(format!("{name}: expected 1 to 4096 threads, got {value:?}")),
    }
}

/// An error if EWA_NUM_THREADS is set to what is no number of threads.
pub fn check_environment() -> Result<(), String> {
    from_environment("EWA_NUM_THREADS").map(|_| ())
}

/// EWA_NUM_THREADS, else OMP_NUM_THREADS (which joblib and torchrun set for their workers), else the
/// processors that this process may use.
fn default_count() -> usize {
    let from = |name| from_environment(name).ok().flatten();
    from("EWA_NUM_THREADS")
        .or_else(|| from("OMP_NUM_THREADS"))
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

fn after_any_fork() -> &'static RwLock<Threads> {
    let threads = threads();
    if FORKED.swap(false, Ordering::Relaxed) {
        let mut threads = threads.write().expect("no panic while held");
        // The parent's pool has no threads here, and waiting for them would never end.
        std::mem::forget(threads.pool.take());
        threads.count = 1;
    }
    threads
}

pub fn num_threads() -> usize {
    after_any_fork().read().expect("no panic while held").count
}

pub fn set_num_threads(count: usize) {
    let mut threads = after_any_fork().write().expect("no panic while held");
    if threads.count != count {
        *threads = Threads { count, pool: None };
    }
}

/// The threads beside the calling one: none if one is all.
fn pool() -> Option<Arc<Workers>> {
    let lock = after_any_fork();
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
