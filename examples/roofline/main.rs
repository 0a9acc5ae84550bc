//! Draws where each loss stands below the limits of this machine: memory, cache, and arithmetic in vectors.
//!
//! `cargo run --release --example roofline` measures the machine, times every loss at its large shape on one thread,
//! and writes `docs/roofline.svg` (or the file named as its argument).

#[path = "../../benches/cases/mod.rs"]
mod cases;
mod machine;

use cases::{Case, Outputs};
use lossjit::Dtype;
use lossjit::inspect::{Cost, Machine, Report};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::time::{Duration, Instant};

const SIZE: (u32, u32) = (1180, 560);
const LEGEND: u32 = 250;
/// Operations for each byte, and operations in a second.
const INTENSITIES: std::ops::Range<f64> = 0.1..1000.0;
const RATES: std::ops::Range<f64> = 1e9..5e11;
const SANS: &str = "sans-serif";

/// A loss that was timed.
struct Point {
    name: &'static str,
    shape: Vec<usize>,
    /// One for each call: forward, and value and gradients.
    calls: Vec<Call>,
}

struct Call {
    seconds: f64,
    /// Flops; an elementary function counts as the flops that take as long.
    operations: f64,
    /// Each input read once, each result written once.
    bytes: f64,
    /// The share of the time that memory, or arithmetic in vectors, would take alone, whichever is longer.
    share: f64,
}

/// What one core can do, in bytes and flops in a second.
struct Limits {
    memory: f64,
    /// Reading what lies in the second-level cache.
    cache: f64,
    /// In the widest vectors.
    arithmetic: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "docs/roofline.svg".into());
    let cached = Machine::measure(&Cost { bytes_read: 512 << 10, ..Cost::default() }, Dtype::F32, 1)?;
    let limits =
        Limits { memory: machine::memory(), cache: cached.bytes_per_second, arithmetic: machine::arithmetic() };
    let Limits { memory, cache, arithmetic } = &limits;
    println!(
        "memory {:.1} GB/s, cache {:.1} GB/s, arithmetic {:.1} Gflop/s",
        memory / 1e9,
        cache / 1e9,
        arithmetic / 1e9
    );
    let mut points = vec![];
    for case in cases::cases().skip(2).step_by(3) {
        let point = point(&case, limits.memory)?;
        for (call, what) in point.calls.iter().zip(["forward", "value_and_grad"]) {
            let (time, rate) = (call.seconds * 1e6, call.bytes / call.seconds / 1e9);
            let (name, share) = (case.name(), call.share * 100.0);
            println!("{name:38} {what:14} {time:9.0} µs {rate:6.1} GB/s {share:4.0} % of the limit");
        }
        points.push(point);
    }
    draw(&file, &limits, &points)?;
    println!("{file}");
    Ok(())
}

/// Times a case on one thread.
fn point(case: &Case, memory: f64) -> Result<Point, Box<dyn Error>> {
    let inputs = case.inputs();
    let views = inputs.views();
    let mut calls = vec![];
    for (_, wanted) in case.wanted() {
        let compiled = case.block().compile(&views, &wanted)?;
        let mut outputs = Outputs::of(&compiled);
        let mut results = outputs.views();
        let mut times = vec![];
        let start = Instant::now();
        while times.len() < 3 || start.elapsed() < Duration::from_millis(400) {
            let start = Instant::now();
            compiled.run_on(1, &views, &mut results)?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[times.len() / 2];
        let cost = Report::of(&compiled)?.cost;
        let machine = Machine::measure(&cost, Dtype::F32, 1)?;
        let arithmetic = machine.flops_s + machine.math_s;
        let bytes = (cost.bytes_read + cost.bytes_written) as f64;
        calls.push(Call {
            seconds,
            operations: arithmetic * machine.flops_per_second,
            bytes,
            share: (bytes / memory).max(arithmetic) / seconds,
        });
    }
    Ok(Point { name: case.entry.name.trim_end_matches("Loss"), shape: case.shape.clone(), calls })
}

const COLORS: [RGBColor; 14] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 130, 44),
    RGBColor(148, 103, 189),
    RGBColor(200, 100, 20),
    RGBColor(60, 60, 60),
    RGBColor(0, 128, 128),
    RGBColor(190, 60, 140),
    RGBColor(120, 120, 20),
    RGBColor(140, 86, 75),
    RGBColor(23, 100, 110),
    RGBColor(90, 70, 160),
    RGBColor(170, 120, 0),
    RGBColor(0, 90, 60),
];

