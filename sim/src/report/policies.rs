//! Who is shown, in which order and colour.

use std::collections::{BTreeMap, BTreeSet};

use crate::contest::{Contestant, Summary};

/// Who knows the future.
pub(super) const ORACLE: &str = "oracle";
/// The controller by forecast.
pub(super) const DEADLINE: &str = "deadline";
/// The controller with the thesis' fixed load.
pub(super) const THRESHOLD: &str = "threshold";
/// Who moves nothing.
pub(super) const NEVER: &str = "never";

/// All policies of an input, or of all inputs.
pub(super) type Table = BTreeMap<String, Summary>;

/// A policy and its figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) summary: &'a Summary,
}

/// The policies of a table in the order of [`names`].
pub(super) fn rows(table: &Table) -> Vec<Row<'_>> {
    let row = |name| {
        let (name, summary) = table.get_key_value(name)?;
        Some(Row { name, summary })
    };
    names(&[table]).into_iter().filter_map(row).collect()
}

/// Everybody in any of the tables, in the order of the contest; names that it does not have come last.
pub(super) fn names<'a>(tables: &[&'a Table]) -> Vec<&'a str> {
    let mut left: BTreeSet<&str> = tables
        .iter()
        .flat_map(|table| table.keys().map(String::as_str))
        .collect();
    let order = Contestant::all();
    let mut names: Vec<&str> = order
        .iter()
        .filter_map(|contestant| left.take(contestant.name().as_str()))
        .collect();
    names.extend(left);
    names
}

/// The classes that colour a policy. Names may come from a file: only known ones become part of the style.
pub(super) fn class(name: &str) -> &'static str {
    match name {
        ORACLE => "oracle",
        DEADLINE => "deadline",
        THRESHOLD => "threshold",
        // The same controllers, told less.
        name if by_poor_agents(name) => "threshold on-our-data",
        NEVER => "none",
        name if on_our_data(name) => "rule on-our-data",
        _ => "rule",
    }
}

/// Whether a rule was shown what our controller is.
fn on_our_data(name: &str) -> bool {
    name.ends_with("@5s")
}

/// Whether it is a controller of ours whose agents lose answers.
fn by_poor_agents(name: &str) -> bool {
    name.ends_with("@poor-agents")
}

/// Whether it is none of ours, and no bound: what other systems ship.
pub(super) fn is_rule(name: &str) -> bool {
    ![ORACLE, DEADLINE, THRESHOLD, NEVER].contains(&name) && !by_poor_agents(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::summary;

    #[test]
    fn the_order_is_that_of_the_contest() {
        let table: Table = ["a stranger", "never", "threshold", "oracle", "deadline"]
            .map(|name| (name.to_owned(), summary()))
            .into();
        let expected = ["oracle", "deadline", "threshold", "never", "a stranger"];
        assert_eq!(names(&[&table]), expected);
        assert_eq!(rows(&table).len(), expected.len());
    }

    #[test]
    fn a_name_never_becomes_a_style() {
        assert_eq!(class("deadline\" onload="), "rule");
    }
}
