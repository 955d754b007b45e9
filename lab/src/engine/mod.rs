//! What runs the function's machine on the edge servers, and moves it.

pub mod libvirtd;
