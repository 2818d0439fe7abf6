//! Threads that run one function together.
//!
//! A forward pass has fifty to a hundred steps, each well under a millisecond,
//! so a thread is not given tasks: all of them run the whole pass, each does
//! its share of every step, and a barrier (0.2 µs while all are awake) stands
//! between steps. Who waits spins for a moment and then sleeps, so that a
//! thread that has lost its core does not hold up the others' cores as well.
//!
//! In wasm the threads are workers that JavaScript has started on the same
//! memory: each calls [`Pool::work`] on the one [`POOL`].

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// A function that every thread of a pool runs.
type Job = *const (dyn Fn(&Thread) + Sync);

/// The pool of this wasm instance.
pub static POOL: Pool = Pool::new();

/// Looks at a shared number before a waiting thread sleeps: 20 to 50 µs.
const SPINS: u32 = 20_000;
/// The same between two jobs: while a text is written the next one comes a few
/// tenths of a millisecond after the last.
const SPINS_BETWEEN_JOBS: u32 = 10 * SPINS;
/// How long a thread is waited for that ought to come within a millisecond.
const LOST_AFTER_SECONDS: u32 = 20;

/// One thread that is running a job.
pub struct Thread<'a> {
    index: usize,
    count: usize,
    pool: Option<&'a Pool>,
}

impl Thread<'_> {
    /// The only thread there is.
    pub const ALONE: Thread<'static> = Thread {
        index: 0,
        count: 1,
        pool: None,
    };

    /// This thread's share of `0..n`: about as much as any other's.
    pub fn share(&self, n: usize) -> Range<usize> {
        n * self.index / self.count..n * (self.index + 1) / self.count
    }

    /// Waits until every thread of the job is here.
    pub fn barrier(&self) {
        if let Some(pool) = self.pool {
            pool.barrier(self.count as u32);
        }
    }
}

/// Threads waiting for jobs, and the one that gives them.
pub struct Pool {
    /// Threads that jobs run on, the giver included.
    size: AtomicU32,
    /// Number of the job in work, or last done.
    epoch: Signal,
    job: UnsafeCell<Option<Job>>,
    /// Threads that take part in the job, the giver included.
    count: AtomicU32,
    arrived: AtomicU32,
    /// Number of barriers passed.
    passed: Signal,
    closed: AtomicBool,
    /// Not zero once a thread is lost: what waits for it gives up.
    failure: AtomicU32,
}

// SAFETY: `job` is written by the giver alone, between jobs, and read after `epoch` has told of it.
unsafe impl Sync for Pool {}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    pub const fn new() -> Self {
        Self {
            size: AtomicU32::new(1),
            epoch: Signal::new(),
            job: UnsafeCell::new(None),
            count: AtomicU32::new(0),
            arrived: AtomicU32::new(0),
            passed: Signal::new(),
            closed: AtomicBool::new(false),
            failure: AtomicU32::new(0),
        }
    }

    /// Lets jobs run on `size` threads: the one that gives them, and others
    /// that are in [`work`](Self::work), or about to be.
    pub fn set_size(&self, size: usize) {
        self.size.store(size.max(1) as u32, SeqCst);
    }

    pub fn size(&self) -> usize {
        self.size.load(SeqCst) as usize
    }

    /// Runs `job` on all threads. Only one thread may call this.
    pub fn run(&self, job: &(dyn Fn(&Thread) + Sync)) {
        let count = self.size();
        if count <= 1 {
            return job(&Thread::ALONE);
        }
        // SAFETY: only the lifetime changes; the barrier at the end keeps the
        // job in place until every thread has left it.
        let job_pointer = unsafe { std::mem::transmute::<&(dyn Fn(&Thread) + Sync), Job>(job) };
        // SAFETY: no job is in work, so nobody reads.
        unsafe { *self.job.get() = Some(job_pointer) };
        self.count.store(count as u32, SeqCst);
        self.epoch.raise();
        self.take_part(0, job);
    }

    /// What has to become other than zero when a thread is lost.
    pub fn failure(&self) -> &AtomicU32 {
        &self.failure
    }

    /// Ends every [`work`](Self::work).
    pub fn close(&self) {
        self.set_size(1);
        self.closed.store(true, SeqCst);
        self.epoch.raise();
    }

    /// Takes part in every job as thread `index`, from 1 on, until the pool is
    /// closed.
    pub fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.epoch.wait_beyond(seen, SPINS_BETWEEN_JOBS, || {});
            if self.closed.load(SeqCst) {
                return;
            }
            // SAFETY: written before the epoch was raised, and not again
            // before this thread has passed the job's last barrier.
            let job = unsafe { *self.job.get() };
            if let Some(job) = job
                && index < self.count.load(SeqCst) as usize
            {
                // SAFETY: `run` keeps it alive until the last barrier.
                self.take_part(index, unsafe { &*job });
            }
        }
    }

    fn take_part(&self, index: usize, job: &(dyn Fn(&Thread) + Sync)) {
        let count = self.count.load(SeqCst) as usize;
        job(&Thread {
            index,
            count,
            pool: Some(self),
        });
        self.barrier(count as u32);
    }

    fn barrier(&self, count: u32) {
        let passed = self.passed.get();
        if self.arrived.fetch_add(1, SeqCst) + 1 == count {
            self.arrived.store(0, SeqCst);
            self.passed.raise();
        } else {
            let mut seconds = 0;
            self.passed.wait_beyond(passed, SPINS, || {
                let lost = seconds == LOST_AFTER_SECONDS
                    || self.failure.load(SeqCst) != 0
                    || self.closed.load(SeqCst);
                assert!(!lost, "a thread of the pool is lost");
                seconds += 1;
            });
        }
    }
}

