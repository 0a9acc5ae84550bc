//! Random well-typed graphs with inputs to match.
//!
//! Magnitudes are kept tame, by interval arithmetic, so that f32 and f64 results can be compared: logarithms, roots and
//! divisors get what is well above 0, and what grows is scaled down. Only inputs and constants are compared with each
//! other, since those are the same in f32 and f64; every other op is continuous.

mod steps;

use super::Case;
use lossjit::error::Result;
use lossjit::ir::{AxisId, AxisSet, Builder, Id, Kind};
use lossjit::oracle::graph::Buffer;
use ndarray::ArrayD;

/// No value has more elements.
const ELEMENTS: usize = 6000;

/// The case of a seed.
///
/// # Panics
/// Where the generator made an ill-typed graph, a fault of its own.
pub fn case(seed: u64) -> Case {
    draw(seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"))
}

/// A float with its bounds.
#[derive(Clone, Copy)]
struct Known {
    id: Id,
    low: f64,
    high: f64,
}

struct Draw {
    rng: fastrand::Rng,
    b: Builder,
    axes: Vec<AxisId>,
    extents: Vec<usize>,
    inputs: Vec<Buffer>,
    floats: Vec<Known>,
    /// The floats that are the same in every width: inputs, constants, indices.
    exact: Vec<Known>,
    ints: Vec<Id>,
    /// Integer inputs with the axis that their elements are indices of.
    classes: Vec<(Id, AxisId)>,
}

fn draw(seed: u64) -> Result<Case> {
    let mut d = Draw {
        rng: fastrand::Rng::with_seed(seed),
        b: Builder::new("random"),
        axes: vec![],
        extents: vec![],
        inputs: vec![],
        floats: vec![],
        exact: vec![],
        ints: vec![],
        classes: vec![],
    };
    d.leaves()?;
    for _ in 0..d.rng.usize(3..20) {
        let value = d.step()?;
        let value = d.tame(value)?;
        d.floats.push(value);
    }
    for output in 0..d.rng.usize(1..4) {
        // The last value first: it has most below it.
        let value = if output == 0 { d.floats[d.floats.len() - 1].id } else { d.any().id };
        let mut axes: Vec<AxisId> = d.b.graph().ty(value).axes.iter().collect();
        let extra = d.axis();
        if d.rng.u8(..) < 25 && !axes.contains(&extra) && d.fits(axes.iter().copied().collect::<AxisSet>().with(extra))
        {
            axes.push(extra);
        }
        d.rng.shuffle(&mut axes);
        d.b.output(["out", "second", "third"][output], &axes, value);
    }
    Ok(Case { graph: d.b.finish()?, extents: d.extents, inputs: d.inputs })
}

impl Draw {
    fn leaves(&mut self) -> Result<()> {
        let rank = self.rng.usize(1..5);
        let many_short_rows = self.rng.u8(..) < 40;
        for axis in 0..rank {
            self.axes.push(self.b.axis(["i", "j", "k", "l"][axis])?);
            let outer = self.choose(&[1, 2, 2, 3, 4, 5, 7]);
            let inner = self.choose(&[1, 2, 3, 5, 8, 13, 17, 31, 40]);
            let rows = self.choose(&[16, 19, 40, 130, 515, 1030]);
            let extent = match (self.rng.u8(..), axis + 1 == rank) {
                (0..8, _) => 0,
                (_, false) if many_short_rows && axis + 2 == rank => rows,
                (_, true) if many_short_rows => inner.min(8),
                (8..32, true) => self.rng.usize(505..700),
                (32..60, _) if axis > 0 => self.extents[0], // a second name for an axis
                (_, true) => inner,
                (_, false) => outer,
            };
            self.extents.push(extent);
        }
        for number in 0..self.rng.usize(1..5) {
            let mut axes = self.axes.clone();
            self.rng.shuffle(&mut axes);
            axes.truncate(self.rng.usize(if number == 0 { 1..=rank } else { 0..=rank }));
            while !self.fits(axes.iter().copied().collect()) {
                axes.pop();
            }
            self.float_input(["x", "y", "z", "w"][number], &axes)?;
        }
        for constant in [0.0, 1.0, 2.0, -0.5] {
            let id = self.b.float(constant)?;
            self.exact.push(Known { id, low: constant, high: constant });
        }
        let axis = self.axis();
        self.ints = vec![self.b.index(axis)?, self.b.int(1)?, self.b.size(axis)?];
        if self.rng.u8(..) < 140 && self.extents[axis.index()] > 0 {
            self.class_input(axis)?;
        }
        Ok(())
    }

    fn float_input(&mut self, name: &str, axes: &[AxisId]) -> Result<()> {
        let shape: Vec<usize> = axes.iter().map(|a| self.extents[a.index()]).collect();
        let (step, rng) = (if self.rng.u8(..) < 30 { 0.5 } else { 0.0 }, &mut self.rng);
        let element = |_| match rng.f32() * 4.0 - 2.0 {
            x if step > 0.0 => (f64::from(x) / step).round() * step, // elements that tie
            x => f64::from(x),
        };
        self.inputs.push(Buffer::Float(ArrayD::from_shape_fn(shape, element)));
        let input = self.b.input(name, axes, Kind::Float)?;
        let indices = axes.iter().map(|&a| self.b.index(a)).collect::<Result<Vec<_>>>()?;
        let id = self.b.read(input, &indices)?;
        self.floats.push(Known { id, low: -2.0, high: 2.0 });
        self.exact.push(Known { id, low: -2.0, high: 2.0 });
        Ok(())
    }

    /// Indices of `axis`, along some other axes.
    fn class_input(&mut self, axis: AxisId) -> Result<()> {
        let axes: Vec<AxisId> = self.axes.iter().copied().filter(|&a| a != axis).take(self.rng.usize(0..3)).collect();
        let shape: Vec<usize> = axes.iter().map(|a| self.extents[a.index()]).collect();
        let (extent, rng) = (self.extents[axis.index()] as i64, &mut self.rng);
        self.inputs.push(Buffer::Int(ArrayD::from_shape_fn(shape, |_| rng.i64(0..extent))));
        let input = self.b.input("label", &axes, Kind::Int)?;
        let indices = axes.iter().map(|&a| self.b.index(a)).collect::<Result<Vec<_>>>()?;
        let id = self.b.read(input, &indices)?;
        self.ints.push(id);
        self.classes.push((id, axis));
        Ok(())
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    fn axis(&mut self) -> AxisId {
        self.axes[self.rng.usize(..self.axes.len())]
    }

    /// Some float, a late one rather than an early one.
    fn any(&mut self) -> Known {
        if self.rng.u8(..) < 20 {
            return self.leaf();
        }
        let n = self.floats.len();
        (0..3).map(|_| self.rng.usize(..n)).max().map_or(self.floats[0], |late| self.floats[late])
    }

    fn leaf(&mut self) -> Known {
        self.exact[self.rng.usize(..self.exact.len())]
    }

    fn fits(&self, axes: AxisSet) -> bool {
        axes.iter().map(|a| self.extents[a.index()].max(1)).product::<usize>() <= ELEMENTS
    }

    /// Whether a value of both together is small enough.
    fn meet(&self, x: Id, y: Id) -> bool {
        self.fits(self.b.graph().ty(x).axes.union(self.b.graph().ty(y).axes))
    }

    /// Another float that meets this one.
    fn partner(&mut self, of: Id) -> Known {
        for _ in 0..8 {
            let found = self.any();
            if self.meet(of, found.id) {
                return found;
            }
        }
        let constants: Vec<Known> = self.exact.iter().copied().filter(|k| k.low == k.high).collect();
        self.choose(&constants)
    }
}
