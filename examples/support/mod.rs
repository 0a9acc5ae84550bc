//! What the training examples share: digits, dense layers with momentum or Adam, a progress bar, a picture of the loss curve.
#![allow(dead_code)] // each example uses a part

use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array, Array1, Array2, Axis, Dimension, Zip};
use plotters::prelude::*;
use safetensors::SafeTensors;
use std::error::Error;
use std::path::{Path, PathBuf};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

fn data(name: &str) -> Outcome<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// Pictures of 8 × 8 pixels between 0 and 1, a row each, with the digit that each shows.
pub struct Digits {
    pub pixels: Array2<f32>,
    pub labels: Array1<i32>,
}

impl Digits {
    /// Those to train with, and the last 450, which are held out.
    pub fn load() -> Outcome<[Self; 2]> {
        let bytes = data("digits.safetensors")?;
        let file = SafeTensors::deserialize(&bytes)?;
        let pixels: Vec<f32> = file.tensor("images")?.data().iter().map(|&p| f32::from(p) / 16.0).collect();
        let whole = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let labels: Array1<i32> = file.tensor("labels")?.data().chunks_exact(4).map(whole).collect();
        let pixels = Array2::from_shape_vec((labels.len(), 64), pixels)?;
        let all: Vec<usize> = (0..labels.len()).collect();
        let (train, test) = all.split_at(labels.len() - 450);
        let digits = Self { pixels, labels };
        Ok([digits.pick(train), digits.pick(test)])
    }

    /// Some of the pictures.
    pub fn pick(&self, which: &[usize]) -> Self {
        Self { pixels: self.pixels.select(Axis(0), which), labels: which.iter().map(|&i| self.labels[i]).collect() }
    }
}

/// Sentences and a paraphrase of each, as unit vectors.
pub fn paraphrases() -> Outcome<[Array2<f32>; 2]> {
    let bytes = data("paraphrase_embeddings.safetensors")?;
    let file = SafeTensors::deserialize(&bytes)?;
    let read = |key: &str| -> Outcome<Array2<f32>> {
        let tensor = file.tensor(key)?;
        let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let values = tensor.data().chunks_exact(4).map(float).collect();
        Ok(Array2::from_shape_vec((tensor.shape()[0], tensor.shape()[1]), values)?)
    };
    Ok([read("x1")?, read("x2")?])
}

/// `x · weights + bias`, trained by stochastic gradient descent with momentum.
pub struct Layer {
    pub weights: Array2<f32>,
    pub bias: Array1<f32>,
    speed: (Array2<f32>, Array1<f32>),
}

impl Layer {
    pub fn new(inputs: usize, outputs: usize, random: &mut fastrand::Rng) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let weights = Array2::from_shape_simple_fn((inputs, outputs), || bound * (2.0 * random.f32() - 1.0));
        let bias = Array1::zeros(outputs);
        let speed = (Array2::zeros(weights.dim()), Array1::zeros(outputs));
        Self { weights, bias, speed }
    }

    pub fn forward(&self, x: &Array2<f32>) -> Array2<f32> {
        x.dot(&self.weights) + &self.bias
    }

    /// Takes a step against the gradient, and returns the gradient by `x`.
    pub fn step(&mut self, x: &Array2<f32>, grad: &Array2<f32>, rate: f32) -> Array2<f32> {
        const MOMENTUM: f32 = 0.9;
        let below = grad.dot(&self.weights.t());
        self.speed.0 = &self.speed.0 * MOMENTUM + x.t().dot(grad);
        self.speed.1 = &self.speed.1 * MOMENTUM + grad.sum_axis(Axis(0));
        self.weights.scaled_add(-rate, &self.speed.0);
        self.bias.scaled_add(-rate, &self.speed.1);
        below
    }
}

/// A dense layer trained by Adam. Source: D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
/// algorithm 1.
pub struct Adam {
    pub layer: Layer,
    /// The moments of the gradients of weights and bias: the mean, and the mean of the squares.
    weights: [Array2<f32>; 2],
    bias: [Array1<f32>; 2],
    steps: i32,
}

