//! The cache of one block: the programs used last, and the graphs that further shapes of the same loss share.

use super::bind::Buffer;
use super::pipeline::Stages;
use super::view::{Inputs, ViewMut};
use crate::grad::Wanted;
use crate::ir::Graph;
use std::fmt;
use std::sync::Arc;

/// How a cache has fared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Calls that found their program.
    pub hits: u64,
    /// Calls for which one was made.
    pub misses: u64,
    /// Programs that went to make room.
    pub evictions: u64,
    /// Programs that are there.
    pub entries: usize,
}

impl CacheStatistics {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            evictions: self.evictions + other.evictions,
            entries: self.entries + other.entries,
        }
    }
}

/// Why a program had to be made: what sets the call apart from the nearest program that was there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Miss {
    /// Empty where the cache had no program at all.
    pub differences: Vec<Difference>,
}

/// A part of a call that differs from what a program was made for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// Such as `pred.shape`, `label.dtype`, `grad.pred.strides`, `inputs` or `gradients`.
    pub field: String,
    /// Of the nearest program.
    pub known: String,
    /// Of the call.
    pub asked: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.differences.is_empty() {
            return f.write_str("no program was there");
        }
        let text = |d: &Difference| format!("{} is {}, in the nearest program {}", d.field, d.asked, d.known);
        f.write_str(&self.differences.iter().map(text).collect::<Vec<_>>().join("; "))
    }
}

/// What a program gives, in words that can be compared one by one.
pub(super) trait Describe {
    fn describe(&self) -> Vec<(&'static str, String)>;
}

impl Describe for Wanted {
    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("value", self.value.to_string()),
            ("gradients", format!("{:?}", self.wrt)),
            ("head", self.head.to_string()),
            ("in place", format!("{:?}", self.in_place)),
        ]
    }
}

impl Describe for (Vec<String>, super::vjp::Backward) {
    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![("gradients", format!("{:?}", self.0)), ("backward", format!("{:?}", self.1))]
    }
}

/// Bounded; what was used longest ago goes first. `W` says what a program gives, `P` is the program.
pub(super) struct Cache<W, P> {
    capacity: usize,
    /// Most recently used last.
    entries: Vec<(Key<W>, P)>,
    graphs: Vec<(Graph, W, Arc<Stages>)>,
    statistics: CacheStatistics,
}

/// What a program was made for: what it gives, and the buffers given by the caller.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Key<W> {
    pub wanted: W,
    pub inputs: Vec<Buffer>,
    pub outputs: Vec<Buffer>,
}

impl<W> Key<W> {
    /// Whether a call with these buffers is for this program; no outputs are new row-major ones. Nothing is allocated.
    fn fits(&self, wanted: &dyn Fn(&W) -> bool, inputs: &Inputs, outputs: &[ViewMut]) -> bool {
        let read = |buffer: &Buffer| {
            let found = inputs.iter().find(|(name, _)| *name == buffer.name);
            found.is_some_and(|(_, v)| buffer.is_like(v.dtype, &v.shape, &v.strides))
        };
        let written = |(buffer, v): (&Buffer, &ViewMut)| buffer.is_like(v.dtype, &v.shape, &v.strides);
        wanted(&self.wanted)
            && self.inputs.len() == inputs.len()
            && self.inputs.iter().all(read)
            && match outputs {
                [] => self.outputs.iter().all(Buffer::is_row_major),
                _ => self.outputs.len() == outputs.len() && self.outputs.iter().zip(outputs).all(written),
            }
    }
}

impl<W: Describe> Key<W> {
    /// What sets another key apart.
    fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = vec![];
        let mut compare = |field: String, known: String, asked: String| {
            if known != asked {
                found.push(Difference { field, known, asked });
            }
        };
        for ((field, known), (_, asked)) in self.wanted.describe().into_iter().zip(other.wanted.describe()) {
            compare(field.to_string(), known, asked);
        }
        let names = |buffers: &[Buffer]| format!("{:?}", buffers.iter().map(|b| b.name.as_str()).collect::<Vec<_>>());
        compare("inputs".into(), names(&self.inputs), names(&other.inputs));
        for (known, asked) in pairs(&self.inputs, &other.inputs).chain(pairs(&self.outputs, &other.outputs)) {
            compare(format!("{}.dtype", known.name), known.dtype.to_string(), asked.dtype.to_string());
            compare(format!("{}.shape", known.name), format!("{:?}", known.shape), format!("{:?}", asked.shape));
            // Strides follow from other shapes by themselves.
            if known.shape == asked.shape && !known.is_like(asked.dtype, &asked.shape, &asked.strides) {
                let (strides, others) = (format!("{:?}", known.strides), format!("{:?}", asked.strides));
                compare(format!("{}.strides", known.name), strides, others);
            }
        }
        found
    }
}

/// The buffers of one name in both lists.
fn pairs<'a>(known: &'a [Buffer], asked: &'a [Buffer]) -> impl Iterator<Item = (&'a Buffer, &'a Buffer)> {
    known.iter().filter_map(|k| Some((k, asked.iter().find(|a| a.name == k.name)?)))
}

impl<W: Clone + PartialEq + Describe, P: Clone> Cache<W, P> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: vec![], graphs: vec![], statistics: CacheStatistics::default() }
    }

    pub fn statistics(&self) -> CacheStatistics {
        CacheStatistics { entries: self.entries.len(), ..self.statistics }
    }

    /// The program for these buffers, where there is one. Nothing is allocated.
    pub fn find(&mut self, wanted: &dyn Fn(&W) -> bool, inputs: &Inputs, outputs: &[ViewMut]) -> Option<P> {
        match self.entries.iter().rposition(|(key, _)| key.fits(wanted, inputs, outputs)) {
            Some(place) => {
                self.statistics.hits += 1;
                self.entries[place..].rotate_left(1);
                self.entries.last().map(|(_, program)| program.clone())
            }
            None => {
                self.statistics.misses += 1;
                None
            }
        }
    }

    /// Keeps a program that was not there, and says what set its call apart from the nearest one.
    pub fn insert(&mut self, key: Key<W>, program: P) -> Miss {
        let apart = self.entries.iter().rev().map(|(known, _)| known.differences(&key));
        let differences = apart.min_by_key(Vec::len).unwrap_or_default();
        // Two threads that made the same program at once leave one.
        self.entries.retain(|(known, _)| *known != key);
        if self.entries.len() >= self.capacity {
            self.entries.remove(0);
            self.statistics.evictions += 1;
        }
        self.entries.push((key, program));
        Miss { differences }
    }

    /// Those used last at the end.
    pub fn programs(&self) -> impl Iterator<Item = &P> {
        self.entries.iter().map(|(_, program)| program)
    }

    pub fn stages(&self, trace: &Graph, wanted: &W) -> Option<Arc<Stages>> {
        self.graphs.iter().find(|(g, w, _)| g == trace && w == wanted).map(|(_, _, stages)| stages.clone())
    }

    pub fn insert_stages(&mut self, wanted: W, stages: Arc<Stages>) {
        self.graphs.retain(|(trace, known, _)| *trace != stages.trace || *known != wanted);
        if self.graphs.len() >= self.capacity {
            self.graphs.remove(0);
        }
        self.graphs.push((stages.trace.clone(), wanted, stages));
    }
}
