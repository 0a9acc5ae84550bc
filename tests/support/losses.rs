//! Random uses of the built-in losses: which loss, its parameters, the shapes, contents and memory of its inputs, what
//! is asked for.
//!
//! Contents lie on a grid of 1/64, so that differences and products are exact in f32 too: comparisons with a margin come
//! out alike in every width, and ties are common.

use super::guard::{Flush, Guarded};
use super::machine::strides;
use lossjit::grad::differentiable;
use lossjit::losses::{Entry, LOSSES};
use lossjit::runtime::pipeline;
use lossjit::{Dtype, HybridBlock, Spec, View, ViewMut, Wanted};
use std::fmt;

/// An input with its contents, in row-major order.
#[derive(Clone)]
pub struct Given {
    pub name: &'static str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
    pub values: Vec<f64>,
}

impl Given {
    /// In memory between forbidden pages, and read-only from then on.
    pub fn place(&self, strides: &[isize], flush: Flush) -> Guarded {
        let mut memory = Guarded::new(self.dtype, &self.shape, strides, flush);
        memory.fill(&self.values);
        memory.read_only();
        memory
    }

    pub fn place_row_major(&self) -> Guarded {
        self.place(&row_major(&self.shape), Flush::End)
    }
}

pub fn row_major(shape: &[usize]) -> Vec<isize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().map(|&n| n.max(1) as isize).product()).collect()
}

#[derive(Clone)]
pub struct LossCase {
    pub seed: u64,
    pub entry: &'static Entry,
    pub settings: Vec<(String, String)>,
    pub real: Dtype,
    pub inputs: Vec<Given>,
    /// Whether a head gradient is given.
    pub head: bool,
}

impl LossCase {
    pub fn specs(&self) -> Vec<Spec> {
        self.inputs.iter().map(|g| Spec::new(g.name, g.dtype, &g.shape)).collect()
    }
}

impl fmt::Display for LossCase {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "seed {}: {} in {}", self.seed, self.entry.name, self.real)?;
        self.settings.iter().try_for_each(|(key, value)| write!(f, " --set {key}={value}"))?;
        let input = |g: &Given| format!(" {}={}{:?}/{:?}", g.name, g.dtype, g.shape, g.strides);
        self.inputs.iter().try_for_each(|g| f.write_str(&input(g)))?;
        if self.head { f.write_str(" with a head") } else { Ok(()) }
    }
}

/// The case of a seed, of at most about so many elements.
pub fn loss_case(seed: u64, elements: usize) -> LossCase {
    let mut rng = fastrand::Rng::with_seed(seed);
    let entry = &LOSSES[rng.usize(..LOSSES.len())];
    let real = if rng.bool() { Dtype::F32 } else { Dtype::F64 };
    let case = LossCase { seed, entry, settings: vec![], real, inputs: vec![], head: rng.u8(..4) == 0 };
    let mut draw = Draw { rng, case, elements };
    match entry.name {
        "SoftmaxCrossEntropyLoss" => draw.softmax(),
        "CTCLoss" => draw.ctc(),
        "SDMLLoss" => draw.sdml(),
        "CosineEmbeddingLoss" => draw.cosine(),
        name => draw.elementwise(name),
    }
    draw.case
}

/// A plain use of a loss: three rows, or for sequences three steps, of so many elements.
pub fn with_length(entry: &'static Entry, real: Dtype, length: usize) -> LossCase {
    with_rows(entry, real, 3, length)
}

/// The same with so many rows; a batch of sequences has two.
pub fn with_rows(entry: &'static Entry, real: Dtype, rows: usize, length: usize) -> LossCase {
    let rng = fastrand::Rng::with_seed(length as u64);
    let case = LossCase { seed: 15 * length as u64 + 1, entry, settings: vec![], real, inputs: vec![], head: false };
    let mut draw = Draw { rng, case, elements: 0 };
    let shape = [rows, length];
    for &name in entry.inputs.iter().filter(|name| !name.ends_with('?')) {
        match (entry.name, name) {
            ("CTCLoss", "pred") => draw.float(name, &[2, 3, length + 1], -2.0, 2.0),
            ("CTCLoss", _) => draw.class(name, &[2, 2], |rng| rng.i64(0..length as i64)),
            ("SoftmaxCrossEntropyLoss", "label") => draw.class(name, &[rows], |rng| rng.i64(0..length as i64)),
            ("CosineEmbeddingLoss", "label") => {
                draw.class(name, &[rows], |rng| [1, -1][rng.usize(..2)]);
                draw.one_width();
            }
            (_, "label" | "target") => draw.float(name, &shape, 0.0, 1.0),
            _ => draw.float(name, &shape, -2.0, 2.0),
        }
    }
    for given in &mut draw.case.inputs {
        given.strides = row_major(&given.shape);
    }
    draw.case
}

