//! Origins: the places of the declaration that a node comes from. They are no part of what is computed: graphs that
//! differ in nothing else are equal.

use smallvec::SmallVec;
use std::fmt;
use std::panic::Location;

/// A place in the source of a declaration, or a line of a graph's text form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Origin {
    /// As the compiler names it; empty for a text form.
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
}

impl Origin {
    /// The caller, of the outermost function that is marked with `#[track_caller]`.
    #[track_caller]
    pub fn here() -> Self {
        let place = Location::caller();
        Self { file: place.file(), line: place.line(), column: place.column() }
    }

    /// A line of a text form, counted from 1.
    pub fn line(line: usize) -> Self {
        Self { file: "", line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.file.is_empty() {
            return write!(f, "line {}", self.line);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A set of origins, by their places in the graph's table.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Origins(SmallVec<[u32; 4]>);

impl Origins {
    /// The set of one.
    pub fn of(place: usize) -> Self {
        Self(SmallVec::from_elem(u32::try_from(place).expect("tables are bounded"), 1))
    }

    pub fn unite(&mut self, other: &Self) {
        for &place in &other.0 {
            if let Err(at) = self.0.binary_search(&place) {
                self.0.insert(at, place);
            }
        }
    }

    /// In the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|&place| place as usize)
    }
}
