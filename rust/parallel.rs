//! Threads: a persistent pool, and what a forked child does.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

/// Below this many elements the calling thread does all the work.
const THRESHOLD: usize = 32 * 1024;

struct Threads {
    count: usize,
    /// Started at the first call that needs it.
    pool: Option<Arc<ThreadPool>>,
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

/// EWA_NUM_THREADS, else OMP_NUM_THREADS (which joblib and torchrun set for their workers), else the
/// processors that this process may use.
fn default_count() -> usize {
    let from = |name| std::env::var(name).ok()?.trim().parse().ok().filter(|&n: &usize| n > 0);
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

fn pool() -> Option<Arc<ThreadPool>> {
    let lock = after_any_fork();
    {
        let threads = lock.read().expect("no panic while held");
        if threads.count == 1 || threads.pool.is_some() {
            return threads.pool.clone();
        }
    }
    let mut threads = lock.write().expect("no panic while held");
    if threads.pool.is_none() {
        let name = |i| format!("ewa_rs-{i}");
        let builder = ThreadPoolBuilder::new().num_threads(threads.count).thread_name(name);
        threads.pool = builder.build().ok().map(Arc::new);
    }
    threads.pool.clone()
}

/// Call `work` with each of `0..count`, on the pool's threads if there are at least [`THRESHOLD`]
/// elements to work on.
pub fn for_each(count: usize, elements: usize, work: impl Fn(usize) + Sync) {
    if count > 1
        && elements >= THRESHOLD
        && let Some(pool) = pool()
    {
        pool.install(|| (0..count).into_par_iter().for_each(&work));
        return;
    }
    (0..count).for_each(work);
}
