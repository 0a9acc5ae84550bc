//! Registers: which one holds what in a vector loop. Scalars, folds and the running index keep theirs for the whole loop;
//! results of operations give theirs back after their last use.

use super::program::{Action, Operand, Program};

/// The numbers of registers.
pub(super) struct Registers {
    pub scalars: Vec<u32>,
    /// By part of an iteration, and by fold.
    pub folds: Vec<Vec<u32>>,
    /// By part: the running index, where there is one; and what an iteration adds to it.
    pub index: Vec<u32>,
    pub step: Option<u32>,
    /// By place in the line; operations without a result have none.
    pub made: Vec<Option<u32>>,
    /// For what an operation needs beside its result.
    pub spare: u32,
}

impl Registers {
    /// Registers of so many for a program whose iteration has so many parts; `None` where they do not suffice.
    pub fn of(program: &Program, count: u32, parts: usize) -> Option<Self> {
        let mut free: Vec<u32> = (0..count).rev().collect();
        let spare = free.pop()?;
        let mut many = |n: usize| (0..n).map(|_| free.pop()).collect::<Option<Vec<u32>>>();
        // Folds first: short instructions, which the ends of their sums are made of, reach 16 registers only.
        let folds = (0..parts).map(|_| many(program.folds.len())).collect::<Option<Vec<_>>>()?;
        if folds.iter().flatten().any(|&register| register > 15) {
            return None;
        }
        let scalars = many(program.scalars.len())?;
        let index = many(if program.indexed { parts } else { 0 })?;
        let step = many(usize::from(program.indexed))?.pop();
        let last = last_uses(program);
        let mut made: Vec<Option<u32>> = vec![];
        for (place, action) in program.line.iter().enumerate() {
            // A result has a register of its own while its operands are read.
            made.push(if has_result(action) { Some(free.pop()?) } else { None });
            for operand in operands(action).into_iter().flatten() {
                if let Operand::Made(from) = operand
                    && last[from] == place
                    && let Some(register) = made[from]
                    && !free.contains(&register)
                {
                    free.push(register);
                }
            }
            if let (Some(register), true) = (made[place], last[place] == place) {
                free.push(register); // nobody asks for it
            }
        }
        Some(Self { scalars, folds, index, step, made, spare })
    }
}

fn has_result(action: &Action) -> bool {
    !matches!(action, Action::Store { .. } | Action::AddSums { .. } | Action::Fold { .. })
}

fn operands(action: &Action) -> [Option<Operand>; 3] {
    match *action {
        Action::Load(_) | Action::LoadSums(_) | Action::Row(_) => [None; 3],
        Action::Store { from, .. } | Action::AddSums { from, .. } | Action::Fold { from, .. } => {
            [Some(from), None, None]
        }
        Action::Sqrt(x) | Action::Float(x) => [Some(x), None, None],
        Action::Binary(_, a, b) | Action::Extreme { first: a, second: b, .. } => [Some(a), Some(b), None],
        Action::Select { mask, yes, no } => [Some(mask), Some(yes), Some(no)],
    }
}

/// By place in the line: where its result is used for the last time; its own place where it is not. What is made once for a
/// row is used in every iteration of it.
fn last_uses(program: &Program) -> Vec<usize> {
    let once = program.rows.as_ref().map_or(0, |rows| rows.once);
    let mut last: Vec<usize> = (0..program.line.len()).collect();
    for (place, action) in program.line.iter().enumerate() {
        for operand in operands(action).into_iter().flatten() {
            if let Operand::Made(from) = operand {
                last[from] = if from < once && place >= once { program.line.len() } else { place };
            }
        }
    }
    last
}
