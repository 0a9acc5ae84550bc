//! How do I learn to read when nobody says where the letters are? Digits side by side, some apart and some overlapping; CTC
//! is told which digits, not in which columns.
//!
//! `cargo run --release --example train_ctc -- --svg curve.svg`. The last line says how many sequences of pictures that were
//! held out are read without a mistake.

mod support;

use lossjit::losses::{CTCLoss, Reduction};
use lossjit::{HybridBlock, inputs};
use ndarray::{Array1, Array2, s};
use std::ops::RangeInclusive;
use support::{Adam, Digits, Outcome, Watch, best};

const STEPS: usize = 5000;
const BATCH: usize = 32;
const RATE: f32 = 3e-3;
const HIDDEN: usize = 256;
const LENGTHS: RangeInclusive<usize> = 3..=5;
/// A picture's rows and columns.
const SIDE: usize = 8;
/// The columns between two pictures; where they are negative, the pictures overlap.
const GAPS: RangeInclusive<isize> = -1..=3;
/// Columns to the left and to the right that a step sees.
const REACH: usize = 6;
const WINDOW: usize = (2 * REACH + 1) * SIDE;
/// Five pictures and six gaps.
const COLUMNS: usize = 5 * SIDE + 6 * 3;
/// The class that stands for no digit; the ten before it are the digits.
const BLANK: usize = 10;

/// How a picture is put on a strip.
type Form = fn(&Digits, usize, &mut fastrand::Rng) -> Array2<f32>;

/// Strips of pictures, each column a time step.
struct Strips {
    /// A row for each step of each strip: the columns around it. All strips have [`COLUMNS`] steps; those behind the end are empty.
    windows: Array2<f32>,
    /// The digits, padded by −1.
    labels: Array2<i32>,
    lengths: Array1<i32>,
}

impl Strips {
    /// Draws strips from these pictures, each as it is, or each in a new form.
    fn draw(digits: &Digits, count: usize, form: Form, random: &mut fastrand::Rng) -> Self {
        let mut windows = Array2::zeros((count * COLUMNS, WINDOW));
        let mut labels = Array2::from_elem((count, *LENGTHS.end()), -1);
        let mut lengths = Array1::zeros(count);
        for strip in 0..count {
            // Column by column, with empty ones for the windows of the first and the last step.
            let mut ink = Array2::<f32>::zeros((COLUMNS + 2 * REACH, SIDE));
            let mut start = REACH as isize;
            for place in 0..random.usize(LENGTHS) {
                let which = random.usize(..digits.labels.len());
                labels[[strip, place]] = digits.labels[which];
                start += if place == 0 { random.isize(0..=*GAPS.end()) } else { random.isize(GAPS) };
                for ((row, column), value) in form(digits, which, random).indexed_iter() {
                    let cell = &mut ink[[start as usize + column, row]];
                    *cell = cell.max(*value);
                }
                start += SIDE as isize;
            }
            let end = start as usize - REACH + random.usize(0..=*GAPS.end() as usize);
            lengths[strip] = end as i32;
            for step in 0..end {
                let around = ink.slice(s![step..=step + 2 * REACH, ..]);
                windows.row_mut(strip * COLUMNS + step).iter_mut().zip(around).for_each(|(to, from)| *to = *from);
            }
        }
        Self { windows, labels, lengths }
    }
}

/// A picture under a random map of the plane: scaled, turned, slanted and moved by a little.
fn warped(digits: &Digits, which: usize, random: &mut fastrand::Rng) -> Array2<f32> {
    let picture = digits.pixels.row(which);
    let mut upto = |size: f32| size * (2.0 * random.f32() - 1.0);
    let map = [[1.0 + upto(0.12), upto(0.1)], [upto(0.25), 1.0 + upto(0.12)]];
    let shift = [upto(0.8), upto(0.5)];
    let inside = |place: isize| usize::try_from(place).ok().filter(|&place| place < SIDE);
    let pixel = |row, column| inside(row).zip(inside(column)).map_or(0.0, |(row, column)| picture[row * SIDE + column]);
    let mix = |a: f32, b: f32, part: f32| a + part * (b - a);
    let center = (SIDE - 1) as f32 / 2.0;
    Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
        let at = [row as f32 - center, column as f32 - center];
        let [y, x] = [0, 1].map(|i| map[i][0] * at[0] + map[i][1] * at[1] + shift[i] + center);
        let (top, left) = (y.floor() as isize, x.floor() as isize);
        let line = |row| mix(pixel(row, left), pixel(row, left + 1), x - x.floor());
        mix(line(top), line(top + 1), y - y.floor())
    })
}

