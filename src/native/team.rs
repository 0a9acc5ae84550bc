//! Team: threads that a native kernel may share its rows among. Who runs a nest on one thread, as its loops cannot be cut,
//! lends it those that would be idle; a kernel that finds none does everything itself.
//!
//! A nest calls its kernel every few hundred microseconds, as often as it may take to wake a thread. So members wait awake from
//! the nest's beginning to its end, and no job waits for a member that has not come.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// A job: what to do for each number below a count.
type Job<'a> = &'a (dyn Fn(usize) + Sync + 'a);

/// Threads that take numbers of a job until there are none.
pub struct Team {
    /// Those that may come, with the one that has the jobs.
    pub threads: usize,
    /// Odd while a job is open.
    epoch: AtomicUsize,
    job: Cell<Option<(Job<'static>, usize)>>,
    next: AtomicUsize,
    /// Members that may look at the job.
    inside: AtomicUsize,
    over: AtomicBool,
}

// SAFETY: `job` is written by the thread that has the jobs, between two epochs, while nobody is inside; members read it
// inside, within the epoch that it was written for.
unsafe impl Sync for Team {}

/// Turns of an idle member before it lets others have its processor.
const TURNS: usize = 1 << 10;

impl Team {
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            epoch: AtomicUsize::new(0),
            job: Cell::new(None),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// A member's part: numbers of every job, until there are no more jobs.
    pub fn work(&self) {
        let mut idle = 0;
        while !self.over.load(Acquire) {
            let epoch = self.epoch.load(Acquire);
            if epoch % 2 == 1 {
                self.inside.fetch_add(1, SeqCst);
                let _leave = Leave(&self.inside);
                // Who has the jobs waits for those inside once the epoch is another, so it is this one or they leave.
                if self.epoch.load(SeqCst) == epoch {
                    self.take();
                }
                idle = 0;
            } else if idle < TURNS {
                idle += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn take(&self) {
        let Some((job, count)) = self.job.get() else { return };
        loop {
            let number = self.next.fetch_add(1, Relaxed);
            if number >= count {
                return;
            }
            job(number);
        }
    }

    /// Runs the job for every number below `count`, and returns when all are done. For one thread at a time.
    pub(super) fn each(&self, count: usize, job: Job) {
        // SAFETY: the job is forgotten and nobody is inside when this returns, panics included.
        let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
        self.job.set(Some((job, count)));
        self.next.store(0, Relaxed);
        self.epoch.fetch_add(1, SeqCst);
        let _close = Close(self);
        self.take();
    }
}

/// Closes a job.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.epoch.fetch_add(1, SeqCst);
        while self.0.inside.load(SeqCst) > 0 {
            std::hint::spin_loop();
        }
        self.0.job.set(None);
    }
}

/// Leaves the inside, in whatever way.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

thread_local! {
    static LENT: Cell<Option<*const Team>> = const { Cell::new(None) };
}

/// Takes a team back and sends its members home.
struct Loan<'a>(&'a Team, Option<*const Team>);

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        LENT.set(self.1);
        self.0.over.store(true, Release);
    }
}

/// Runs with a team for the native kernels that this thread calls; members may go then.
pub fn lend<R>(team: &Team, run: impl FnOnce() -> R) -> R {
    let _loan = Loan(team, LENT.replace(Some(team)));
    run()
}

/// The threads that may do a job: this one, and those that it was lent.
pub(super) fn threads() -> usize {
    // SAFETY: `lend` borrows the team for as long as it is there.
    LENT.get().map_or(1, |team| unsafe { &*team }.threads)
}

/// Runs the job for every number below `count`, with the team of this thread if it has one.
pub(super) fn each(count: usize, job: Job) {
    match LENT.get() {
        // SAFETY: as above.
        Some(team) if count > 1 => unsafe { &*team }.each(count, job),
        _ => (0..count).for_each(job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_once() {
        let team = Team::new(3);
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| team.work())));
            lend(&team, || {
                for count in (0..2000).map(|i| i % 7) {
                    let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                    assert_eq!(threads(), 3);
                    each(count, &|number| {
                        done[number].fetch_add(1, Relaxed);
                    });
                    assert!(done.iter().all(|n| n.load(Relaxed) == 1));
                }
            });
        });
        // Nobody is lent any more.
        let alone = AtomicUsize::new(0);
        each(threads(), &|_| {
            alone.fetch_add(1, Relaxed);
        });
        assert_eq!(alone.into_inner(), 1);
    }

    #[test]
    fn a_panic_ends_the_job() {
        let team = Team::new(2);
        let run = || lend(&team, || each(2, &|_| panic!("the job")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        assert!(team.over.load(Acquire) && team.job.get().is_none() && threads() == 1);
        team.work(); // there is nothing left to do
    }
}
