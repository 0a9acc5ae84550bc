//! The program `lossjit`: the library from a command line, with arrays from files. Not part of the library's interface.

mod args;
pub mod array;
mod bench;
mod check;
mod draw;
mod eval;
mod evaluation;
mod failure;
pub mod files;
mod inspect;
mod list;
mod number;
mod pages;
mod program;
mod serve;
mod setup;
mod subject;
mod summary;
mod values;

pub use program::main;
pub use serve::serve;