struct Draw {
    rng: fastrand::Rng,
    case: LossCase,
    elements: usize,
}

impl Draw {
    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    fn often(&mut self, of: u8) -> bool {
        self.rng.u8(..of) == 0
    }

    fn set(&mut self, key: &str, value: impl ToString) {
        self.case.settings.push((key.into(), value.to_string()));
    }

    fn shape(&mut self, least: usize) -> Vec<usize> {
        let rank = self.rng.usize(least..=5);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.choose(&[1, 1, 2, 2, 3, 4, 5, 7])).collect();
        let last = rank - 1;
        match self.rng.u8(..16) {
            0 => shape[self.rng.usize(..rank)] = 0,
            1..4 => shape[last] = self.choose(&[15, 16, 17, 31, 64, 127]),
            4..6 => shape[last] = self.choose(&[509, 511, 512, 513, 1024, 1031]),
            6 => shape[0] = self.choose(&[509, 1031, 2053]), // huge and thin
            7 => shape[self.rng.usize(..rank)] = self.choose(&[33, 128, 257]),
            8 => shape = vec![1; rank],
            // Room for several dimensions that are no corner.
            _ if self.elements > 4000 => {
                shape
                    .iter_mut()
                    .for_each(|size| *size = self.rng.choice([1, 2, 3, 16, 17, 20, 33]).expect("one of them"));
            }
            _ => {}
        }
        while shape.iter().product::<usize>() > self.elements {
            let largest = (0..rank).max_by_key(|&i| (shape[i] < 500, shape[i])).expect("a dimension");
            shape[largest] = if shape[largest] > 1 { shape[largest] / 2 } else { 1 };
            if shape.iter().all(|&n| n == 1 || n >= 500) {
                shape[0] = shape[0].min(self.elements);
                break;
            }
        }
        shape
    }

    /// The same number of elements, perhaps in another shape.
    fn reshaped(&mut self, shape: &[usize]) -> Vec<usize> {
        match self.rng.u8(..8) {
            0 => vec![shape.iter().product()],
            1 => shape.iter().copied().chain([1]).collect(),
            2 => shape.iter().copied().filter(|&n| n != 1).collect(),
            _ => shape.to_vec(),
        }
    }

    /// What broadcasts to a shape without enlarging it.
    fn narrowed(&mut self, shape: &[usize]) -> Vec<usize> {
        let mut narrow: Vec<usize> = shape.iter().map(|&n| if self.rng.bool() { 1 } else { n }).collect();
        while !narrow.is_empty() && narrow[0] == 1 && self.rng.bool() {
            narrow.remove(0);
        }
        narrow
    }

    /// Multiples of 1/64 from `low` to `high`.
    fn grid(&mut self, low: f64, high: f64) -> f64 {
        let coarse = self.often(8); // ties
        let step = if coarse { 0.5 } else { 1.0 / 64.0 };
        ((low + self.rng.f64() * (high - low)) / step).ceil() * step
    }

    fn float(&mut self, name: &'static str, shape: &[usize], low: f64, high: f64) {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|_| self.grid(low, high).min(high)).collect();
        self.add(name, self.case.real, shape, values);
    }

    fn add(&mut self, name: &'static str, dtype: Dtype, shape: &[usize], values: Vec<f64>) {
        let strides = strides(&mut self.rng, shape);
        self.case.inputs.push(Given { name, dtype, shape: shape.to_vec(), strides, values });
    }

    fn class(&mut self, name: &'static str, shape: &[usize], mut value: impl FnMut(&mut fastrand::Rng) -> i64) {
        let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|_| value(&mut self.rng) as f64).collect();
        let low = values.iter().fold(0.0f64, |a, &b| a.min(b));
        let high = values.iter().fold(0.0f64, |a, &b| a.max(b));
        let dtype = match Dtype::ALL[self.rng.usize(..6)] {
            Dtype::U8 if low < 0.0 || high > 255.0 => Dtype::I32,
            Dtype::U32 if low < 0.0 => Dtype::I64,
            dtype => dtype,
        };
        self.add(name, dtype, shape, values);
    }

    /// Labels that are compared with numbers have the width of the other floats.
    fn one_width(&mut self) {
        let label = self.case.inputs.last_mut().expect("a label");
        if label.dtype.is_float() {
            label.dtype = self.case.real;
        }
    }

    fn weights(&mut self, shapes: &[&[usize]]) {
        if self.rng.bool() {
            let weight = self.choose(&["none", "0.5", "2", "-0.75", "0.3"]);
            self.set("weight", weight);
        }
        if self.rng.u8(..3) == 0 {
            let reduction = self.choose(&["none", "sum", "mean", "mean_by_weight"]);
            self.set("reduction", reduction);
        }
        if self.rng.u8(..3) == 0 {
            let shape = self.choose(shapes).to_vec();
            let narrow = if self.rng.bool() { shape } else { self.narrowed(&shape) };
            self.float("sample_weight", &narrow, 0.25, 2.0);
        }
    }

    fn axis(&mut self, key: &str, rank: usize) -> usize {
        let place = self.rng.usize(..rank);
        let from_the_back = self.rng.bool();
        self.set(key, if from_the_back { place as i64 - rank as i64 } else { place as i64 });
        place
    }

    fn elementwise(&mut self, name: &str) {
        let shape = self.shape(1);
        let batch = if self.rng.bool() { self.axis("batch_axis", shape.len()) } else { 0 };
        let other = if name == "KLDivLoss" { shape.clone() } else { self.reshaped(&shape) };
        match name {
            "TripletLoss" => {
                let (one, two) = (self.reshaped(&shape), self.reshaped(&shape));
                self.float("pred", &shape, -1.0, 1.0);
                self.float("positive", &one, -1.0, 1.0);
                self.float("negative", &two, -1.0, 1.0);
                let margin = self.choose(&[0.0, 0.25]);
                self.set("margin", margin);
                return self.weights(&[&[shape[batch]]]);
            }
            "PoissonNLLLoss" => {
                let logits = self.rng.bool();
                self.set("from_logits", logits);
                let full = self.rng.bool();
                self.set("compute_full", full);
                self.float("pred", &shape, if logits { -3.0 } else { 0.125 }, 3.0);
                self.float("target", &other, 0.0, 6.0);
            }
            "KLDivLoss" => {
                let logits = self.rng.bool();
                self.set("from_logits", logits);
                self.axis("axis", shape.len());
                self.float("pred", &shape, -4.0, if logits { 0.0 } else { 4.0 });
                self.float("label", &other, 0.0, 1.0);
            }
            "SigmoidBinaryCrossEntropyLoss" => {
                let done = self.rng.u8(..3) == 0;
                self.set("from_sigmoid", done);
                let (low, high) = if done { (1.0 / 64.0, 63.0 / 64.0) } else { (-5.0, 5.0) };
                self.float("pred", &shape, low, high);
                self.float("label", &other, 0.0, 1.0);
                if self.rng.u8(..3) == 0 {
                    self.set("label_smoothing", 0.125);
                }
                if self.rng.u8(..3) == 0 {
                    let narrow = self.narrowed(&shape);
                    self.float("pos_weight", &narrow, 0.25, 3.0);
                }
            }
            _ => {
                self.float("pred", &shape, -3.0, 3.0);
                self.float("label", &other, -2.0, 2.0);
                match name {
                    "HuberLoss" => self.set("rho", 0.75),
                    "HingeLoss" | "SquaredHingeLoss" => self.set("margin", 0.5),
                    "LogisticLoss" if self.case.seed.is_multiple_of(2) => self.set("label_format", "binary"),
                    _ => {}
                }
            }
        }
        self.weights(&[&shape]);
    }

    fn softmax(&mut self) {
        let mut shape = self.shape(1);
        let c = if self.rng.bool() { self.axis("axis", shape.len()) } else { shape.len() - 1 };
        if self.rng.bool() {
            self.axis("batch_axis", shape.len());
        }
        shape[c] = shape[c].max(1); // of no classes none is one
        let classes = shape[c];
        let logits = self.rng.u8(..4) == 0;
        self.set("from_logits", logits);
        self.float("pred", &shape, -4.0, if logits { 0.0 } else { 4.0 });
        let kept: Vec<usize> = shape.iter().enumerate().map(|(i, &n)| if i == c { 1 } else { n }).collect();
        let without: Vec<usize> = shape.iter().enumerate().filter(|(i, _)| *i != c).map(|(_, &n)| n).collect();
        if self.rng.u8(..3) == 0 {
            self.set("sparse_label", false);
            let other = self.reshaped(&shape);
            self.float("label", &other, 0.0, 1.0);
            self.weights(&[&kept]);
        } else {
            let label = if self.rng.bool() { kept.clone() } else { without.clone() };
            if self.rng.u8(..4) == 0 {
                self.set("ignore_label", -1);
            }
            let ignored = self.case.settings.iter().any(|(key, _)| key == "ignore_label");
            let low = if ignored { -1 } else { 0 };
            self.class("label", &label, |rng| rng.i64(low..(classes as i64).max(low + 1)));
            let labels_shape = if label.len() < shape.len() { without } else { kept.clone() };
            self.weights(&[&kept, &labels_shape]);
        }
        if self.rng.u8(..4) == 0 {
            self.float("class_weight", &[classes], 0.25, 2.0);
        }
        if self.rng.u8(..4) == 0 {
            self.set("label_smoothing", 0.125);
        }
        if !logits && self.rng.u8(..4) == 0 {
            self.set("z_loss", 0.0625);
        }
    }

    fn ctc(&mut self) {
        let n = self.choose(&[0, 1, 1, 2, 3, 5]);
        let (steps, classes) = (self.choose(&[1, 2, 5, 9, 17, 40]), self.choose(&[2, 3, 5, 17, 33]));
        let labels = self.choose(&[0, 1, 2, 3, 5, 8]).min(steps);
        let (tnc, tn) = (self.rng.bool(), self.rng.bool());
        self.set("layout", if tnc { "TNC" } else { "NTC" });
        self.set("label_layout", if tn { "TN" } else { "NT" });
        let pred = if tnc { [steps, n, classes] } else { [n, steps, classes] };
        self.float("pred", &pred, -4.0, 4.0);
        let label = if tn { [labels, n] } else { [n, labels] };
        let first = self.rng.bool();
        self.set("blank", if first { "first" } else { "last" });
        let from = i64::from(first);
        // A label that ends early now and then: what stands behind −1 does not count.
        let padded = self.rng.bool();
        self.class("label", &label, |rng| {
            if padded && rng.u8(..4) == 0 { -1 } else { rng.i64(from..from + classes as i64 - 1) }
        });
        if !padded && self.rng.bool() {
            self.class("label_lengths", &[n], |rng| rng.i64(0..=labels as i64));
        }
        if self.rng.bool() {
            self.class("pred_lengths", &[n], |rng| rng.i64(0..=steps as i64));
        }
        if self.rng.u8(..3) == 0 {
            self.set("zero_infinity", true);
        }
        self.weights(&[&[n], &[n, 1]]);
    }

    fn sdml(&mut self) {
        let (n, d) = (self.choose(&[0, 1, 2, 3, 7, 17, 40]), self.choose(&[0, 1, 2, 3, 8, 16]));
        self.float("x1", &[n, d], -0.75, 0.75);
        self.float("x2", &[n, d], -0.75, 0.75);
        if self.rng.bool() {
            self.set("smoothing_parameter", 0.25);
        }
        self.weights(&[&[n]]);
    }

    fn cosine(&mut self) {
        let shape = self.shape(1);
        let rows: usize = shape[..shape.len() - 1].iter().product();
        self.float("input1", &shape, -2.0, 2.0);
        self.float("input2", &shape, -2.0, 2.0);
        let label = if self.rng.bool() { vec![rows] } else { vec![rows, 1] };
        self.class("label", &label, |rng| [-1, 1, 1, 0][rng.usize(..4)]);
        self.one_width();
        if self.rng.bool() {
            self.set("margin", 0.125);
        }
        self.weights(&[&[rows], &[rows, 1]]);
    }
}

