//! The cache of one block: the programs used last, and the graphs that further shapes of the same loss share.

use super::bind::{Buffer, Signature};
use super::block::Program;
use super::pipeline::Stages;
use super::view::{Inputs, ViewMut};
use crate::grad::Wanted;
use crate::ir::Graph;
use std::sync::Arc;

/// How a cache has fared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheStatistics {
    pub hits: u64,
    pub misses: u64,
    pub entries: usize,
}

/// Bounded; what was used longest ago goes first.
pub(super) struct Cache {
    capacity: usize,
    /// Most recently used last.
    programs: Vec<(Wanted, Program)>,
    graphs: Vec<(Graph, Wanted, Arc<Stages>)>,
    statistics: CacheStatistics,
}

impl Cache {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), programs: vec![], graphs: vec![], statistics: CacheStatistics::default() }
    }

    pub fn statistics(&self) -> CacheStatistics {
        CacheStatistics { entries: self.programs.len(), ..self.statistics }
    }

    /// The program for these buffers, where there is one. Nothing is allocated.
    pub fn find(&mut self, wanted: &dyn Fn(&Wanted) -> bool, inputs: &Inputs, outputs: &[ViewMut]) -> Option<Program> {
        let fits = |(known, program): &(Wanted, Program)| wanted(known) && fits(program.signature(), inputs, outputs);
        let place = self.programs.iter().rposition(fits);
        match place {
            Some(place) => {
                self.statistics.hits += 1;
                self.programs[place..].rotate_left(1);
                self.programs.last().map(|(_, program)| program.clone())
            }
            None => {
                self.statistics.misses += 1;
                None
            }
        }
    }

    /// Two threads that made the same program at once leave one.
    pub fn insert(&mut self, wanted: Wanted, program: Program) {
        self.programs.retain(|(known, p)| *known != wanted || p.signature() != program.signature());
        if self.programs.len() >= self.capacity {
            self.programs.remove(0);
        }
        self.programs.push((wanted, program));
    }

    /// Those used last at the end.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter().map(|(_, program)| program)
    }

    pub fn stages(&self, trace: &Graph, wanted: &Wanted) -> Option<Arc<Stages>> {
        self.graphs.iter().find(|(g, w, _)| g == trace && w == wanted).map(|(_, _, stages)| stages.clone())
    }

    pub fn insert_stages(&mut self, wanted: Wanted, stages: Arc<Stages>) {
        self.graphs.retain(|(trace, known, _)| *trace != stages.trace || *known != wanted);
        if self.graphs.len() >= self.capacity {
            self.graphs.remove(0);
        }
        self.graphs.push((stages.trace.clone(), wanted, stages));
    }
}

/// Whether a program reads these inputs and writes these outputs; no outputs are new row-major ones.
fn fits(signature: &Signature, inputs: &Inputs, outputs: &[ViewMut]) -> bool {
    let read = |buffer: &Buffer| {
        let found = inputs.iter().find(|(name, _)| *name == buffer.name);
        found.is_some_and(|(_, v)| buffer.is_like(v.dtype, &v.shape, &v.strides))
    };
    let written = |(buffer, v): (&Buffer, &ViewMut)| buffer.is_like(v.dtype, &v.shape, &v.strides);
    signature.inputs.len() == inputs.len()
        && signature.inputs.iter().all(read)
        && if outputs.is_empty() {
            signature.outputs.iter().all(Buffer::is_row_major)
        } else {
            signature.outputs.iter().zip(outputs).all(written)
        }
}