/// A numbered dot at a point of the area's coordinates.
macro_rules! mark {
    ($at:expr, $place:expr) => {{
        let middle = Pos::new(HPos::Center, VPos::Center);
        let style = (SANS, 10).into_font().color(&WHITE).pos(middle);
        EmptyElement::at($at)
            + Circle::new((0, 0), 8, COLORS[$place % COLORS.len()].filled())
            + Circle::new((0, 0), 8, WHITE.stroke_width(1))
            + Text::new(($place + 1).to_string(), (0, 0), style)
    }};
}

fn draw(file: &str, limits: &Limits, points: &[Point]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (charts, legend) = root.split_horizontally(SIZE.0 - LEGEND);
    for (panel, (call, title)) in
        charts.split_evenly((1, 2)).iter().zip(["forward", "value and gradients, in one call"].into_iter().enumerate())
    {
        chart(panel, limits, points, call, title)?;
    }
    for (place, point) in points.iter().enumerate() {
        let y = 58 + 32 * place as i32;
        legend.draw(&mark!((16, y), place))?;
        let sizes: Vec<String> = point.shape.iter().map(usize::to_string).collect();
        legend.draw(&Text::new(point.name, (34, y - 13), (SANS, 14)))?;
        legend.draw(&Text::new(sizes.join(" × "), (34, y + 2), (SANS, 11).into_font().color(&GREY)))?;
    }
    root.present()?;
    Ok(())
}

const GREY: RGBColor = RGBColor(110, 110, 110);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const PALE_BLUE: RGBColor = RGBColor(130, 180, 215);
const RED: RGBColor = RGBColor(200, 80, 60);

fn chart<'b>(
    area: &DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    limits: &Limits,
    points: &[Point],
    call: usize,
    title: &str,
) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, (SANS, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(INTENSITIES.log_scale(), RATES.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(235, 235, 235))
        .axis_style(GREY)
        .label_style((SANS, 12).into_font().color(&GREY))
        .x_desc("operations for each byte that must move")
        .y_desc("operations in a second")
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{} G", y / 1e9))
        .draw()?;
    let peak = limits.arithmetic;
    for (bandwidth, name, color, side, shift) in
        [(limits.memory, "memory", BLUE, HPos::Left, 1.2), (limits.cache, "cache", PALE_BLUE, HPos::Right, 0.85)]
    {
        let line = [(INTENSITIES.start, INTENSITIES.start * bandwidth), (peak / bandwidth, peak)];
        chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
        let label = format!("{name}, {:.0} GB/s", bandwidth / 1e9);
        let style = (SANS, 12).into_font().color(&color).pos(Pos::new(side, VPos::Center));
        let height = 0.6 * peak;
        chart.draw_series([Text::new(label, (height / bandwidth * shift, height), style)])?;
    }
    let line = [(peak / limits.cache, peak), (INTENSITIES.end, peak)];
    chart.draw_series(LineSeries::new(line, RED.stroke_width(2)))?;
    let style = (SANS, 12).into_font().color(&RED).pos(Pos::new(HPos::Right, VPos::Bottom));
    let label = format!("arithmetic, {:.0} Gflop/s", peak / 1e9);
    chart.draw_series([Text::new(label, (INTENSITIES.end * 0.9, peak * 1.04), style)])?;
    for (place, point) in points.iter().enumerate() {
        let call = &point.calls[call];
        let at = (call.operations / call.bytes, call.operations / call.seconds);
        chart.draw_series([mark!(at, place)])?;
    }
    Ok(())
}
