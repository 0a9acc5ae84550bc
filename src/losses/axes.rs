//! What the losses share before their formulas: the axes of `pred`, inputs that take its shape, checks of parameters.

use crate::error::{Error, Result};
use crate::ir::Kind;
use crate::trace::{Axis, Expr, Tracer};

/// The axes of an input of any rank: `n` the batch's, `c` the class's where there is one, the others `i`, `j`, ….
pub(super) struct Axes {
    pub all: Vec<Axis>,
    pub batch: Axis,
}

impl Axes {
    /// The axes of input `name`, which becomes the reference for all others.
    ///
    /// # Errors
    /// The input is missing, has no dimension, or `batch_axis` is out of range.
    pub fn of(t: &Tracer, name: &str, batch_axis: i64) -> Result<Self> {
        Self::with_class(t, name, batch_axis, None).map(|(axes, _)| axes)
    }

    /// The same with one axis, counted as `axis`, for the classes.
    pub fn with_class(t: &Tracer, name: &str, batch_axis: i64, axis: Option<i64>) -> Result<(Self, Axis)> {
        let shape = t.shape(name)?;
        if shape.is_empty() {
            let expected = "1 or more".to_string();
            return Err(Error::Rank { input: name.to_string(), found: vec![], expected });
        }
        let batch = place("batch_axis", batch_axis, name, shape.len())?;
        let class = axis.map(|a| place("axis", a, name, shape.len())).transpose()?;
        let mut others = (b'i'..=b'm').map(|c| char::from(c).to_string()).cycle();
        let label = |i: usize| match i {
            _ if Some(i) == class => "c".to_string(),
            _ if i == batch => "n".to_string(),
            _ => others.next().expect("a cycle has no end"),
        };
        let all: Vec<Axis> = (0..shape.len()).map(label).map(|l| t.axis(&l)).collect::<Result<_>>()?;
        let (batch, class) = (all[batch], all[class.unwrap_or(batch)]);
        Ok((Self { all, batch }, class))
    }

    /// Every axis but these.
    pub fn without(&self, axes: &[Axis]) -> Vec<Axis> {
        self.all.iter().copied().filter(|a| !axes.contains(a)).collect()
    }

    /// The shape of the element loss: every axis.
    pub fn every(&self) -> Vec<Option<Axis>> {
        self.all.iter().copied().map(Some).collect()
    }

    /// The shape of the element loss where an axis is kept with one element.
    pub fn every_but(&self, axis: Axis) -> Vec<Option<Axis>> {
        self.all.iter().map(|&a| Some(a).filter(|&a| a != axis)).collect()
    }
}

/// A dimension counted from the front or, negative, from the back.
pub(super) fn place(parameter: &str, value: i64, input: &str, rank: usize) -> Result<usize> {
    let counted = if value < 0 { value.checked_add(rank as i64) } else { Some(value) };
    counted.and_then(|v| usize::try_from(v).ok()).filter(|&v| v < rank).ok_or_else(|| Error::AxisRange {
        parameter: parameter.to_string(),
        value,
        input: input.to_string(),
        rank,
    })
}

/// `pred` and a `label` that takes its shape.
pub(super) fn pred_and_label<'t>(t: &'t Tracer, batch_axis: i64) -> Result<(Axes, Expr<'t>, Expr<'t>)> {
    let axes = Axes::of(t, "pred", batch_axis)?;
    let pred = t.float("pred", &axes.all)?;
    let label = like_pred(t, "label", &axes)?;
    Ok((axes, pred, label))
}

/// An input that takes the shape of `pred`.
pub(super) fn like_pred<'t>(t: &'t Tracer, name: &str, axes: &Axes) -> Result<Expr<'t>> {
    t.reshaped(name, &axes.all, Kind::Float)
}

/// An input that broadcasts to one of the shapes.
pub(super) fn one_way<'t>(t: &'t Tracer, name: &str, shapes: &[Vec<Option<Axis>>]) -> Result<Expr<'t>> {
    for shape in shapes {
        if let Some(found) = t.broadcast(name, shape)? {
            return Ok(found);
        }
    }
    let extents = |shape: &Vec<Option<Axis>>| shape.iter().map(|a| a.map_or(1, |a| t.extent(a))).collect::<Vec<_>>();
    let wanted: Vec<String> = shapes.iter().map(|s| format!("{:?}", extents(s))).collect();
    let problem = format!("does not broadcast to the loss's shape {} without enlarging it", wanted.join(" or "));
    Err(Error::Shape { input: name.to_string(), found: t.shape(name)?.to_vec(), problem })
}

/// Whether a parameter that scales something is usable.
///
/// # Errors
/// It is infinite or NaN.
pub(super) fn finite(loss: &str, parameter: &str, value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(unusable(loss, parameter, value, "must be finite")) }
}

pub(super) fn unusable(loss: &str, parameter: &str, value: impl ToString, problem: &str) -> Error {
    let (loss, parameter, value) = (loss.to_string(), parameter.to_string(), value.to_string());
    Error::Parameter { loss, parameter, value, problem: problem.to_string() }
}

/// A label smoothing that is one.
///
/// # Errors
/// It is below 0, 1 or more, or NaN.
pub(super) fn smoothing(loss: &str, value: f64) -> Result<f64> {
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err(unusable(loss, "label_smoothing", value, "must be 0 or more, and less than 1"))
    }
}
