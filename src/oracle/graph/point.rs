//! Pointwise ops over broadcast arrays.

use super::{Data, Faults, Value, aligned, some};
use crate::ir::{AxisSet, Point};
use ndarray::{ArrayD, ArrayViewD, Zip};

/// The value of a pointwise op along `axes`, whose extents are `shape`.
pub(super) fn apply<'a>(point: Point, args: &[&Value], axes: AxisSet, shape: &[usize]) -> Value<'a> {
    let call = Call { args, axes, shape };
    let data = match point {
        Point::Neg => call.float(|x| -x),
        Point::Abs => call.float(f64::abs),
        Point::Sign => call.float(sign),
        Point::Sqrt => call.float(f64::sqrt),
        Point::Exp => call.float(f64::exp),
        Point::Log => call.float(f64::ln),
        Point::Log1p => call.float(f64::ln_1p),
        Point::Expm1 => call.float(f64::exp_m1),
        Point::Tanh => call.float(f64::tanh),
        Point::Sigmoid => call.float(sigmoid),
        Point::Softplus => call.float(softplus),
        Point::Add => call.numbers(|x, y| x + y, i64::wrapping_add),
        Point::Sub => call.numbers(|x, y| x - y, i64::wrapping_sub),
        Point::Mul => call.numbers(|x, y| x * y, i64::wrapping_mul),
        Point::Div => call.numbers(|x, y| x / y, |_, _| unreachable!("verified")),
        Point::Max => call.numbers(max, i64::max),
        Point::Min => call.numbers(|x, y| -max(-x, -y), i64::min),
        Point::Lt => call.compare(|x, y| x < y, |x, y| x < y),
        Point::Le => call.compare(|x, y| x <= y, |x, y| x <= y),
        Point::Eq => call.compare(|x, y| x == y, |x, y| x == y),
        Point::Not => call.logic(|x, _| !x),
        Point::And => call.logic(|x, y| x && y),
        Point::Or => call.logic(|x, y| x || y),
        Point::Select => call.select(),
        Point::Float => call.cast(),
    };
    let faults = if point == Point::Select { call.faults_of_select() } else { call.faults() };
    Value { axes, data, faults }
}

struct Call<'c, 'v> {
    args: &'c [&'c Value<'v>],
    axes: AxisSet,
    shape: &'c [usize],
}

impl Call<'_, '_> {
    fn float<'a>(&self, f: impl Fn(f64) -> f64) -> Data<'a> {
        match &self.args[0].data {
            Data::Float(x) => Data::Float(x.mapv(f).into()),
            _ => unreachable!("verified"),
        }
    }

    fn cast<'a>(&self) -> Data<'a> {
        match &self.args[0].data {
            Data::Int(x) => Data::Float(x.mapv(|x| x as f64).into()),
            _ => unreachable!("verified"),
        }
    }

    fn numbers<'a>(&self, float: impl Fn(f64, f64) -> f64, int: impl Fn(i64, i64) -> i64) -> Data<'a> {
        match (&self.args[0].data, &self.args[1].data) {
            (Data::Float(x), Data::Float(y)) => Data::Float(self.zip(x.view(), y.view(), float).into()),
            (Data::Int(x), Data::Int(y)) => Data::Int(self.zip(x.view(), y.view(), int).into()),
            _ => unreachable!("verified"),
        }
    }

    fn compare<'a>(&self, float: impl Fn(f64, f64) -> bool, int: impl Fn(i64, i64) -> bool) -> Data<'a> {
        Data::Bool(match (&self.args[0].data, &self.args[1].data) {
            (Data::Float(x), Data::Float(y)) => self.zip(x.view(), y.view(), float).into(),
            (Data::Int(x), Data::Int(y)) => self.zip(x.view(), y.view(), int).into(),
            _ => unreachable!("verified"),
        })
    }

