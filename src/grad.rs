//! Reverse mode: from a graph to the graph of its gradients. One walk from the output to the inputs, one match.
//!
//! A cotangent varies along at most the axes of the value it belongs to: what reaches an argument is summed over the
//! axes that the argument does not have. A cotangent of 0 behind a `select` stays behind it when it is multiplied, so
//! that 0 · inf in a branch not taken never becomes NaN.

mod head;
mod split;

pub use head::{scale_by_head, scaled_by_head};
pub use split::{Halves, split};

use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Builder, Fold, Graph, Id, InputId, Kind, Native, Op, Output, Point};

/// What a compiled graph is to give.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Wanted {
    /// The loss itself.
    pub value: bool,
    /// The inputs whose gradients are wanted.
    pub wrt: Vec<String>,
    /// Whether the output's cotangent is given as the input `head`; otherwise it is 1.
    pub head: bool,
    /// The inputs whose gradients are written over them.
    pub in_place: Vec<String>,
}

impl Wanted {
    /// The loss alone.
    pub fn value() -> Self {
        Self { value: true, wrt: vec![], head: false, in_place: vec![] }
    }

    /// The loss and the gradients of its sum.
    pub fn value_and_grad<S: AsRef<str>>(wrt: &[S]) -> Self {
        Self { wrt: strings(wrt), ..Self::value() }
    }

    /// The gradients of `Σ loss · head`, without the loss.
    pub fn backward<S: AsRef<str>>(wrt: &[S]) -> Self {
        Self { value: false, head: true, ..Self::value_and_grad(wrt) }
    }

    /// The same with gradients of `Σ loss · head`; `head` is one more input, of the loss's shape.
    pub fn with_head(self) -> Self {
        Self { head: true, ..self }
    }

    /// The same with the gradients of these inputs written over them: memory is read as the input and left as its
    /// gradient. They are among `wrt`.
    pub fn in_place<S: AsRef<str>>(self, inputs: &[S]) -> Self {
        Self { in_place: strings(inputs), ..self }
    }
}

fn strings<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    names.iter().map(|s| s.as_ref().to_string()).collect()
}

/// The name of the head gradient's buffer.
pub const HEAD: &str = "head";

/// The name of the gradient with respect to an input.
pub fn grad_name(input: &str) -> String {
    format!("grad.{input}")
}

/// The name under which the gradient of the loss's sum is saved for a backward pass that scales it.
pub fn saved_name(input: &str) -> String {
    format!("saved.{input}")
}

/// The inputs that the output depends on smoothly.
pub fn differentiable(graph: &Graph) -> Result<Vec<String>> {
    let floats = graph.inputs.iter().filter(|i| i.kind == Kind::Float).map(|i| i.name.clone()).collect();
    let mut walk = Walk::new(graph, &Wanted { wrt: floats, ..Wanted::value() })?;
    walk.run()?;
    let reached = |index: usize| !walk.reads[index].is_empty();
    Ok(graph.inputs.iter().enumerate().filter(|(i, _)| reached(*i)).map(|(_, input)| input.name.clone()).collect())
}

/// The graph that gives what is wanted: `out`, then `grad.NAME` for each input asked for.
///
/// # Errors
/// An input is not given, is no float, or the loss does not depend on it smoothly.
pub fn grad(graph: &Graph, wanted: &Wanted) -> Result<Graph> {
    for name in &wanted.wrt {
        let input = graph.find_input(name).map(|i| graph.input(i));
        let given = || graph.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
        let input = input.ok_or_else(|| Error::NoGradient {
            input: name.clone(),
            why: format!("it is not given; given are {}", given()),
        })?;
        if input.kind != Kind::Float {
            return Err(Error::NoGradient { input: name.clone(), why: "it holds class numbers".into() });
        }
    }
    let mut walk = Walk::new(graph, wanted)?;
    walk.run()?;
    let mut outputs = vec![];
    for name in &wanted.wrt {
        let input = graph.find_input(name).expect("checked above");
        let gradient = walk.gradient(input)?.ok_or_else(|| Error::NoGradient {
            input: name.clone(),
            why: format!("{} does not depend on it smoothly", graph.name),
        })?;
        outputs.push((grad_name(name), graph.input(input).axes.clone(), gradient));
    }
    let mut builder = walk.b;
    let keep = builder.graph().outputs.clone();
    let mut joint = Builder::from(&Graph { outputs: vec![], ..builder.graph().clone() });
    if wanted.value {
        keep.iter().for_each(|o| joint.output(&o.name, &o.axes, o.value));
    }
    outputs.iter().for_each(|(name, axes, value)| joint.output(name, axes, *value));
    builder = joint;
    builder.finish()
}

