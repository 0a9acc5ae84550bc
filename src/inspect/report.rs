//! The report: everything there is to say about one compiled loss, as plain data.

use serde::Serialize;
use std::fmt;

/// The version of the JSON form: raised when a field changes its meaning or goes, not when one is added.
pub const SCHEMA: u32 = 1;

/// A stage on the way from a declaration to machine code, by its one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The formula as declared.
    Trace,
    /// The same, stable.
    Simplify,
    /// With its gradients.
    Grad,
    /// Loss and gradients simplified together.
    Joint,
    /// The loops.
    Nest,
    /// Cranelift's code, before its optimiser.
    Clif,
    /// Machine code.
    Asm,
}

impl Stage {
    /// In the order in which they are made.
    pub const ALL: [Stage; 7] =
        [Stage::Trace, Stage::Simplify, Stage::Grad, Stage::Joint, Stage::Nest, Stage::Clif, Stage::Asm];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Trace => "trace",
            Stage::Simplify => "simplify",
            Stage::Grad => "grad",
            Stage::Joint => "joint",
            Stage::Nest => "nest",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
        }
    }

    /// The stage that it was made from.
    pub fn parent(self) -> Option<Stage> {
        match self {
            Stage::Trace => None,
            Stage::Simplify => Some(Stage::Trace),
            Stage::Grad => Some(Stage::Simplify),
            Stage::Joint => Some(Stage::Grad),
            Stage::Nest => Some(Stage::Joint),
            Stage::Clif | Stage::Asm => Some(Stage::Nest),
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything there is to say about one compiled loss.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of lossjit that made it.
    pub version: &'static str,
    /// The loss's name, `softmax_cross_entropy`.
    pub loss: String,
    /// The name of the machine code, `softmax_cross_entropy.value_and_grad.f32[512,32000]`.
    pub symbol: String,
    pub axes: Vec<AxisSize>,
    /// In the order of the joint graph.
    pub inputs: Vec<Buffer>,
    pub outputs: Vec<Buffer>,
    /// The places of the declaration, in the order of file, line and column.
    pub origins: Vec<Origin>,
    /// In the order of the stages; all seven.
    pub listings: Vec<Listing>,
    /// Of the stages simplify and joint.
    pub simplifications: Vec<Simplification>,
    /// Of each output, in their order.
    pub derivations: Vec<Derivation>,
    /// Why there are no derivations, where there are none.
    pub unexplained: Option<String>,
    pub cost: Cost,
    /// What this machine can do, where that was asked for.
    pub machine: Option<Machine>,
    /// What a run took, where that was asked for.
    pub measured: Option<Measured>,
}

/// An axis and how many elements it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AxisSize {
    pub name: String,
    pub extent: usize,
}

/// A buffer that the code reads or writes, as a caller gives it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Buffer {
    pub name: String,
    pub dtype: String,
    /// As the caller has it.
    pub shape: Vec<usize>,
    /// Names of the axes along which the graph reads or writes it.
    pub axes: Vec<String>,
    /// Along those axes, in elements.
    pub strides: Vec<isize>,
}

/// A place in a declaration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Origin {
    /// `src/losses/l2.rs`; empty where the declaration is the text form of a graph.
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// The line's text, without the space around it: of the built-in losses, and of what [`Report::with_source`] was
    /// given.
    pub text: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.file.is_empty() {
            return write!(f, "line {}", self.line);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One stage: its text, line by line, and its graph.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Listing {
    pub stage: Stage,
    /// The stage whose lines and nodes the `from` of this one's name.
    pub parent: Option<Stage>,
    pub lines: Vec<Line>,
    /// The graph; for the nest the one that it computes; empty for clif and asm. Arguments come before their users.
    pub nodes: Vec<Node>,
}

impl Listing {
    /// The stage's text form.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.text.as_str().to_owned() + "\n").collect()
    }
}

/// One line of a listing.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Line {
    /// With its indentation, without a line break.
    pub text: String,
    /// The nodes of this listing that the line computes, folds, keeps, loads or stores, the most important first. None for
    /// headings, loops, clif and asm.
    pub nodes: Vec<usize>,
    /// Lines of the parent stage.
    pub from: Vec<usize>,
    /// Places in [`Report::origins`].
    pub origins: Vec<usize>,
}