    /// `not` takes its one argument twice.
    fn logic<'a>(&self, f: impl Fn(bool, bool) -> bool) -> Data<'a> {
        let [first, .., last] = self.args else {
            let Data::Bool(x) = &self.args[0].data else { unreachable!("verified") };
            return Data::Bool(x.mapv(|x| f(x, x)).into());
        };
        match (&first.data, &last.data) {
            (Data::Bool(x), Data::Bool(y)) => Data::Bool(self.zip(x.view(), y.view(), f).into()),
            _ => unreachable!("verified"),
        }
    }

    fn select<'a>(&self) -> Data<'a> {
        match (&self.args[1].data, &self.args[2].data) {
            (Data::Float(x), Data::Float(y)) => {
                Data::Float(self.choose(self.align(1, x.view()), self.align(2, y.view())).into())
            }
            (Data::Int(x), Data::Int(y)) => {
                Data::Int(self.choose(self.align(1, x.view()), self.align(2, y.view())).into())
            }
            _ => unreachable!("verified"),
        }
    }

    /// The argument's array with unit axes where it does not vary.
    fn align<'v, T>(&self, place: usize, array: ArrayViewD<'v, T>) -> ArrayViewD<'v, T> {
        aligned(array, self.args[place].axes, self.axes)
    }

    fn zip<T: Copy, R: Copy + Default>(&self, x: ArrayViewD<T>, y: ArrayViewD<T>, f: impl Fn(T, T) -> R) -> ArrayD<R> {
        let (x, y) = (self.align(0, x), self.align(1, y));
        let mut result = ArrayD::from_elem(self.shape, R::default());
        Zip::from(&mut result).and_broadcast(x).and_broadcast(y).for_each(|r, &x, &y| *r = f(x, y));
        result
    }

    /// Of two aligned arrays the one that the condition takes.
    fn choose<T: Copy + Default>(&self, x: ArrayViewD<T>, y: ArrayViewD<T>) -> ArrayD<T> {
        let Data::Bool(condition) = &self.args[0].data else { unreachable!("verified") };
        let mut result = ArrayD::from_elem(self.shape, T::default());
        Zip::from(&mut result)
            .and_broadcast(self.align(0, condition.view()))
            .and_broadcast(x)
            .and_broadcast(y)
            .for_each(|r, &condition, &x, &y| *r = if condition { x } else { y });
        result
    }

    /// Element by element the first argument's fault.
    fn faults(&self) -> Option<Faults> {
        first_of(self.args.iter().map(|a| (a.axes, a.faults.as_ref())), self.axes, self.shape)
    }

    /// The condition's fault, else that of the branch taken.
    fn faults_of_select(&self) -> Option<Faults> {
        if self.args.iter().all(|a| a.faults.is_none()) {
            return None;
        }
        let none = ArrayD::from_elem(vec![1; self.axes.len()], None);
        let branch = |place: usize| self.args[place].faults.as_ref().map(|f| self.align(place, f.view()));
        let taken = self.choose(branch(1).unwrap_or(none.view()), branch(2).unwrap_or(none.view()));
        let condition = (self.args[0].axes, self.args[0].faults.as_ref());
        first_of([condition, (self.axes, Some(&taken))], self.axes, self.shape)
    }
}

/// Element by element the first fault of several arrays, each along axes of its own.
pub(super) fn first_of<'f>(
    parts: impl IntoIterator<Item = (AxisSet, Option<&'f Faults>)>,
    axes: AxisSet,
    shape: &[usize],
) -> Option<Faults> {
    let mut result: Option<Faults> = None;
    for (own, faults) in parts.into_iter().filter_map(|(own, faults)| Some((own, faults?))) {
        let result = result.get_or_insert_with(|| ArrayD::from_elem(shape, None));
        Zip::from(result).and_broadcast(aligned(faults.view(), own, axes)).for_each(|r, &fault| *r = r.or(fault));
    }
    result.and_then(some)
}

/// The larger; NaN where either is.
pub(super) fn max(x: f64, y: f64) -> f64 {
    if x >= y || x.is_nan() { x } else { y }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

fn softplus(x: f64) -> f64 {
    max(x, 0.0) + (-x.abs()).exp().ln_1p()
}
