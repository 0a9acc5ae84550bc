//! What is timed: every loss of the registry at three shapes, on inputs as training has them. Shared by the benchmarks,
//! the roofline and the instruction counts.
#![allow(dead_code)] // each of them uses a part

use fastrand::Rng;
use lossjit::losses::{Entry, LOSSES, Loss};
use lossjit::{Compiled, Dtype, HybridBlock, View, ViewMut, Wanted};
use ndarray::{ArrayD, IxDyn};

/// A loss at a shape; its inputs are drawn when they are asked for, as some are large.
pub struct Case {
    pub entry: &'static Entry,
    pub shape: Vec<usize>,
}

/// An input array.
pub enum Array {
    Float(ArrayD<f32>),
    Class(ArrayD<i32>),
}

impl Array {
    pub fn view(&self) -> View<'_> {
        match self {
            Array::Float(array) => array.into(),
            Array::Class(array) => array.into(),
        }
    }
}

/// Inputs by name.
pub struct Inputs(Vec<(&'static str, Array)>);

impl Inputs {
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, Array)> {
        self.0.iter()
    }

    pub fn views(&self) -> Vec<(&str, View<'_>)> {
        self.iter().map(|(name, array)| (*name, array.view())).collect()
    }
}

/// Small, middle and large: the overhead shows, what fits a cache, and what comes from memory.
fn shapes(loss: &str) -> [&'static [usize]; 3] {
    match loss {
        // Sequences, steps, classes, labels.
        "CTCLoss" => [&[1, 50, 28, 10], &[32, 200, 80, 40], &[16, 1000, 5000, 100]],
        "SDMLLoss" => [&[8, 16], &[256, 128], &[1024, 256]],
        _ => [&[1, 10], &[128, 1000], &[512, 32000]],
    }
}

/// Every loss at each of its shapes.
pub fn cases() -> impl Iterator<Item = Case> {
    LOSSES.iter().flat_map(|entry| shapes(entry.name).map(|shape| Case { entry, shape: shape.to_vec() }))
}

impl Case {
    /// The name in results: the loss and the shape.
    pub fn name(&self) -> String {
        let sizes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("{}/{}", self.entry.name, sizes.join("x"))
    }

    /// The loss with its default parameters.
    pub fn block(&self) -> HybridBlock<Box<dyn Loss>> {
        HybridBlock::new((self.entry.build)(&[]).expect("the defaults are valid")).hybridize()
    }

    /// Value, and the gradients that training asks for: those of what a model has computed.
    pub fn wanted(&self) -> [(&'static str, Wanted); 2] {
        let wrt: &[&str] = match self.entry.name {
            "TripletLoss" => &["pred", "positive", "negative"],
            "CosineEmbeddingLoss" => &["input1", "input2"],
            "SDMLLoss" => &["x1", "x2"],
            _ => &["pred"],
        };
        [("forward", Wanted::value()), ("value_and_grad", Wanted::value_and_grad(wrt))]
    }

    /// Inputs, the same each time.
    pub fn inputs(&self) -> Inputs {
        let random = &mut Rng::with_seed(0);
        let drawn = self.declared().into_iter().map(|(name, shape, draw)| {
            let array = match draw {
                Draw::Float(draw) => Array::Float(ArrayD::from_shape_simple_fn(shape, || draw(random))),
                Draw::Class(classes) => Array::Class(ArrayD::from_shape_simple_fn(shape, || random.i32(0..classes))),
            };
            (name, array)
        });
        Inputs(drawn.collect())
    }

    /// Zeros, for what depends on shapes alone: they cost no time.
    pub fn blank(&self) -> Inputs {
        let blank = self.declared().into_iter().map(|(name, shape, draw)| match draw {
            Draw::Float(_) => (name, Array::Float(ArrayD::zeros(shape))),
            Draw::Class(_) => (name, Array::Class(ArrayD::zeros(shape))),
        });
        Inputs(blank.collect())
    }

    /// Each input by its name and shape, and how its elements are drawn.
    fn declared(&self) -> Vec<(&'static str, IxDyn, Draw)> {
        use Draw::{Class, Float};
        let shape = &self.shape[..];
        let all = || IxDyn(shape);
        match self.entry.name {
            "CTCLoss" => vec![
                ("pred", IxDyn(&shape[..3]), Float(logit)),
                ("label", IxDyn(&[shape[0], shape[3]]), Class(shape[2] as i32 - 1)),
            ],
            "SoftmaxCrossEntropyLoss" => {
                vec![("pred", all(), Float(logit)), ("label", IxDyn(&shape[..1]), Class(shape[1] as i32))]
            }
            "SigmoidBinaryCrossEntropyLoss" => vec![("pred", all(), Float(logit)), ("label", all(), Float(bit))],
            "KLDivLoss" => vec![("pred", all(), Float(|r| probability(r).ln())), ("label", all(), Float(probability))],
            "HingeLoss" | "SquaredHingeLoss" | "LogisticLoss" => {
                vec![("pred", all(), Float(logit)), ("label", all(), Float(sign))]
            }
            "PoissonNLLLoss" => vec![("pred", all(), Float(normal)), ("target", all(), Float(count))],
            "TripletLoss" => ["pred", "positive", "negative"].map(|name| (name, all(), Float(normal))).into(),
            "CosineEmbeddingLoss" => vec![
                ("input1", all(), Float(normal)),
                ("input2", all(), Float(normal)),
                ("label", IxDyn(&shape[..1]), Float(sign)),
            ],
            "SDMLLoss" => ["x1", "x2"].map(|name| (name, all(), Float(|r| 0.3 * normal(r)))).into(),
            _ => ["pred", "label"].map(|name| (name, all(), Float(normal))).into(),
        }
    }
}

/// How the elements of an input are drawn.
enum Draw {
    Float(fn(&mut Rng) -> f32),
    /// Below this number.
    Class(i32),
}

/// Near enough to a normal distribution, and quickly drawn.
fn normal(random: &mut Rng) -> f32 {
    (0..4).map(|_| random.f32() - 0.5).sum::<f32>() * 3f32.sqrt()
}

fn logit(random: &mut Rng) -> f32 {
    2.0 * normal(random)
}

fn bit(random: &mut Rng) -> f32 {
    f32::from(random.bool())
}

fn sign(random: &mut Rng) -> f32 {
    if random.bool() { 1.0 } else { -1.0 }
}

fn count(random: &mut Rng) -> f32 {
    random.u32(0..6) as f32
}

fn probability(random: &mut Rng) -> f32 {
    1e-3 * (random.f32() + 0.01)
}

/// Buffers for the results of a handle, written again and again.
pub struct Outputs(Vec<ArrayD<f32>>);

impl Outputs {
    pub fn of(compiled: &Compiled) -> Self {
        let outputs = &compiled.signature().outputs;
        assert!(outputs.iter().all(|buffer| buffer.dtype == Dtype::F32), "the cases are of f32");
        Self(outputs.iter().map(|buffer| ArrayD::zeros(IxDyn(&buffer.shape))).collect())
    }

    pub fn views(&mut self) -> Vec<ViewMut<'_>> {
        self.0.iter_mut().map(ViewMut::from).collect()
    }
}