/// One node of a graph.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Node {
    /// The op's word: `exp`, `read`, `sum`; for leaves the axis (`@c`), the buffer (`pred`) or the number (`-1.0`).
    pub op: String,
    pub args: Vec<usize>,
    /// Axes, buffers and numbers: they stand where they are used and have no line.
    pub leaf: bool,
    /// The right-hand side of its equation, `exp %5`; for leaves the same as `op`.
    pub text: String,
    /// `float`, `int`, `bool` or `buffer`.
    pub kind: &'static str,
    /// Names of the axes that it varies along.
    pub axes: Vec<String>,
    /// The line of this listing that defines it.
    pub line: Option<usize>,
    /// Names of the outputs whose value it is.
    pub outputs: Vec<String>,
    /// The letter that stands for it in the derivations' formulas, where one does: of the nest's nodes.
    pub name: Option<String>,
    /// Nodes of the parent stage's graph.
    pub from: Vec<usize>,
    /// Places in [`Report::origins`].
    pub origins: Vec<usize>,
}

/// What a run of `simplify` did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Simplification {
    /// The stage that it gave: simplify or joint.
    pub stage: Stage,
    pub iterations: usize,
    /// Nodes and classes of the e-graph in the end.
    pub nodes: usize,
    pub classes: usize,
    /// Whether no rule had anything left to say; otherwise a limit ended the run.
    pub saturated: bool,
    /// Whether the graph stays as it was, because some value has no form that keeps to its axes.
    pub kept: bool,
    /// Of the whole graph, in the units of `simplify::cost`.
    pub cost_before: u64,
    pub cost_after: u64,
    /// The rules that found something, by name.
    pub fired: Vec<RuleCount>,
}

/// How often a rule found something new.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleCount {
    pub rule: String,
    pub count: usize,
    pub validity: Validity,
}

/// How far a step holds. Texts and pages take their words from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// For every float, up to the sign of a zero.
    Exact,
    /// For the real numbers: it may round otherwise, and give a number where the left side overflows.
    Real,
    /// Not an equality: the derivative of what stands before.
    Derivative,
}

impl Validity {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Validity::Exact => "exact",
            Validity::Real => "over the reals",
            Validity::Derivative => "derivative",
        }
    }

    /// What that says of floats, to stand behind the name and a colon.
    pub fn meaning(self) -> &'static str {
        match self {
            Validity::Exact => "the same float, up to the sign of a zero",
            Validity::Real => {
                "equal for real numbers; a float may be rounded otherwise, and where one side overflows or is NaN the other \
                 may be a finite number"
            }
            Validity::Derivative => "no equality: what follows is the derivative of what stands before",
        }
    }
}

/// The chain from a declared formula to the compiled one, for one output.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Derivation {
    /// `out` or `grad.NAME`.
    pub output: String,
    /// The formula as declared.
    pub declared: Formula,
    /// In order; the first begins with the declared formula, each with what the one before ended with.
    pub steps: Vec<RewriteStep>,
    /// The formula as it is compiled.
    pub compiled: Formula,
}

/// One step: an equation read in one direction at one or more places of the formula.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RewriteStep {
    /// From 1 within the derivation.
    pub number: usize,
    /// The stage in which it happens: simplify, grad (the derivative), joint, or nest (sizes as numbers, composites written out).
    pub stage: Stage,
    /// The rule's name.
    pub rule: String,
    /// The rule as an equation, `log(a / b) = log(a) − log(b)`, where it is one of the table; of composites written out, those
    /// used, with `; ` between them.
    pub equation: Option<String>,
    /// What must hold for the rule to apply, in words.
    pub guards: Vec<String>,
    /// Whether the equation is read from right to left.
    pub backward: bool,
    pub validity: Validity,
    /// The part that changes, before and after.
    pub part_before: Formula,
    pub part_after: Formula,
    /// The whole formula afterwards.
    pub after: Formula,
}

