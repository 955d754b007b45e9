//! What is published of the thesis' sections is what its raw data say, with the code of today.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_thesis_measured_again() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/thesis"));
    let mut differences = forestall_measure::campaign::verify(folder).unwrap();
    // Page and drawings have rounded figures: on another processor a last digit may fall otherwise.
    differences.retain(|one| !one.file.ends_with(".html") && !one.file.ends_with(".svg"));
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
