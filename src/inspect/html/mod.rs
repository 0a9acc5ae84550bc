//! The page: one HTML file that shows a report. It has its style and its script inside, asks nothing of any network, and
//! can be read without the script, which only lights relatives up, hides panes and turns the difference on.
//!
//! Every text of the report is escaped on its way in, as names may come from strangers; a content security policy stands
//! behind that. Equal reports give equal pages.

mod code;
mod cost;
mod diff;
mod legend;
mod loops;
mod meaning;
mod order;
mod page;
mod quantity;
mod stages;
mod summary;
mod why;

use crate::inspect::Report;

impl Report {
    /// The report as one HTML file of its own.
    pub fn html(&self) -> String {
        page::page(self)
    }
}