/// A formula in index notation on one line. What occurs more than once has a name that means the same throughout its
/// derivation, with its definition in `names`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Formula {
    /// `log(Σc exp(pred[n,c])) − pred[n,label[n]]`
    pub text: String,
    /// The names used, each with its formula; those used in a definition stand before it.
    pub names: Vec<(String, String)>,
}

impl Formula {
    /// Whether a word stands in it or in what its names mean.
    pub(super) fn mentions(&self, word: &str) -> bool {
        self.text.contains(word) || self.names.iter().any(|(_, text)| text.contains(word))
    }
}

/// What one run takes, counted from the nest.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Cost {
    /// Each buffer once: what must come from memory and go there.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub flops: u64,
    /// Evaluations of elementary functions (exp, log, …), one for each element.
    pub math_calls: u64,
    /// For each thread.
    pub scratch_bytes: u64,
    /// Flops, a math call counted as one, for each byte read or written.
    pub intensity: f64,
    pub buffers: Vec<BufferCost>,
    /// Every loop of the nest and every sum over pairs, in the order of its text. The first has no axis where something is
    /// done outside all loops.
    pub loops: Vec<LoopCost>,
    /// Math calls by function.
    pub math: Vec<(String, u64)>,
}

/// How a buffer is used.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BufferCost {
    pub name: String,
    pub written: bool,
    pub bytes: u64,
    /// Elements read from it or written to it in a run, those that are kept in an output's buffer on the way included.
    pub accesses: u64,
    /// `accesses` over the number of elements.
    pub passes: f64,
}

/// One loop, without the loops inside it; or a sum over pairs, whose loops are those of a kernel written by hand.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct LoopCost {
    /// Its line in the nest's listing; the nest's heading where there is no loop.
    pub line: usize,
    pub depth: usize,
    /// Empty where there is no loop; `i j d` of a kernel.
    pub axis: String,
    pub extent: usize,
    /// Whether it is a kernel written by hand over several axes. It is counted in terms.
    pub kernel: bool,
    /// Whether it runs in tiles, by lanes of vectors.
    pub tiled: bool,
    /// How many indices each of its iterations takes together, where it runs in blocks.
    pub block: Option<usize>,
    /// The same where it runs in parts, which have sums of their own.
    pub part: Option<usize>,
    /// Whether it is cut among threads.
    pub parallel: bool,
    /// Over a whole run: indices, of a loop in tiles elements, of one in blocks or parts those, of a kernel terms.
    pub iterations: u64,
    /// Names of the buffers, with the number of elements over a whole run. A native kernel's are those that it needs at
    /// least.
    pub reads: Vec<(String, u64)>,
    pub writes: Vec<(String, u64)>,
    /// Elements put into scratch and taken from it.
    pub kept: u64,
    pub loaded: u64,
    pub flops: u64,
    pub math_calls: u64,
    /// What its own steps do, in words: `reads pred; folds %1 = max over c`.
    pub summary: String,
}

impl LoopCost {
    /// What its iterations count.
    pub fn unit(&self) -> &'static str {
        let many = match (self.block, self.part) {
            _ if self.kernel => "terms",
            _ if self.tiled => "elements",
            (Some(_), _) => "blocks",
            (_, Some(_)) => "parts",
            _ => "times",
        };
        if self.iterations == 1 { many.strip_suffix('s').unwrap_or(many) } else { many }
    }
}

/// What this machine can do, measured once for the process.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Machine {
    pub threads: usize,
    /// From memory and to memory.
    pub bytes_per_second: f64,
    /// In vectors of the dtype.
    pub flops_per_second: f64,
    /// By function, of the dtype.
    pub math_per_second: Vec<(String, f64)>,
    /// The least time for this loss: of memory, of arithmetic, of elementary functions; it is at least the longest of these.
    pub memory_s: f64,
    pub flops_s: f64,
    pub math_s: f64,
    pub least_s: f64,
}

/// What runs took.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measured {
    pub threads: usize,
    pub runs: usize,
    pub median_s: f64,
    pub fastest_s: f64,
}

impl Report {
    /// The listing of a stage.
    pub fn listing(&self, stage: Stage) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.stage == stage)
    }
}