/// One element read from a buffer, with its cotangent.
struct ReadOf {
    read: Id,
    cotangent: Id,
}

struct Walk<'g> {
    graph: &'g Graph,
    b: Builder,
    /// The output's cotangent.
    seed: Id,
    /// Whether a node depends on an input asked for.
    active: Vec<bool>,
    cotangents: Vec<Option<Id>>,
    /// By input.
    reads: Vec<Vec<ReadOf>>,
}

impl<'g> Walk<'g> {
    fn new(graph: &'g Graph, wanted: &Wanted) -> Result<Self> {
        let mut b = Builder::from(graph);
        let mut active = vec![false; graph.nodes.len()];
        for id in graph.ids() {
            active[usize::from(id)] = match graph.as_read(id) {
                Some((input, _)) => wanted.wrt.contains(&graph.input(input).name),
                None => graph.node(id).args.iter().any(|&a| active[usize::from(a)]),
            };
        }
        let mut cotangents = vec![None; graph.nodes.len()];
        let out = graph.outputs.first().ok_or_else(|| Error::internal("grad", "no output"))?;
        b.made_from(&graph.origins[usize::from(out.value)]);
        let seed = seed(&mut b, out, wanted.head)?;
        cotangents[usize::from(out.value)] = Some(seed);
        let reads = graph.inputs.iter().map(|_| vec![]).collect();
        Ok(Self { graph, b, seed, active, cotangents, reads })
    }