/// A number that only grows, and threads that wait for it to.
struct Signal {
    value: AtomicU32,
    sleepers: AtomicU32,
}

impl Signal {
    const fn new() -> Self {
        Self {
            value: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
        }
    }

    fn get(&self) -> u32 {
        self.value.load(SeqCst)
    }

    fn raise(&self) {
        self.value.fetch_add(1, SeqCst);
        // A thread counts itself before it looks a last time, so none is missed.
        if self.sleepers.load(SeqCst) > 0 {
            wake_all(&self.value);
        }
    }

    /// The value, once it is another than `old`. `check` is called about once
    /// a second until then.
    fn wait_beyond(&self, old: u32, spins: u32, mut check: impl FnMut()) -> u32 {
        for _ in 0..spins {
            let value = self.get();
            if value != old {
                return value;
            }
            std::hint::spin_loop();
        }
        self.sleepers.fetch_add(1, SeqCst);
        let value = loop {
            let value = self.get();
            if value != old {
                break value;
            }
            check();
            sleep_while(&self.value, old);
        };
        self.sleepers.fetch_sub(1, SeqCst);
        value
    }
}

/// Sleeps while `value` is `old`, for a second at most.
#[cfg(target_feature = "atomics")]
fn sleep_while(value: &AtomicU32, old: u32) {
    const SECOND: i64 = 1_000_000_000;
    // SAFETY: a valid, aligned address for as long as the reference lives.
    unsafe {
        core::arch::wasm32::memory_atomic_wait32(value.as_ptr().cast(), old as i32, SECOND);
    }
}

#[cfg(target_feature = "atomics")]
fn wake_all(value: &AtomicU32) {
    // SAFETY: as above.
    unsafe {
        core::arch::wasm32::memory_atomic_notify(value.as_ptr().cast(), u32::MAX);
    }
}

/// Outside wasm, where only tests have threads: gives the core away, and counts
/// as a second from time to time.
#[cfg(not(target_feature = "atomics"))]
fn sleep_while(value: &AtomicU32, old: u32) {
    for _ in 0..1_000_000 {
        if value.load(SeqCst) != old {
            return;
        }
        std::thread::yield_now();
    }
}

#[cfg(not(target_feature = "atomics"))]
fn wake_all(_value: &AtomicU32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for n in [0, 1, 5, 12, 1571] {
            for count in 1..9 {
                let shares: Vec<usize> = (0..count)
                    .flat_map(|index| {
                        Thread {
                            index,
                            count,
                            pool: None,
                        }
                        .share(n)
                    })
                    .collect();
                assert_eq!(shares, (0..n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn threads_see_what_others_wrote_before_a_barrier() {
        const THREADS: usize = 3;
        let pool = Pool::new();
        pool.set_size(THREADS);
        std::thread::scope(|scope| {
            for index in 1..THREADS {
                let pool = &pool;
                scope.spawn(move || pool.work(index));
            }
            for round in 0..200 {
                let cells: [AtomicU32; THREADS] = Default::default();
                let wrong = AtomicU32::new(0);
                pool.run(&|thread| {
                    for step in 1..=20 {
                        cells[thread.index].store(round + step, SeqCst);
                        thread.barrier();
                        let all = cells.iter().all(|cell| cell.load(SeqCst) == round + step);
                        wrong.fetch_add(u32::from(!all), SeqCst);
                        thread.barrier();
                    }
                });
                assert_eq!(wrong.load(SeqCst), 0);
            }
            pool.close();
        });
    }
}
