//! The lattice of states: label entries with a blank before, between and behind them; and rows of it in time.

use super::super::arena::Arena;
use super::super::rows::exp_in_place;
use super::super::word::Word;
use super::loops::{LOW, Loops, NEVER, NORMAL, Wide, WideMut, pow2, split, sum2};

/// What is emitted at one step, and which states follow which.
pub(super) struct Lattice<'a> {
    /// Entries of the label.
    count: usize,
    /// By entry: 0 where the blank before it may be skipped, else [`NEVER`].
    skip: &'a mut [i64],
    /// By different class: its probability, and the posterior of its states.
    class_m: &'a mut [f64],
    class_e: &'a mut [i64],
    posterior: &'a mut [f64],
    /// By entry: its probability.
    entry_m: &'a mut [f64],
    entry_e: &'a mut [i64],
    ratios: &'a mut [f64],
}

impl<'a> Lattice<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, labels: usize) -> Self {
        let width = labels + 1;
        Self {
            count: 0,
            skip: arena.take(width),
            class_m: arena.take(width),
            class_e: arena.take(width),
            posterior: arena.take(width),
            entry_m: arena.take(width),
            entry_e: arena.take(width),
            ratios: arena.take(width),
        }
    }

    /// Begins a sequence.
    pub(super) fn spell(&mut self, word: &Word) {
        self.count = word.count;
        for (entry, skips) in word.skips().enumerate() {
            self.skip[entry] = if skips { 0 } else { NEVER };
        }
        self.skip[self.count] = NEVER;
    }

    /// Takes the emissions of a step: by different class, what `log_p` says of it.
    pub(super) fn emit(&mut self, word: &Word, log_p: impl Fn(usize) -> f64) {
        // ln 2 in two parts: the product of the first with a whole number of 20 bits is exact.
        const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
        const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
        for (place, &class) in word.classes().iter().enumerate() {
            let log_p = log_p(class as usize);
            // A NaN is taken for possible, and stays one.
            let possible = !matches!(log_p.partial_cmp(&IMPOSSIBLE), Some(std::cmp::Ordering::Less));
            let power = if possible { floor(log_p * std::f64::consts::LOG2_E) } else { 0 };
            let rest = (log_p - power as f64 * LN_2_HIGH) - power as f64 * LN_2_LOW;
            self.class_m[place] = if possible { rest } else { f64::NEG_INFINITY };
            self.class_e[place] = if possible { power } else { LOW };
        }
        exp_in_place(&mut self.class_m[..word.classes().len()]);
        for (entry, &place) in word.places().iter().enumerate() {
            let place = place as usize;
            self.entry_m[entry] = self.class_m[place];
            self.entry_e[entry] = self.class_e[place];
        }
    }

    fn blank(&self) -> (f64, i64) {
        (self.class_m[0], self.class_e[0])
    }

    fn entries(&self) -> Wide<'_> {
        Wide { m: &self.entry_m[..self.count], e: &self.entry_e[..self.count] }
    }

    /// The posteriors of a step, from its forward and its backward row.
    pub(super) fn weigh(
        &mut self,
        word: &Word,
        (forward, at): (&State, usize),
        (back, now): (&State, usize),
        total: (f64, i64),
    ) {
        let loops = Loops::of_this_machine();
        self.posterior[..word.classes().len()].fill(0.0);
        let ratios = &mut self.ratios[..=self.count];
        loops.ratios(ratios, forward.blanks(at), back.blanks(now), total);
        self.posterior[0] = ratios.iter().sum();
        let ratios = &mut self.ratios[..self.count];
        let forward = forward.entries(at);
        let shifted = Wide { m: &forward.m[1..], e: &forward.e[1..] };
        loops.ratios(ratios, shifted, back.entries(now), total);
        for (ratio, &place) in ratios.iter().zip(word.places()) {
            self.posterior[place as usize] += ratio;
        }
    }

    /// Of every different class: head · (softmax − posterior).
    pub(super) fn slopes(&mut self, head: f64) -> &[f64] {
        for ((slope, &m), &e) in self.posterior.iter_mut().zip(&*self.class_m).zip(&*self.class_e) {
            *slope = head * (m * pow2(e) - *slope);
        }
        self.posterior
    }
}

/// The whole number below, without the call that `f64::floor` is on old processors.
fn floor(x: f64) -> i64 {
    let whole = x as i64;
    whole - i64::from(whole as f64 > x)
}

/// A class with a log-probability below this counts as impossible: the exponents of a path must fit their integers.
const IMPOSSIBLE: f64 = -1e9;

/// Rows of the recursion. Each has entries and blanks; forward rows have a 0 before their entries, backward rows one
/// behind them.
pub(super) struct State<'a> {
    width: usize,
    rows: usize,
    m: &'a mut [f64],
    e: &'a mut [i64],
}

