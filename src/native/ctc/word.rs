//! A label as the recursion sees it: its entries, and the different classes among them and the blank.

use super::arena::Arena;

pub(super) struct Word<'a> {
    /// Entries of the label.
    pub count: usize,
    classes: &'a mut [u64],
    different: usize,
    place: &'a mut [u64],
    /// By different class, but for the blank: the first entry that has it.
    first: &'a mut [u64],
    /// The other entries, and the first of the class of each.
    again: &'a mut [[u64; 2]],
    skips: &'a mut [u64],
}

impl<'a> Word<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, labels: usize) -> Self {
        let width = labels + 1;
        Self {
            count: 0,
            classes: arena.take(width),
            different: 0,
            place: arena.take(labels),
            first: arena.take(labels),
            again: arena.take(labels),
            skips: arena.take(labels),
        }
    }

    /// Takes the entries of a label.
    pub(super) fn spell(&mut self, entries: &[u64], blank: usize) {
        self.count = entries.len();
        self.classes[0] = blank as u64;
        self.different = 1;
        for (entry, &class) in entries.iter().enumerate() {
            let known = self.classes[..self.different].iter().position(|&c| c == class);
            let place = known.unwrap_or(self.different);
            match known {
                Some(place) => self.again[entry + 1 - self.different] = [entry as u64, self.first[place - 1]],
                None => {
                    self.classes[place] = class;
                    self.first[place - 1] = entry as u64;
                    self.different += 1;
                }
            }
            self.place[entry] = place as u64;
            self.skips[entry] = u64::from(entry > 0 && entries[entry - 1] != class);
        }
    }

    /// The different classes: the blank, then those of the label.
    pub(super) fn classes(&self) -> &[u64] {
        &self.classes[..self.different]
    }

    /// By entry: the place of its class among the different ones.
    pub(super) fn places(&self) -> &[u64] {
        &self.place[..self.count]
    }

    /// The entries that are the first of their class, in the order of the different classes.
    pub(super) fn firsts(&self) -> &[u64] {
        &self.first[..self.different - 1]
    }

    /// Each other entry, with the first of its class.
    pub(super) fn repeats(&self) -> &[[u64; 2]] {
        &self.again[..self.count + 1 - self.different]
    }

    /// By entry: whether the blank before it may be skipped.
    pub(super) fn skips(&self) -> impl Iterator<Item = bool> {
        self.skips[..self.count].iter().map(|&skips| skips != 0)
    }
}