/// A picture as it is.
fn as_it_is(digits: &Digits, which: usize, _: &mut fastrand::Rng) -> Array2<f32> {
    Array2::from_shape_fn((SIDE, SIDE), |(row, column)| digits.pixels[[which, row * SIDE + column]])
}

/// Two layers, from a step's window to scores of the digits and the blank.
struct Reader {
    first: Adam,
    second: Adam,
}

impl Reader {
    fn new(random: &mut fastrand::Rng) -> Self {
        Self { first: Adam::new(WINDOW, HIDDEN, random), second: Adam::new(HIDDEN, BLANK + 1, random) }
    }

    fn hidden(&self, strips: &Strips) -> Array2<f32> {
        self.first.layer.forward(&strips.windows).mapv_into(|x| x.max(0.0))
    }

    /// How many strips are read as they are labelled: the best class of each step, without repeats, without blanks.
    fn accuracy(&self, strips: &Strips) -> f64 {
        let classes = best(&self.second.layer.forward(&self.hidden(strips)));
        let read = |strip: usize| {
            let mut path = classes[strip * COLUMNS..][..strips.lengths[strip] as usize].to_vec();
            path.dedup();
            path.retain(|&class| class != BLANK);
            path
        };
        let wanted = |strip: usize| strips.labels.row(strip).into_iter().map_while(|&d| usize::try_from(d).ok());
        let count = strips.lengths.len();
        let right = (0..count).filter(|&strip| wanted(strip).eq(read(strip))).count();
        100.0 * right as f64 / count as f64
    }
}

fn main() -> Outcome<()> {
    let [train, test] = Digits::load()?;
    let mut random = fastrand::Rng::with_seed(5);
    let held_out = Strips::draw(&test, 1000, as_it_is, &mut random);
    let mut reader = Reader::new(&mut random);
    let loss = HybridBlock::new(CTCLoss::new().reduction(Reduction::Mean)).hybridize();

    let mut watch = Watch::new("digit sequences, CTC", STEPS)?;
    for step in 0..STEPS {
        let strips = Strips::draw(&train, BATCH, warped, &mut random);
        let hidden = reader.hidden(&strips);
        let pred = reader.second.layer.forward(&hidden).into_shape_with_order((BATCH, COLUMNS, BLANK + 1))?;
        let given = inputs! { pred: &pred, label: &strips.labels, pred_lengths: &strips.lengths };
        let result = loss.value_and_grad::<f32>(&given, &["pred"])?;
        let grad = result.grad("pred").expect("it was asked for").view();
        let grad = grad.into_shape_with_order((BATCH * COLUMNS, BLANK + 1))?.to_owned();
        // The last steps are small ones.
        let rate = RATE * (1.0 - step as f32 / STEPS as f32);
        let mut by_hidden = reader.second.step(&hidden, &grad, rate);
        by_hidden.zip_mut_with(&hidden, |slope, &h| *slope = if h > 0.0 { *slope } else { 0.0 });
        reader.first.step(&strips.windows, &by_hidden, rate);
        watch.step(result.value[[0]]);
    }
    watch.finish()?;

    let accuracy = reader.accuracy(&held_out);
    println!("{accuracy:.1} % of {} sequences of held-out digits are read without a mistake", held_out.lengths.len());
    if accuracy < 90.0 { Err("it should be 90 % at least".into()) } else { Ok(()) }
}
