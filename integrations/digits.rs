//! Handwritten digits for the examples of all integrations: the data, the first weights, the order of batches, a progress bar,
//! and the comparison of two runs.

use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;
use safetensors::SafeTensors;
use std::error::Error;
use std::path::Path;

pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;
pub const HIDDEN: usize = 64;
pub const BATCH: usize = 32;
pub const EPOCHS: usize = 30;
pub const RATE: f64 = 0.2;

/// The pictures that are held out: the last.
const TEST: usize = 450;

/// Pictures of 8 × 8 pixels between 0 and 1, with what they show.
pub struct Digits {
    pub pixels: Vec<f32>,
    pub labels: Vec<i64>,
}

impl Digits {
    /// Those to train with, and those held out.
    pub fn load() -> Result<[Self; 2], Box<dyn Error>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/digits.safetensors");
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let pixels: Vec<f32> = file.tensor("images")?.data().iter().map(|&p| f32::from(p) / 16.0).collect();
        let whole = |bytes: &[u8]| i64::from(i32::from_le_bytes(bytes.try_into().expect("four bytes")));
        let labels: Vec<i64> = file.tensor("labels")?.data().chunks_exact(4).map(whole).collect();
        let train = labels.len() - TEST;
        let part = |pixels: &[f32], labels: &[i64]| Self { pixels: pixels.to_vec(), labels: labels.to_vec() };
        let (train_pixels, test_pixels) = pixels.split_at(train * PIXELS);
        Ok([part(train_pixels, &labels[..train]), part(test_pixels, &labels[train..])])
    }

    /// Some of the pictures.
    pub fn pick(&self, which: &[usize]) -> Self {
        let pixels = which.iter().flat_map(|&i| &self.pixels[i * PIXELS..][..PIXELS]).copied().collect();
        Self { pixels, labels: which.iter().map(|&i| self.labels[i]).collect() }
    }

    /// The batches of an epoch: every picture once, in an order that depends on the epoch alone.
    pub fn batches(&self, epoch: usize) -> Vec<Self> {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        fastrand::Rng::with_seed(epoch as u64).shuffle(&mut order);
        order.chunks(BATCH).map(|which| self.pick(which)).collect()
    }

    /// How many of these rows of scores, one for each picture, are highest at the right digit.
    pub fn accuracy(&self, scores: &[f32]) -> f64 {
        let best = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let right = scores.chunks(CLASSES).zip(&self.labels).filter(|(row, label)| best(row) == Some(**label as usize));
        right.count() as f64 / self.labels.len() as f64
    }
}

/// The weights to start from, of a layer with so many inputs and outputs: the same for every run.
pub fn weights(inputs: usize, outputs: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed((inputs * outputs) as u64);
    let bound = 1.0 / (inputs as f32).sqrt();
    (0..inputs * outputs).map(|_| bound * (2.0 * random.f32() - 1.0)).collect()
}

/// A training run.
pub struct Run {
    pub name: &'static str,
    /// The mean loss of each batch.
    pub losses: Vec<f32>,
    /// Of the pictures held out.
    pub accuracy: f64,
}

/// A bar of all batches.
pub fn progress(name: &'static str, train: &Digits) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:8} {bar:40} {pos:>5}/{len} batches  {elapsed}");
    let bar = ProgressBar::new((EPOCHS * train.labels.len().div_ceil(BATCH)) as u64).with_message(name);
    bar.with_style(style.expect("the template is right"))
}

/// Says how two runs from the same start compare, and draws their curves where a file is asked for by `--svg FILE`.
pub fn report(ours: &Run, theirs: &Run) -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {}
        [option, path] if option == "--svg" => draw(Path::new(path), [ours, theirs])?,
        other => return Err(format!("unknown arguments {other:?}; there is --svg FILE").into()),
    }
    for run in [theirs, ours] {
        let last = run.losses.last().expect("a run has batches");
        println!("{:8} last batch's loss {last:.6}, test accuracy {:.2} %", run.name, 100.0 * run.accuracy);
    }
    let apart = ours.losses.iter().zip(&theirs.losses).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    println!(
        "the same curve within {apart:.1e} over {} batches; test accuracy with {}: {:.2} %",
        ours.losses.len(),
        ours.name,
        100.0 * ours.accuracy
    );
    Ok(())
}

/// The mean loss of each epoch.
fn draw(path: &Path, runs: [&Run; 2]) -> Result<(), Box<dyn Error>> {
    let curves = runs.map(|run| {
        let epoch = run.losses.len() / EPOCHS;
        run.losses.chunks(epoch).map(|batch| batch.iter().sum::<f32>() / batch.len() as f32).collect::<Vec<_>>()
    });
    let top = curves.iter().flatten().copied().fold(0f32, f32::max);
    let area = SVGBackend::new(path, (960, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(24)
        .caption("digits, cross-entropy", ("sans-serif", 24))
        .x_label_area_size(56)
        .y_label_area_size(72)
        .build_cartesian_2d(1..EPOCHS, 0f32..top * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 18))
        .x_desc("epoch")
        .y_desc("mean loss")
        .draw()?;
    // The second curve is wider and lies below the first, so that both show where they are the same.
    let styles = [BLACK.stroke_width(2), RGBColor(240, 160, 60).stroke_width(6)];
    for (run, (curve, style)) in runs.iter().zip(curves.iter().zip(styles)).rev() {
        let points = curve.iter().enumerate().map(|(epoch, &loss)| (epoch + 1, loss));
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(run.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(0)
        .label_font(("sans-serif", 18))
        .background_style(WHITE)
        .border_style(TRANSPARENT)
        .draw()?;
    area.present()?;
    println!("{}: the curves of both runs", path.display());
    Ok(())
}