impl Adam {
    pub fn new(inputs: usize, outputs: usize, random: &mut fastrand::Rng) -> Self {
        let layer = Layer::new(inputs, outputs, random);
        let weights = [(); 2].map(|()| Array2::zeros(layer.weights.dim()));
        let bias = [(); 2].map(|()| Array1::zeros(outputs));
        Self { layer, weights, bias, steps: 0 }
    }

    /// Takes a step against the gradient, and returns the gradient by `x`.
    pub fn step(&mut self, x: &Array2<f32>, grad: &Array2<f32>, rate: f32) -> Array2<f32> {
        let below = grad.dot(&self.layer.weights.t());
        self.steps += 1;
        adam(&mut self.layer.weights, &mut self.weights, &x.t().dot(grad), rate, self.steps);
        adam(&mut self.layer.bias, &mut self.bias, &grad.sum_axis(Axis(0)), rate, self.steps);
        below
    }
}

fn adam<D: Dimension>(
    parameter: &mut Array<f32, D>,
    [mean, square]: &mut [Array<f32, D>; 2],
    grad: &Array<f32, D>,
    rate: f32,
    step: i32,
) {
    const DECAY: [f32; 2] = [0.9, 0.999];
    // The moments start at zero; their first values are too small by these.
    let unbias = DECAY.map(|decay| 1.0 / (1.0 - decay.powi(step)));
    Zip::from(parameter).and(mean).and(square).and(grad).for_each(|parameter, mean, square, &grad| {
        *mean = DECAY[0] * *mean + (1.0 - DECAY[0]) * grad;
        *square = DECAY[1] * *square + (1.0 - DECAY[1]) * grad * grad;
        *parameter -= rate * *mean * unbias[0] / ((*square * unbias[1]).sqrt() + 1e-8);
    });
}

/// Where the largest of each row is.
pub fn best(scores: &Array2<f32>) -> Vec<usize> {
    let best = |row: ndarray::ArrayView1<f32>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    scores.rows().into_iter().map(best).collect()
}

/// A training run that is watched: a bar while it goes on, and the curve of its loss.
pub struct Watch {
    bar: ProgressBar,
    title: &'static str,
    losses: Vec<f32>,
    svg: Option<PathBuf>,
}

impl Watch {
    /// # Errors
    /// The command line has something else than `--svg FILE`.
    pub fn new(title: &'static str, steps: usize) -> Outcome<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let svg = match &arguments[..] {
            [] => None,
            [option, path] if option == "--svg" => Some(path.into()),
            other => return Err(format!("unknown arguments {other:?}; there is --svg FILE").into()),
        };
        let style = ProgressStyle::with_template("{msg} {bar:40} {pos:>5}/{len}  {elapsed}")?;
        let bar = ProgressBar::new(steps as u64).with_message(title).with_style(style);
        Ok(Self { bar, title, losses: vec![], svg })
    }

    /// After each step.
    pub fn step(&mut self, loss: f32) {
        self.losses.push(loss);
        self.bar.inc(1);
    }

    /// Ends the bar, and draws the curve where it is asked for.
    pub fn finish(self) -> Outcome<()> {
        self.bar.finish();
        let Some(path) = self.svg else { return Ok(()) };
        // A hundred points, each the mean of its steps.
        let part = self.losses.len().div_ceil(100).max(1);
        let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
        let curve: Vec<f32> = self.losses.chunks(part).map(mean).collect();
        let top = curve.iter().copied().fold(0f32, f32::max) * 1.05;
        let area = SVGBackend::new(&path, (960, 600)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(24)
            .caption(self.title, ("sans-serif", 24))
            .x_label_area_size(56)
            .y_label_area_size(72)
            .build_cartesian_2d(0..self.losses.len(), 0f32..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 18))
            .x_desc("step")
            .y_desc("loss")
            .draw()?;
        let points = curve.iter().enumerate().map(|(i, &loss)| (i * part + part / 2, loss));
        chart.draw_series(LineSeries::new(points, RGBColor(20, 90, 160).stroke_width(2)))?;
        area.present()?;
        println!("{}: the loss curve", path.display());
        Ok(())
    }
}