/// The bits of all results of a case, compiled, on one thread; a NaN is a NaN. The inputs are row-major.
pub fn compiled_bits(case: &LossCase) -> Result<Vec<u64>, String> {
    let told = |e: lossjit::Error| e.to_string();
    let loss = (case.entry.build)(&case.settings).map_err(told)?;
    let memory: Vec<Guarded> = case.inputs.iter().map(Given::place_row_major).collect();
    let inputs: Vec<(&str, View)> = case.inputs.iter().zip(&memory).map(|(g, m)| (g.name, m.view())).collect();
    let trace = pipeline::trace(&*loss, &case.specs()).map_err(told)?;
    let wanted = Wanted::value_and_grad(&differentiable(&trace.graph).map_err(told)?);
    let compiled = HybridBlock::new(loss).hybridize().compile(&inputs, &wanted).map_err(told)?;
    let buffers = &compiled.signature().outputs;
    let mut outputs: Vec<Guarded> =
        buffers.iter().map(|b| Guarded::new(b.dtype, &b.shape, &b.strides, Flush::End)).collect();
    let mut views: Vec<ViewMut> = outputs.iter_mut().map(Guarded::view_mut).collect();
    compiled.run_on(1, &inputs, &mut views).map_err(told)?;
    drop(views);
    Ok(outputs.iter().flat_map(Guarded::values).map(|x| if x.is_nan() { 1 } else { x.to_bits() }).collect())
}
