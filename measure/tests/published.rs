//! What is published of the thesis' sections is what its raw data say, with the code of today.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_thesis_measured_again() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/thesis"));
    let differences = forestall_measure::campaign::verify(folder).unwrap();
    assert!(
        differences.is_empty(),
        "`forestall report docs/thesis` writes it again; it differs in {}",
        differences
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
}
