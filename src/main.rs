//! The `lossjit` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lossjit::cli::main()
}
