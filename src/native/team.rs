//! Team: threads that a native kernel may share its rows among. Who runs a nest on one thread, as its loops cannot be cut,
//! lends it those that would be idle; a kernel that finds none does everything itself.

use std::cell::Cell;

/// Threads, and the way to them. The library below this room has none of its own.
#[derive(Clone, Copy)]
pub struct Team {
    pub threads: usize,
    /// Runs the job for every number below the first argument, on several threads at once, and returns when all are done.
    pub each: fn(usize, &(dyn Fn(usize) + Sync)),
}

thread_local! {
    static LENT: Cell<Option<Team>> = const { Cell::new(None) };
}

/// Takes a team back, in whatever way `lend` is left.
struct Loan(Option<Team>);

impl Drop for Loan {
    fn drop(&mut self) {
        LENT.set(self.0);
    }
}

/// Runs with a team for the native kernels that this thread calls.
pub fn lend<R>(team: Team, run: impl FnOnce() -> R) -> R {
    let _loan = Loan(LENT.replace(Some(team)));
    run()
}

/// The team of this thread.
pub(super) fn lent() -> Option<Team> {
    LENT.get()
}
