//! Which dtypes inputs may have.

use super::{Port, Spec};
use crate::error::{Error, Result};
use crate::ir::{Input, Kind};

/// Floating inputs are floats, all of the same dtype; class numbers are integers, or floats that have room for them.
pub(super) fn check(spec: &Spec, kind: Kind, inputs: &[Input], ports: &[Port]) -> Result<()> {
    let fail = |expected: String| Err(Error::Dtype { input: spec.name.clone(), found: spec.dtype.name(), expected });
    if kind != Kind::Float {
        return if spec.dtype.is_half() { fail("an integer dtype, f32 or f64".into()) } else { Ok(()) };
    }
    if !spec.dtype.is_float() {
        return fail("f32, f64, bf16 or f16".into());
    }
    let other = inputs.iter().zip(ports).find(|(input, _)| input.kind == Kind::Float);
    match other {
        Some((_, port)) if port.dtype != spec.dtype => fail(format!("{} as in {}", port.dtype, port.name)),
        _ => Ok(()),
    }
}