    fn run(&mut self) -> Result<()> {
        for id in self.graph.ids().collect::<Vec<_>>().into_iter().rev() {
            if let Some(cotangent) = self.cotangents[usize::from(id)]
                && self.active[usize::from(id)]
            {
                self.visit(id, cotangent)?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, id: Id, d: Id) -> Result<()> {
        let node = self.graph.node(id).clone();
        self.b.made_from(&self.graph.origins[usize::from(id)]);
        match node.op {
            Op::Axis(_) | Op::Input(_) | Op::Float(_) | Op::Int(_) | Op::Size => Ok(()),
            Op::Read => {
                let (input, _) = self.graph.as_read(id).expect("verified");
                self.reads[input.index()].push(ReadOf { read: id, cotangent: d });
                Ok(())
            }
            Op::Fold(_) => {
                let (fold, axis, body) = self.graph.as_fold(id).expect("verified");
                let part = self.through_fold(fold, axis, body, id, d)?;
                self.give(body, part, self.graph.ty(id).axes.with(axis))
            }
            Op::Native(Native::Ctc) => {
                let (_, axes, args) = self.graph.as_native(id).expect("verified");
                let [t, c, _] = axes;
                let mut args = args.to_vec();
                let logits = args[Native::BOUND.start];
                args.extend([d, self.b.index(t)?, self.b.index(c)?]);
                let part = self.b.add(Op::Native(Native::CtcGrad), &args)?;
                self.give(logits, part, self.graph.ty(id).axes.with(t).with(c))
            }
            Op::Native(Native::CtcGrad) => {
                Err(Error::Declaration { loss: self.graph.name.clone(), problem: "ctc_grad has no derivative".into() })
            }
            Op::Point(point) => {
                for (place, &arg) in node.args.iter().enumerate() {
                    if self.active[usize::from(arg)]
                        && let Some(part) = self.through_point(point, place, &node.args, id, d)?
                    {
                        self.give(arg, part, self.graph.ty(id).axes)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// d · ∂fold/∂body.
    fn through_fold(&mut self, fold: Fold, axis: AxisId, x: Id, y: Id, d: Id) -> Result<Id> {
        let b = &mut self.b;
        match fold {
            Fold::Sum => Ok(d),
            Fold::Lse => {
                let shifted = b.sub(x, y)?;
                let softmax = b.exp(shifted)?;
                times(b, d, softmax)
            }
            Fold::Amax => {
                // Elements that tie share the slope.
                let top = b.eq(x, y)?;
                let (one, zero) = (b.float(1.0)?, b.float(0.0)?);
                let hit = b.select(top, one, zero)?;
                let ties = b.sum(axis, hit)?;
                let share = b.div(d, ties)?;
                b.select(top, share, zero)
            }
        }
    }

    /// d · ∂y/∂(argument at `place`), or `None` where the slope is 0 everywhere.
    fn through_point(&mut self, point: Point, place: usize, args: &[Id], y: Id, d: Id) -> Result<Option<Id>> {
        let b = &mut self.b;
        let x = args[0];
        let part = match (point, place) {
            (Point::Neg, _) => b.neg(d)?,
            (Point::Abs, _) => {
                let slope = b.sign(x)?;
                times(b, d, slope)?
            }
            (Point::Sqrt, _) => {
                let two = b.float(2.0)?;
                let twice = b.mul(two, y)?;
                over(b, d, twice)?
            }
            (Point::Exp, _) => times(b, d, y)?,
            (Point::Log, _) => over(b, d, x)?,
            (Point::Log1p, _) => {
                let one = b.float(1.0)?;
                let below = b.add2(one, x)?;
                over(b, d, below)?
            }
            (Point::Expm1, _) => {
                let one = b.float(1.0)?;
                let slope = b.add2(one, y)?;
                times(b, d, slope)?
            }
            (Point::Tanh, _) => {
                let one = b.float(1.0)?;
                let square = b.mul(y, y)?;
                let slope = b.sub(one, square)?;
                times(b, d, slope)?
            }
            (Point::Sigmoid, _) => {
                let opposite = b.neg(x)?;
                let rest = b.sigmoid(opposite)?;
                let slope = b.mul(y, rest)?;
                times(b, d, slope)?
            }
            (Point::Softplus, _) => {
                let slope = b.sigmoid(x)?;
                times(b, d, slope)?
            }
            (Point::Add, _) | (Point::Sub, 0) => d,
            (Point::Sub, _) => b.neg(d)?,
            (Point::Mul, _) => times(b, d, args[1 - place])?,
            (Point::Div, 0) => over(b, d, args[1])?,
            (Point::Div, _) => {
                let part = times(b, d, y)?;
                let part = over(b, part, args[1])?;
                b.neg(part)?
            }
            (Point::Max, _) => {
                let left = b.le(args[1], x)?;
                masked(b, left, place == 0, d)?
            }
            (Point::Min, _) => {
                let left = b.le(x, args[1])?;
                masked(b, left, place == 0, d)?
            }
            (Point::Select, 1 | 2) => masked(b, x, place == 1, d)?,
            (Point::Select, _) => return Ok(None),
            (Point::Sign | Point::Lt | Point::Le | Point::Eq, _) => return Ok(None),
            (Point::Not | Point::And | Point::Or | Point::Float, _) => return Ok(None),
        };
        Ok(Some(part))
    }

    /// Adds what comes from a user over `domain` to the cotangent of an argument.
    fn give(&mut self, arg: Id, part: Id, domain: AxisSet) -> Result<()> {
        if self.graph.ty(arg).kind != Kind::Float {
            return Ok(());
        }
        let part = sum_out(&mut self.b, part, domain.minus(self.graph.ty(arg).axes))?;
        let place = &mut self.cotangents[usize::from(arg)];
        *place = Some(match *place {
            Some(sum) => self.b.add2(sum, part)?,
            None => part,
        });
        Ok(())
    }

    /// The gradient along a buffer's own axes: each read's cotangent, put where the read took its element from.
    fn gradient(&mut self, input: InputId) -> Result<Option<Id>> {
        let mut total = None;
        for read in std::mem::take(&mut self.reads[input.index()]) {
            self.b.made_from(&self.graph.origins[usize::from(read.read)]);
            let part = self.scatter(input, &read)?;
            total = Some(match total {
                Some(sum) => self.b.add2(sum, part)?,
                None => part,
            });
        }
        Ok(total)
    }

    /// Σ over the read's axes of (cotangent where each index is the buffer's axis, else 0). A plain axis as an index
    /// needs no sum: the buffer's axis takes its name.
    fn scatter(&mut self, input: InputId, read: &ReadOf) -> Result<Id> {
        let (_, indices) = self.graph.as_read(read.read).expect("verified");
        let indices = indices.to_vec();
        let dims = self.graph.input(input).axes.clone();
        let mut rename: Vec<(AxisId, Id)> = vec![];
        let mut rest: Vec<(AxisId, Id)> = vec![];
        for (&dim, &index) in dims.iter().zip(&indices) {
            match self.graph.as_axis(index) {
                Some(axis) if rename.iter().all(|(a, _)| *a != axis) => {
                    let dim = self.b.index(dim)?;
                    rename.push((axis, dim));
                }
                _ => rest.push((dim, index)),
            }
        }
        // What is left of the read's axes is summed over, under fresh names where the buffer's axes are in the way.
        let mut summed = vec![];
        for axis in
            self.graph.ty(read.read).axes.iter().filter(|a| rename.iter().all(|(r, _)| r != a)).collect::<Vec<_>>()
        {
            if dims.contains(&axis) {
                return Err(Error::Declaration {
                    loss: self.graph.name.clone(),
                    problem: format!(
                        "the gradient of {} needs axis {} under a second name; read it along another axis",
                        self.graph.input(input).name,
                        self.graph.axis_name(axis)
                    ),
                });
            }
            summed.push(axis);
        }
        rename.retain(|(axis, dim)| self.b.graph().as_axis(*dim) != Some(*axis));
        let mut part = self.b.substitute(read.cotangent, &rename)?;
        for (dim, index) in rest {
            let index = self.b.substitute(index, &rename)?;
            let dim = self.b.index(dim)?;
            let (hit, zero) = (self.b.eq(dim, index)?, self.b.float(0.0)?);
            part = self.b.select(hit, part, zero)?;
        }
        sum_out(&mut self.b, part, summed.into_iter().collect())
    }
}

/// The output's cotangent along the axes that its value varies along: the head gradient, or 1.
fn seed(b: &mut Builder, out: &Output, head: bool) -> Result<Id> {
    let seed = if head {
        let head = match b.graph().find_input(HEAD) {
            Some(known) => known,
            None => b.input(HEAD, &out.axes, Kind::Float)?,
        };
        let indices = out.axes.iter().map(|&a| b.index(a)).collect::<Result<Vec<_>>>()?;
        b.read(head, &indices)?
    } else {
        b.float(1.0)?
    };
    // The output may have axes that its value does not vary along.
    let spread: AxisSet = out.axes.iter().copied().collect();
    let varying = b.graph().ty(out.value).axes;
    sum_out(b, seed, spread.minus(varying))
}

/// Σ over the axes, with what is 0 for all of an axis by a `select` kept 0.
fn sum_out(b: &mut Builder, value: Id, axes: AxisSet) -> Result<Id> {
    axes.iter().try_fold(value, |value, axis| {
        let along = AxisSet::of(axis);
        under_masks(b, value, along, &mut |b, value| b.sum(axis, value))
    })
}

/// The cotangent where the condition is `when`, else 0.
fn masked(b: &mut Builder, condition: Id, when: bool, d: Id) -> Result<Id> {
    let zero = b.float(0.0)?;
    if when { b.select(condition, d, zero) } else { b.select(condition, zero, d) }
}

/// d · factor, with what is 0 by a `select` kept 0.
fn times(b: &mut Builder, d: Id, factor: Id) -> Result<Id> {
    under_masks(b, d, AxisSet::EMPTY, &mut |b, d| b.mul(d, factor))
}

/// d / divisor, with what is 0 by a `select` kept 0.
fn over(b: &mut Builder, d: Id, divisor: Id) -> Result<Id> {
    under_masks(b, d, AxisSet::EMPTY, &mut |b, d| b.div(d, divisor))
}

/// A linear function of a cotangent, applied behind the masks that do not vary along these axes.
fn under_masks(
    b: &mut Builder,
    d: Id,
    along: AxisSet,
    linear: &mut dyn FnMut(&mut Builder, Id) -> Result<Id>,
) -> Result<Id> {
    match b.graph().as_point(d).map(|(p, args)| (p, args.to_vec())) {
        Some((Point::Select, args)) if is_mask(b, &args, along) => {
            let mut branch =
                |b: &mut Builder, id: Id| if is_zero(b, id) { Ok(id) } else { under_masks(b, id, along, linear) };
            let (yes, no) = (branch(b, args[1])?, branch(b, args[2])?);
            b.select(args[0], yes, no)
        }
        Some((Point::Add, args)) if args.iter().any(|&a| is_masked(b, a, along)) => {
            let (left, right) = (under_masks(b, args[0], along, linear)?, under_masks(b, args[1], along, linear)?);
            b.add2(left, right)
        }
        Some((Point::Neg, args)) if is_masked(b, args[0], along) => {
            let part = under_masks(b, args[0], along, linear)?;
            b.neg(part)
        }
        _ => linear(b, d),
    }
}

fn is_masked(b: &Builder, id: Id, along: AxisSet) -> bool {
    match b.graph().as_point(id) {
        Some((Point::Select, args)) => is_mask(b, args, along),
        Some((Point::Neg, args)) => is_masked(b, args[0], along),
        _ => false,
    }
}

/// Whether the arguments of a `select` have a 0, chosen by what does not vary along these axes.
fn is_mask(b: &Builder, args: &[Id], along: AxisSet) -> bool {
    let free = b.graph().ty(args[0]).axes.intersection(along).is_empty();
    free && args[1..].iter().any(|&a| is_zero(b, a))
}

fn is_zero(b: &Builder, id: Id) -> bool {
    b.graph().as_float(id) == Some(0.0)
}
