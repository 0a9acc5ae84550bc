//! The program `lossjit`, run as its users run it.

mod listed;
mod refused;
mod shown;
mod values;
mod workdir;
