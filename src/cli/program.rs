//! From arguments to an exit status. Whatever happens, that is 0, 1 or 2, and what went wrong is one line on stderr.

use super::args::{Command, Program};
use super::failure::{Failure, one_line};
use super::{bench, check, eval, inspect, list, serve};
use clap::Parser;
use std::io::{self, ErrorKind, Write};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The program.
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(report_panic));
    // The hook has told what happened; unwinding to here lets destructors remove temporary files.
    panic::catch_unwind(run).unwrap_or(ExitCode::from(1))
}

fn run() -> ExitCode {
    let start = Instant::now();
    let command = match Program::try_parse() {
        Ok(program) => program.command,
        Err(error) => return not_a_command(&error),
    };
    match execute(&command, start).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

/// Help and version are "errors" with status 0, on standard output; what is wrong with the arguments goes to stderr.
fn not_a_command(error: &clap::Error) -> ExitCode {
    match printed(error.print().and_then(|()| io::stdout().flush())) {
        Err(failure) if !error.use_stderr() => failed(&failure),
        // Where stderr fails, nobody is left to tell.
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    tell(failure.message());
    ExitCode::from(failure.status())
}

/// Does what is asked and returns what is to be printed.
fn execute(command: &Command, start: Instant) -> Result<String, Failure> {
    match command {
        Command::List(args) => Ok(list::run(args)),
        Command::Eval(args) => eval::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => match &args.loss {
            Some(loss) => bench::run(args, loss),
            None => serve::run(start, &mut io::stdin().lock(), &mut io::stdout().lock()).map(|()| String::new()),
        },
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What has become of standard output.
fn printed(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::work(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "error: {}", one_line(message));
}

/// Tells of the first panic only: one on another thread is followed by that of the thread which waits for it.
fn report_panic(info: &PanicHookInfo) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let what = info.payload_as_str().unwrap_or("panic");
    let place = info.location().map_or(String::new(), |l| format!(" ({}, line {})", l.file(), l.line()));
    tell(&format!("internal error: {what}{place}"));
}
