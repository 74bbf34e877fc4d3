//! Threads that help the one that calls. They wait for the next call awake for a moment, because a thread
//! that sleeps takes longer to wake up than a small call takes; then they sleep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// How long a worker stays awake after its work.
const AWAKE: Duration = Duration::from_micros(100);
/// Work of fewer elements than this is done before a sleeping worker could help.
const WORTH_WAKING: usize = 256 * 1024;
/// Unless more such work is likely to come: the last has been less than this ago.
const IN_A_ROW: Duration = Duration::from_micros(400);

/// What every worker does once. It lives until the caller has seen the last worker leave.
type Job = *const (dyn Fn() + Sync);

struct Shared {
    /// How many jobs there have been; workers that are awake look at nothing else.
    published: AtomicUsize,
    /// Workers that are in the job.
    inside: AtomicUsize,
    panicked: AtomicBool,
    state: Mutex<State>,
    /// There is a job, or an end.
    wake: Condvar,
    /// The last worker has left.
    left: Condvar,
}

struct State {
    job: Option<Job>,
    sleeping: usize,
    ended: bool,
}

// SAFETY: a job is called between its publication and the moment its caller takes it back.
unsafe impl Send for Shared {}
// SAFETY: the same.
unsafe impl Sync for Shared {}

/// Some workers, which end when this is dropped.
pub struct Workers {
    shared: Arc<Shared>,
    /// Held by the caller, with the time of its predecessor's call.
    caller: Mutex<Option<Instant>>,
}

impl Workers {
    /// As many workers as can be had, up to `count`.
    pub fn start(count: usize) -> Workers {
        let shared = Arc::new(Shared {
            published: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            state: Mutex::new(State { job: None, sleeping: 0, ended: false }),
            wake: Condvar::new(),
            left: Condvar::new(),
        });
        let start = |i: &usize| {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("ewa_rs-{i}"));
            thread.spawn(move || shared.serve()).is_ok()
        };
        (0..count).take_while(start).for_each(drop);
        Workers { shared, caller: Mutex::new(None) }
    }

    /// Call `job` on this thread and on every worker that comes before it is done here. On this thread
    /// alone if the workers are busy, or not worth waking for so many elements.
    pub fn share(&self, elements: usize, job: &(dyn Fn() + Sync)) {
        let mut last = match self.caller.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return job(),
        };
        let now = Instant::now();
        let in_a_row = last.replace(now).is_some_and(|last| now - last < IN_A_ROW);
        if !self.shared.publish(job, in_a_row || elements >= WORTH_WAKING) {
            return job();
        }
        let taken_back = TakeBack(&self.shared);
        job();
        drop(taken_back);
        assert!(!self.shared.panicked.swap(false, Ordering::Relaxed), "a worker has panicked");
        *last = Some(Instant::now());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
    }
}

/// However the caller leaves, the job outlives its workers.
struct TakeBack<'a>(&'a Shared);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.job = None;
        drop(state);
        let nobody = || self.0.inside.load(Ordering::Acquire) == 0;
        if !until(nobody) {
            let mut state = self.0.lock();
            while !nobody() {
                state = self.0.left.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Offer a job to the workers that are awake, and to the others if they are to be woken. False if
    /// there is no worker left to take it.
    fn publish(&self, job: &(dyn Fn() + Sync), wakes: bool) -> bool {
        let mut state = self.lock();
        if state.sleeping > 0 && !wakes {
            return false;
        }
        // SAFETY: only the lifetime changes; `TakeBack` waits for the workers that have taken it.
        state.job = Some(unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Job>(job) });
        self.published.fetch_add(1, Ordering::Release);
        let sleeping = state.sleeping;
        drop(state);
        if sleeping > 0 {
            self.wake.notify_all();
        }
        true
    }

    /// What a worker does.
    fn serve(&self) {
        let mut seen = 0;
        while self.wait(seen) {
            let job = {
                let state = self.lock();
                seen = self.published.load(Ordering::Relaxed);
                if state.job.is_some() {
                    self.inside.fetch_add(1, Ordering::Relaxed);
                }
                state.job
            };
            let Some(job) = job else { continue };
            // SAFETY: the caller waits while this worker is inside.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)() }));
            if result.is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            if self.inside.fetch_sub(1, Ordering::Release) == 1 {
                // With the lock, lest the caller falls asleep in between.
                drop(self.lock());
                self.left.notify_one();
            }
        }
    }

    /// Wait for a job after number `seen`: false if none will come.
    fn wait(&self, seen: usize) -> bool {
        let is_new = || self.published.load(Ordering::Acquire) != seen;
        if until(is_new) {
            return true;
        }
        let mut state = self.lock();
        state.sleeping += 1;
        while !is_new() && !state.ended {
            state = self.wake.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.sleeping -= 1;
        !state.ended
    }
}

/// Wait awake, as long as a worker does; whether it has become true.
fn until(is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..32 {
            if is_so() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > AWAKE {
            return false;
        }
        // Whoever has real work for this processor goes first.
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every call is done once for each that takes part, whether the worker was awake or asleep.
    #[test]
    fn the_caller_and_its_workers_do_the_job() {
        let workers = Workers::start(3);
        for pause in [Duration::ZERO, AWAKE * 5] {
            for _ in 0..50 {
                let callers = AtomicUsize::new(0);
                let ids = Mutex::new(std::collections::HashSet::new());
                workers.share(WORTH_WAKING, &|| {
                    callers.fetch_add(1, Ordering::Relaxed);
                    ids.lock().unwrap().insert(std::thread::current().id());
                });
                assert_eq!(callers.into_inner(), ids.lock().unwrap().len());
                assert!(ids.lock().unwrap().contains(&std::thread::current().id()));
                std::thread::sleep(pause);
            }
        }
    }

    /// Both parts wait for each other: it ends only if a sleeping worker wakes up.
    #[test]
    fn a_sleeping_worker_wakes_up() {
        let workers = Workers::start(1);
        for _ in 0..3 {
            std::thread::sleep(AWAKE * 5);
            let both = std::sync::Barrier::new(2);
            workers.share(WORTH_WAKING, &|| {
                both.wait();
            });
        }
    }

    #[test]
    fn a_panic_of_a_worker_is_one_of_the_caller() {
        let workers = Workers::start(1);
        let here = std::thread::current().id();
        let both = std::sync::Barrier::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| {
            workers.share(WORTH_WAKING, &|| {
                both.wait();
                assert_eq!(std::thread::current().id(), here, "this panic is part of the test");
            });
        }));
        assert!(result.is_err());
        workers.share(WORTH_WAKING, &|| {});
    }
}