impl<'a> State<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, labels: usize, rows: usize) -> Self {
        let width = labels + 1;
        let size = width.saturating_mul(2).saturating_mul(rows);
        Self { width, rows, m: arena.take(size), e: arena.take(size) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn part(&self, place: usize) -> Wide<'_> {
        let range = place * self.width..(place + 1) * self.width;
        Wide { m: &self.m[range.clone()], e: &self.e[range] }
    }

    fn part_mut(&mut self, place: usize) -> WideMut<'_> {
        let range = place * self.width..(place + 1) * self.width;
        WideMut { m: &mut self.m[range.clone()], e: &mut self.e[range] }
    }

    fn entries(&self, row: usize) -> Wide<'_> {
        self.part(2 * row)
    }

    fn blanks(&self, row: usize) -> Wide<'_> {
        self.part(2 * row + 1)
    }

    /// Two rows, the first to read and the second to write.
    fn pair(&mut self, from: usize, to: usize) -> ([Wide<'_>; 2], [WideMut<'_>; 2]) {
        let (width, size) = (self.width, 2 * self.width);
        let (low, high) = (from.min(to), from.max(to));
        let (m_low, m_high) = self.m.split_at_mut(high * size);
        let (e_low, e_high) = self.e.split_at_mut(high * size);
        let (m_low, m_high) = (&mut m_low[low * size..][..size], &mut m_high[..size]);
        let (e_low, e_high) = (&mut e_low[low * size..][..size], &mut e_high[..size]);
        let (from_m, to_m, from_e, to_e) =
            if from < to { (m_low, m_high, e_low, e_high) } else { (m_high, m_low, e_high, e_low) };
        let (to_m, to_m2) = to_m.split_at_mut(width);
        let (to_e, to_e2) = to_e.split_at_mut(width);
        let from =
            [Wide { m: &from_m[..width], e: &from_e[..width] }, Wide { m: &from_m[width..], e: &from_e[width..] }];
        (from, [WideMut { m: to_m, e: to_e }, WideMut { m: to_m2, e: to_e2 }])
    }

    pub(super) fn copy_row(&mut self, to: usize, from: &State, row: usize) {
        for half in 0..2 {
            let (source, target) = (from.part(2 * row + half), self.part_mut(2 * to + half));
            target.m.copy_from_slice(source.m);
            target.e.copy_from_slice(source.e);
        }
    }

    fn clear(&mut self, row: usize) {
        for half in 0..2 {
            let part = self.part_mut(2 * row + half);
            part.m.fill(0.0);
            part.e.fill(LOW);
        }
    }

    /// The first forward row: a path begins with the first blank or the first entry.
    pub(super) fn begin(&mut self, lattice: &Lattice) {
        self.clear(0);
        let (entry, blank) = (lattice.entries(), lattice.blank());
        if lattice.count > 0 {
            let part = self.part_mut(0);
            (part.m[1], part.e[1]) = (entry.m[0], entry.e[0]);
        }
        let part = self.part_mut(1);
        (part.m[0], part.e[0]) = blank;
    }

    /// The forward row of step t from that before it.
    pub(super) fn forward(&mut self, loops: &Loops, lattice: &Lattice, from: usize, to: usize, t: usize) {
        let n = lattice.count;
        let ([entries, blanks], [to_entries, to_blanks]) = self.pair(from, to);
        (to_entries.m[0], to_entries.e[0]) = (0.0, LOW);
        let target = WideMut { m: &mut to_entries.m[1..=n], e: &mut to_entries.e[1..=n] };
        let stay = Wide { m: &entries.m[1..], e: &entries.e[1..] };
        loops.join3(target, stay, blanks, entries, lattice.skip, lattice.entries());
        let target = WideMut { m: &mut to_blanks.m[..=n], e: &mut to_blanks.e[..=n] };
        loops.join2(target, blanks, entries, lattice.blank());
        self.normalise(loops, to, n, t);
    }

    fn normalise(&mut self, loops: &Loops, row: usize, entries: usize, t: usize) {
        if t.is_multiple_of(NORMAL) {
            for half in 0..2 {
                let part = self.part_mut(2 * row + half);
                loops.normalise(WideMut { m: &mut part.m[..=entries], e: &mut part.e[..=entries] });
            }
        }
    }

    /// The probability of all paths: they end with the last entry or the last blank.
    pub(super) fn total(&self, lattice: &Lattice, row: usize) -> (f64, i64) {
        let (entries, blanks, n) = (self.entries(row), self.blanks(row), lattice.count);
        let (m, e) = sum2((entries.m[n], entries.e[n]), (blanks.m[n], blanks.e[n]));
        let (m, more) = split(m);
        (m, e + more)
    }

    /// The last backward row.
    pub(super) fn end(&mut self, lattice: &Lattice, row: usize) {
        self.clear(row);
        let n = lattice.count;
        if n > 0 {
            let part = self.part_mut(2 * row);
            (part.m[n - 1], part.e[n - 1]) = (1.0, 0);
        }
        let part = self.part_mut(2 * row + 1);
        (part.m[n], part.e[n]) = (1.0, 0);
    }

    /// The backward row of step t from that of the next step, whose emissions the lattice has.
    pub(super) fn backward(&mut self, loops: &Loops, lattice: &Lattice, next: usize, now: usize, t: usize) {
        const BETWEEN: usize = 2;
        let n = lattice.count;
        let blank = lattice.blank();
        let ([entries, blanks], [to_entries, to_blanks]) = self.pair(next, BETWEEN);
        let target = WideMut { m: &mut to_entries.m[..n], e: &mut to_entries.e[..n] };
        loops.times(target, entries, lattice.entries());
        (to_entries.m[n], to_entries.e[n]) = (0.0, LOW);
        for l in 0..=n {
            to_blanks.m[l] = blanks.m[l] * blank.0;
            to_blanks.e[l] = blanks.e[l] + blank.1;
        }
        let ([entries, blanks], [to_entries, to_blanks]) = self.pair(BETWEEN, now);
        let target = WideMut { m: &mut to_entries.m[..n], e: &mut to_entries.e[..n] };
        let (after, blank_after) =
            (Wide { m: &entries.m[1..], e: &entries.e[1..] }, Wide { m: &blanks.m[1..], e: &blanks.e[1..] });
        loops.gather3(target, entries, blank_after, after, &lattice.skip[1..]);
        (to_entries.m[n], to_entries.e[n]) = (0.0, LOW);
        let target = WideMut { m: &mut to_blanks.m[..=n], e: &mut to_blanks.e[..=n] };
        loops.join2(target, blanks, entries, (1.0, 0));
        self.normalise(loops, now, n, t);
    }
}
