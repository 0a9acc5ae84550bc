//! How a value gets its gradients: the operations by which candle's graph leads from a loss to its inputs.
//!
//! candle's custom operations have up to three arguments, a loss has any number of inputs. So the first three that want
//! a gradient are arguments of one operation, whose result is the value; each two more are arguments of a further one, whose
//! first argument is the value so far, which it passes on. `backward` hands the same head to all of them; each runs the
//! backward pass, which has the gradients of all inputs, and takes those of its own.

use crate::op::Call;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};
use std::ops::Range;
use std::sync::Arc;

/// The value as a result of the operations that give the tracked inputs their gradients, which the call computes.
pub(crate) fn attach(value: Tensor, call: Call, tracked: &[Tensor]) -> Result<Tensor> {
    let call = Arc::new(call);
    let op = |places: Range<usize>| {
        let carries = places.start > 0;
        Attach { call: call.clone(), places, value: value.clone(), carries }
    };
    let first = tracked.len().min(3);
    let mut result = match &tracked[..first] {
        [] => return Ok(value),
        [a] => a.apply_op1(op(0..1))?,
        [a, b] => a.apply_op2(b, op(0..2))?,
        [a, b, c, ..] => a.apply_op3(b, c, op(0..3))?,
    };
    for start in (first..tracked.len()).step_by(2) {
        result = match &tracked[start..] {
            [a] => result.apply_op2(a, op(start..start + 1))?,
            [a, b, ..] => result.apply_op3(a, b, op(start..start + 2))?,
            [] => break,
        };
    }
    Ok(result)
}

/// The identity of a value that has been computed, with the gradients of some inputs.
struct Attach {
    call: Arc<Call>,
    /// Which of the call's gradients are those of the arguments.
    places: Range<usize>,
    value: Tensor,
    /// Whether the first argument is the value so far, not an input.
    carries: bool,
}

impl Attach {
    fn value(&self) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.value.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.clone(), layout.shape().clone())),
            _ => bail!("{}: the value of a loss is not in the memory of the CPU", self.name()),
        }
    }

    /// The gradients of the arguments, in order.
    fn gradients(&self, head: &Tensor) -> Result<impl Iterator<Item = Tensor>> {
        if head.track_op() {
            bail!("{}: gradients of gradients are not supported", self.name());
        }
        let carried = self.carries.then(|| head.clone());
        let own = self.call.gradients(head)?.into_iter().skip(self.places.start).take(self.places.len());
        Ok(carried.into_iter().chain(own))
    }

    fn name(&self) -> &'static str {
        "lossjit"
    }
}

impl CustomOp1 for Attach {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, head: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.gradients(head)?.next())
    }
}

impl CustomOp2 for Attach {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, head: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.gradients(head)?;
        Ok((gradients.next(), gradients.next()))
    }
}

impl CustomOp3 for Attach {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        head: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.gradients(head)?;
        Ok((gradients.next(), gradients.next(), gradients.next()))
    }
}
