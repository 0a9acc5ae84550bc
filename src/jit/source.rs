//! Source locations: every instruction bears the number of the step that it was made for, its place in
//! [`Nest::steps`]. Cranelift carries it through to machine code.

use super::emit::Emitter;
use crate::nest::{Nest, Step};
use cranelift_codegen::ir::SourceLoc;
use std::collections::HashMap;

/// The numbers of a nest's steps, by their addresses.
pub(super) struct Numbers(HashMap<*const Step, u32>);

impl Numbers {
    pub fn new(nest: &Nest) -> Self {
        Self(nest.steps().into_iter().zip(0..).map(|((_, step), number)| (std::ptr::from_ref(step), number)).collect())
    }

    /// A step's place in [`Nest::steps`].
    pub fn place(&self, step: &Step) -> Option<usize> {
        self.0.get(&std::ptr::from_ref(step)).map(|&number| number as usize)
    }

    fn location(&self, step: &Step) -> SourceLoc {
        self.place(step).map_or_else(SourceLoc::default, |number| SourceLoc::new(number as u32))
    }
}

impl Emitter<'_> {
    /// What `emit` makes belongs to a step, but for what inner steps make.
    pub(super) fn for_step<T>(&mut self, step: &Step, emit: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.b.srcloc();
        let here = self.numbers.location(step);
        self.b.set_srcloc(here);
        let emitted = emit(self);
        self.b.set_srcloc(outside);
        emitted
    }
}

/// The number of the step that a source location stands for.
pub(super) fn step(location: SourceLoc) -> Option<usize> {
    (!location.is_default()).then(|| location.bits() as usize)
}
