//! Teams: the threads that share the work of a call. A thread that calls has a team, whose members are other threads of
//! rayon's current pool.
//!
//! Losses are called every few hundred microseconds, as often as it may take to wake a thread. So a member that has nothing
//! to do stays awake for a while, and does what else the pool has to do; and no job waits for a member that has not come.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What to do for each number below a count.
type Act<'a> = &'a (dyn Fn(usize) + Sync + 'a);

/// How long a member without a job stays awake.
const AWAKE: Duration = Duration::from_micros(200);
/// Turns of who waits, between two looks at the clock and at the pool's other work.
const TURNS: usize = 64;

struct Team {
    /// A place for each thread of the pool. The first is the owner's.
    seats: Box<[Seat]>,
    /// Odd while a job is open.
    epoch: AtomicUsize,
    job: Cell<Option<Job>>,
    /// Members that may look at the job.
    inside: AtomicUsize,
    /// Whether more jobs will come, so that nobody leaves.
    held: AtomicBool,
    /// Whether a member panicked, and with what: the lock is taken for that only.
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A member's place, on lines that no other is on. Each has a part of a job's numbers that follow each other, the same from
/// call to call as what they read may be in its thread's cache; who is done with its own takes from others'.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    /// Whether a member is here, or called.
    taken: AtomicBool,
    next: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Job {
    act: Act<'static>,
    count: usize,
    threads: usize,
}

impl Job {
    /// The first number of a seat's part.
    fn start(&self, seat: usize) -> usize {
        self.count * seat / self.threads
    }
}

// SAFETY: `job` is written by the owner, between two epochs, while nobody is inside; members read it inside, within the
// epoch that it was written for.
unsafe impl Sync for Team {}
// SAFETY: what is in it may move to any thread, the act because it is `Sync`.
unsafe impl Send for Team {}

thread_local! {
    /// The team that this thread owns.
    static TEAM: OnceCell<Arc<Team>> = const { OnceCell::new() };
    /// Threads that the native kernels called on this one may share their rows among.
    static LENT: Cell<usize> = const { Cell::new(1) };
    /// Whether this thread is some team's member now.
    static MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// The threads of rayon's current pool.
pub fn size() -> usize {
    rayon::current_num_threads()
}

/// Does the act for every number below `count`, on at most so many threads, and returns when all is done.
pub fn share(threads: usize, count: usize, act: Act) {
    let together = |team: &OnceCell<Arc<Team>>| {
        let team = team.get_or_init(|| Arc::new(Team::new(size())));
        let threads = threads.min(count).min(team.seats.len());
        // An act that shares in its turn has no team.
        let free = threads > 1 && team.job.get().is_none();
        if free {
            team.run(threads, count, act);
        }
        free
    };
    // A thread that ends has no team any more.
    if threads.min(count) <= 1 || !TEAM.try_with(together).unwrap_or(false) {
        (0..count).for_each(act);
    }
}

/// Runs what calls native kernels, with so many threads for those.
pub fn lend<R>(threads: usize, run: impl FnOnce() -> R) -> R {
    struct Loan(usize);
    impl Drop for Loan {
        fn drop(&mut self) {
            LENT.set(self.0);
            hold(self.0 > 1);
        }
    }
    fn hold(held: bool) {
        let _ = TEAM.try_with(|team| team.get().map(|team| team.held.store(held, Relaxed)));
    }
    let _loan = Loan(LENT.replace(threads));
    hold(threads > 1);
    run()
}

/// The threads that a native kernel may have: this one, and those that it was lent.
pub fn lent() -> usize {
    LENT.get()
}

impl Team {
    fn new(threads: usize) -> Self {
        Self {
            seats: (0..threads).map(|_| Seat::default()).collect(),
            epoch: AtomicUsize::new(0),
            job: Cell::new(None),
            inside: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// The owner's part.
    fn run(self: &Arc<Self>, threads: usize, count: usize, act: Act) {
        // SAFETY: the job is forgotten and nobody is inside when this returns, panics included.
        let act = unsafe { std::mem::transmute::<Act<'_>, Act<'static>>(act) };
        let job = Job { act, count, threads };
        self.job.set(Some(job));
        self.panicked.store(false, Relaxed);
        for (number, seat) in self.seats[..threads].iter().enumerate() {
            seat.next.store(job.start(number), Relaxed);
        }
        self.epoch.fetch_add(1, SeqCst);
        let close = Close(self);
        self.call_members(threads);
        self.take(job, 0);
        drop(close);
        if self.panicked.load(Relaxed) {
            let panic = self.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
            resume_unwind(panic.unwrap_or_else(|| Box::new("a member of the team panicked")));
        }
    }

    /// Calls a member for each seat that has none.
    fn call_members(self: &Arc<Self>, threads: usize) {
        for seat in 1..threads {
            if !self.seats[seat].taken.load(SeqCst) && !self.seats[seat].taken.swap(true, SeqCst) {
                let team = Arc::clone(self);
                rayon::spawn(move || team.stay(seat));
            }
        }
    }

    /// A member's part: its share of every job, until there has been none for a while.
    fn stay(&self, seat: usize) {
        let own = |team: &OnceCell<Arc<Team>>| team.get().is_some_and(|team| std::ptr::eq(&**team, self));
        let owner = TEAM.try_with(own).unwrap_or(false);
        // The owner waits for nobody, and who waits for another team's jobs does not wait for this one's.
        let waits = !owner && !MEMBER.replace(true);
        let mut done = 0;
        loop {
            while let Some(epoch) = self.wait(done, waits) {
                self.serve(seat, epoch);
                done = epoch;
            }
            self.seats[seat].taken.store(false, SeqCst);
            // Either the owner sees that the seat is free, or this that the owner has opened a job.
            let missed = self.open(done).is_some() && !self.seats[seat].taken.swap(true, SeqCst);
            if !missed {
                break;
            }
        }
        if waits {
            MEMBER.set(false);
        }
    }

    /// The epoch, if it has a job other than the one that is done.
    fn open(&self, done: usize) -> Option<usize> {
        Some(self.epoch.load(SeqCst)).filter(|&epoch| epoch % 2 == 1 && epoch != done)
    }

    /// Waits for a job's epoch, but not for ever.
    fn wait(&self, done: usize, waits: bool) -> Option<usize> {
        let since = Instant::now();
        loop {
            for _ in 0..TURNS {
                if let Some(epoch) = self.open(done) {
                    return Some(epoch);
                }
                std::hint::spin_loop();
            }
            if !waits || (since.elapsed() > AWAKE && !self.held.load(Relaxed)) {
                return None;
            }
            rayon::yield_now();
            std::thread::yield_now();
        }
    }

    fn serve(&self, seat: usize, epoch: usize) {
        self.inside.fetch_add(1, SeqCst);
        let _leave = Leave(&self.inside);
        // The owner waits for those inside once the epoch is another, so it is this one or they leave.
        if self.epoch.load(SeqCst) != epoch {
            return;
        }
        let Some(job) = self.job.get().filter(|job| seat < job.threads) else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take(job, seat))) {
            *self.panic.lock().unwrap_or_else(|e| e.into_inner()) = Some(panic);
            self.panicked.store(true, Relaxed);
        }
    }

    /// Does what is left of a seat's own part, then of the others'.
    fn take(&self, job: Job, seat: usize) {
        for part in (seat..job.threads).chain(0..seat) {
            loop {
                let number = self.seats[part].next.fetch_add(1, Relaxed);
                if number >= job.start(part + 1) {
                    break;
                }
                (job.act)(number);
            }
        }
    }
}

/// Closes a job.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.epoch.fetch_add(1, SeqCst);
        let mut turns = 0;
        while self.0.inside.load(SeqCst) > 0 {
            turns += 1;
            if turns % TURNS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    fn every_number_once(threads: usize, count: usize) {
        let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        share(threads, count, &|number| {
            done[number].fetch_add(1, Relaxed);
        });
        assert!(done.iter().all(|n| n.load(Relaxed) == 1));
    }

    #[test]
    fn jobs_of_every_length() {
        pool(3).install(|| (0..3000).for_each(|i| every_number_once(1 + i % 5, i % 17)));
        std::thread::spawn(|| (0..3000).for_each(|i| every_number_once(1 + i % 5, i % 17))).join().unwrap();
    }

    /// With and without a nap in which members fall asleep, or just leave as a job comes.
    #[test]
    fn members_that_leave() {
        for nap in (0..300).map(|i| AWAKE * (i % 5) / 3) {
            std::thread::sleep(nap);
            every_number_once(2, 10);
        }
    }

    #[test]
    fn a_member_comes_to_a_long_job() {
        let owner = std::thread::current().id();
        let came = AtomicBool::new(false);
        let job = || {
            share(2, 100, &|_| {
                came.fetch_or(std::thread::current().id() != owner, Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            })
        };
        (0..100).for_each(|_| {
            if !came.load(Relaxed) {
                job()
            }
        });
        assert!(came.into_inner() || size() == 1);
    }

    #[test]
    fn inside_of_other_work() {
        use rayon::prelude::*;
        pool(2).install(|| (0..500).into_par_iter().for_each(|i| every_number_once(2, i % 9)));
        // An act that shares has no team.
        share(2, 8, &|_| every_number_once(2, 8));
    }

    #[test]
    fn a_panic_ends_the_job() {
        for bad in [0, 7] {
            let run = || share(2, 8, &|number| assert!(number != bad, "the act"));
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"the act"));
            every_number_once(2, 8);
        }
    }

    #[test]
    fn lent_for_a_run() {
        assert_eq!(lend(3, || (lent(), lend(2, lent))), (3, 2));
        assert_eq!(lent(), 1);
    }
}
