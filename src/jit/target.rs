//! The machine that code is made for: this one.

use crate::error::{Error, Result};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use std::sync::OnceLock;

/// This machine with its vector extensions, found once per process.
pub fn host() -> Result<OwnedTargetIsa> {
    static HOST: OnceLock<Result<OwnedTargetIsa>> = OnceLock::new();
    HOST.get_or_init(detect).clone()
}

fn detect() -> Result<OwnedTargetIsa> {
    let fail = |e: &dyn std::fmt::Display| Error::Machine(e.to_string());
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [("opt_level", "speed"), ("enable_verifier", verify), ("is_pic", "false")] {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let isa = cranelift_native::builder().map_err(|e| fail(&e))?;
    isa.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}
