//! The machine that code is made for: this one, or what `LOSSJIT_LEVEL` leaves of it.

use crate::error::{Error, Result};
use crate::vmath::{self, Level};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use std::sync::OnceLock;

/// What a processor with AVX2 and FMA has besides.
const AVX2: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_cmpxchg16b",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
];

/// This machine with its vector extensions, found once per process.
pub fn host() -> Result<OwnedTargetIsa> {
    static HOST: OnceLock<Result<OwnedTargetIsa>> = OnceLock::new();
    HOST.get_or_init(detect).clone()
}

/// Whether the instructions of vectors are those before AVX.
pub fn is_before_avx(isa: &dyn TargetIsa) -> bool {
    let has_avx = |flag: &settings::Value| flag.name == "has_avx" && flag.as_bool() == Some(true);
    cfg!(target_arch = "x86_64") && !isa.isa_flags().iter().any(has_avx)
}

fn detect() -> Result<OwnedTargetIsa> {
    let fail = |e: &dyn std::fmt::Display| Error::Machine(e.to_string());
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [("opt_level", "speed"), ("enable_verifier", verify), ("is_pic", "false")] {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let forced = vmath::forced().map_err(Error::Machine)?;
    let found = !matches!(forced, Some(Level::Baseline | Level::Avx2Fma));
    let mut isa = cranelift_native::builder_with_options(found).map_err(|e| fail(&e))?;
    if forced == Some(Level::Avx2Fma) {
        AVX2.iter().try_for_each(|flag| isa.enable(flag)).map_err(|e| fail(&e))?;
    }
    isa.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}
