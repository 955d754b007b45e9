//! What the pages and figures of all reports have in common, whatever is drawn: their look, scales, paths and frames.

pub mod axes;
pub mod page;
pub mod png;
pub mod svg;
