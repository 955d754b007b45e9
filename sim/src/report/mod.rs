//! `report.html` of a comparison: one file that needs nothing else, to read on a screen, in the dark or on paper.
//!
//! Its look, scales and frames are `measure::drawing`'s, so that it reads like the report of a lab run.
//!
//! Beside it stands [`costs`], a figure of its own.
//!
//! `policies` (who, in which order and colour) and `groups` (which inputs belong together) -> `figures` (numbers as words)
//! -> `tables`, `side_by_side`, `scatter` with `labels`, `bars`, `slopes` -> `page`, with `definitions`.

mod bars;
pub mod costs;
mod definitions;
mod figures;
mod groups;
mod labels;
mod page;
mod policies;
mod scatter;
mod side_by_side;
mod slopes;
mod tables;
#[cfg(test)]
mod testing;

use crate::contest::Comparison;

/// The report as one HTML document. `command` is what made the comparison, for a person to make it again.
#[must_use]
pub fn html(comparison: &Comparison, command: &str) -> String {
    page::document(comparison, command).into_string()
}

#[cfg(test)]
mod tests {
    use super::testing::{comparison, nothing, summary};
    use super::*;

    /// Elements that have no end.
    const VOID: [&str; 2] = ["meta", "br"];

    /// Reads the tags and sees that each ends where it should.
    fn check_tags(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        for part in page.split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap();
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {open:?}");
            } else if !tag.starts_with('!') {
                let name = tag.split([' ', '/']).next().unwrap();
                if !VOID.contains(&name) {
                    open.push(name);
                }
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn every_policy_and_input_is_named() {
        let comparison = comparison();
        let page = html(&comparison, "forestall sim compare --first 101");
        check_tags(&page);
        for name in comparison.policies.keys() {
            // In tables and in figures.
            assert!(page.matches(&format!(">{name}<")).count() >= 6, "{name}");
        }
        for name in comparison
            .by_input
            .keys()
            .filter(|name| !name.contains('<'))
        {
            assert!(page.contains(name.as_str()), "{name}");
        }
        assert!(page.contains("forestall sim compare --first 101"));
        for rule in crate::rules::all() {
            assert!(page.contains(rule.name), "{}", rule.name);
        }
    }

    #[test]
    fn names_are_text_whatever_they_are() {
        let mut comparison = comparison();
        let bad = "<script>&\"x\"";
        comparison.policies.insert(bad.to_owned(), summary());
        for table in comparison.by_input.values_mut() {
            table.insert(bad.to_owned(), summary());
        }
        let page = html(&comparison, bad);
        check_tags(&page);
        assert!(!page.contains("<script") && !page.contains("<stranger"));
        assert!(page.contains("&lt;script&gt;&amp;&quot;x&quot;"));
        assert!(page.contains("a &lt;stranger&gt; &amp; &quot;more&quot;"));
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut comparison = comparison();
        let tables = comparison
            .by_input
            .values_mut()
            .chain([&mut comparison.policies]);
        for one in tables.flat_map(|table| table.values_mut()) {
            *one = summary();
        }
        comparison.feasible_s.clear();
        let page = html(&comparison, "");
        check_tags(&page);
        assert!(page.contains("–") && !page.contains("NaN") && !page.contains(">inf"));
    }

    #[test]
    fn nobody_ran_through_nothing() {
        let page = html(&nothing(), "");
        check_tags(&page);
        assert!(!page.contains("NaN") && !page.contains(">inf"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = html(&comparison(), "");
        for word in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
