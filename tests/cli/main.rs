//! The program `lossjit`, run as its users run it.

mod graphs;
mod inspected;
mod listed;
mod refused;
mod shown;
mod timed;
mod values;
mod workdir;
