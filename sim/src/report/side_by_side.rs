//! The same load in several refinements: no headline rests on one of them.

use maud::{Markup, html};
use measure::words::UNMEASURED;

use super::figures::{Totals, bare_seconds, count, ratio, share};
use super::policies::{Table, class, names};

/// What stands in one group of columns.
#[derive(Clone, Debug)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// Of the inputs that are added up.
    pub(super) tables: Vec<&'a Table>,
}

/// A row a policy, and in it for each group the figures that judge it.
pub(super) fn draw(columns: &[Column]) -> Markup {
    let tables: Vec<&Table> = columns
        .iter()
        .flat_map(|column| column.tables.iter().copied())
        .collect();
    html! {
        div.scroll { table.runs.contest.narrow {
            thead {
                tr { th {} @for column in columns { th.group colspan="4" { (column.name) } } }
                tr {
                    th { "policy" }
                    @for _ in columns {
                        th.number.first { "share" } th.number { "above the knee, s" } th.number { "excess" } th.number { "moves" }
                    }
                }
            }
            tbody { @for name in names(&tables) { tr {
                td { span class={ "chip " (class(name)) } { (name) } }
                @for column in columns { (cells(name, column)) }
            } } }
        } }
    }
}

fn cells(name: &str, column: &Column) -> Markup {
    let tables = &column.tables;
    let Some(totals) = Totals::of(tables, name) else {
        return html! { td.number.first { (UNMEASURED) } @for _ in 0..3 { td.number { (UNMEASURED) } } };
    };
    html! {
        td.number.first { (share(totals.share())) }
        td.number { (bare_seconds(totals.seconds_above_knee)) }
        td.number { (ratio(totals.excess(tables))) }
        td.number { (count(totals.moves)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::comparison;

    #[test]
    fn who_took_no_part_has_dashes() {
        let comparison = comparison();
        let empty = Table::new();
        let column = |name, table| Column {
            name,
            tables: vec![table],
        };
        let text = draw(&[
            column("linear", &comparison.policies),
            column("step", &empty),
        ])
        .0;
        assert_eq!(
            text.matches(UNMEASURED).count(),
            4 * comparison.policies.len()
        );
    }
}
