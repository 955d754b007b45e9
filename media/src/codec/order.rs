//! MPEG-2's pictures in the order in which they are shown.

use std::collections::VecDeque;

use wire::mpegts::{PictureKind, TemporalReference};

/// B-pictures in a row, at most (FFmpeg's encoder has the same limit): a larger step of the numbers says nothing of them.
const BETWEEN_MAX: u16 = 16;

/// Holds an I- or P-picture back while B-pictures are to come that are shown before it, and no other.
///
/// ```text
/// with B-pictures      coded  I0 P3 B1 B2 P6 B4 B5 ...      without  I0 P1 P2 P3 ...
///                      given  I0 -- B1 B2 P3 B4 B5 ...               I0 P1 P2 P3 ...
/// ```
///
/// FFmpeg's decoder knows two ways: all pictures at once, in the order in which they are coded (its user says `low_delay`),
/// or one held of every stream that does not itself say `low_delay`, which few do that have no B-pictures. So it is told the
/// first, and this puts its pictures in order. They are numbered as they are shown: where numbers are left out before an I- or
/// P-picture, B-pictures are to come. After a loss that would be no sign. As long as B-pictures come, each I- and P-picture
/// waits for the next, also where it need not, so that the pace is even. One that waits in vain goes out with the next.
#[derive(Debug)]
pub(super) struct Order<T> {
    held: Option<T>,
    /// Number of the last I- or P-picture, as far as that is known.
    last: Option<u16>,
    /// B-pictures have come since.
    with_between: bool,
}

/// What a coded picture says of its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) kind: Option<PictureKind>,
    pub(super) reference: Option<TemporalReference>,
    /// Something was lost in it or before it.
    pub(super) lost: bool,
}

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        Self {
            held: None,
            last: None,
            with_between: false,
        }
    }

    /// Takes the next picture as it was coded, and gives to `ready` what is to be shown now.
    pub(super) fn push(&mut self, picture: T, place: Place, ready: &mut VecDeque<T>) {
        let reference = place.reference;
        // What a wrong bit, or the loss of another, makes a B-picture has the number of an I- or P-picture: those go up.
        let is_before_last = reference
            .zip(self.last)
            .is_some_and(|(reference, last)| is_step(reference.number, last));
        if place.kind == Some(PictureKind::B) && is_before_last {
            self.with_between = true;
            ready.push_back(picture);
            return;
        }
        let is_behind_others = reference.is_some_and(|reference| {
            let next = self.last.map_or(reference.number, |last| last + 1);
            let expected = if reference.begins_group { 0 } else { next };
            is_step(expected, reference.number)
        });
        self.last = reference.map(|reference| reference.number);
        ready.extend(self.held.take());
        if std::mem::take(&mut self.with_between) || is_behind_others && !place.lost {
            self.held = Some(picture);
        } else {
            ready.push_back(picture);
        }
    }

    /// Pictures that wait.
    pub(super) fn held(&self) -> usize {
        usize::from(self.held.is_some())
    }
}

/// Whether `number` is so little behind `other` that the ones between may be B-pictures.
fn is_step(number: u16, other: u16) -> bool {
    (1..=BETWEEN_MAX).contains(&(other.wrapping_sub(number) % TemporalReference::MODULUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coded pictures as `kind number`, a group beginning with `|`, a loss before one with `!`; what is given after each.
    fn given(coded: &str) -> Vec<Vec<&str>> {
        let mut order = Order::new();
        let mut begins_group = false;
        let mut all = Vec::new();
        for word in coded.split_whitespace() {
            if word == "|" {
                begins_group = true;
                continue;
            }
            let name = word.trim_start_matches('!');
            let place = Place {
                kind: Some(match &name[..1] {
                    "I" => PictureKind::I,
                    "P" => PictureKind::P,
                    _ => PictureKind::B,
                }),
                reference: Some(TemporalReference {
                    number: name[1..].parse().unwrap(),
                    begins_group: std::mem::take(&mut begins_group),
                }),
                lost: name != word,
            };
            let mut ready = VecDeque::new();
            order.push(name, place, &mut ready);
            all.push(ready.into());
        }
        all
    }

    /// All that is given, in its order.
    fn flat(coded: &str) -> String {
        given(coded).concat().join(" ")
    }

    #[test]
    fn without_b_pictures_none_is_held() {
        for coded in [
            "| I0 P1 P2 | I0 P1 P2 P3",
            "I0 P1 I2 P3",
            "| I1021 P1022 P1023 P0 P1",
            // A wrong bit makes one a B-picture.
            "| I0 P1 B2 | I0 P1 B2 P3",
            // Behind a loss.
            "| I0 P1 !P4 P5 !P9 | !I0",
            // From within a group.
            "P5 P6 P7",
            // Numbers that say nothing.
            "I0 P0 P0",
            "| I0 P500 P3",
        ] {
            assert!(given(coded).iter().all(|given| given.len() == 1), "{coded}");
        }
    }

    #[test]
    fn b_pictures_come_before_what_they_were_coded_after() {
        // Groups that B-pictures of the next reach into, as FFmpeg makes them, and closed ones.
        assert_eq!(
            flat("| I0 P3 B1 B2 P6 B4 B5 | I2 B0 B1 P5 B3 B4 P8"),
            "I0 B1 B2 P3 B4 B5 P6 B0 B1 I2 B3 B4 P5"
        );
        assert_eq!(
            flat("| I0 P3 B1 B2 P5 B4 | I0 P3 B1 B2 P6"),
            "I0 B1 B2 P3 B4 P5 I0 B1 B2 P3"
        );
        // One goes in, one comes out.
        for given in &given("| I0 P3 B1 B2 P5 B4 | I0 P3 B1 B2 P6 B4 B5 P9")[2..] {
            assert_eq!(given.len(), 1);
        }
    }

    #[test]
    fn what_waits_in_vain_goes_out_with_the_next() {
        // The sender leaves a number out, or ends its B-pictures.
        assert_eq!(given("| I0 P2 P3")[1..], [vec![], vec!["P2", "P3"]]);
        let given = given("| I0 P2 B1 P3 P4 P5");
        assert_eq!(given[3..], [vec!["P2"], vec!["P3", "P4"], vec!["P5"]]);
    }

    #[test]
    fn a_loss_among_b_pictures_keeps_the_order() {
        assert_eq!(
            flat("| I0 P3 B1 !P6 B4 B5 !P12 B10 B11 P15"),
            "I0 B1 P3 B4 B5 P6 B10 B11 P12"
        );
        // P3 is lost.
        assert_eq!(flat("| I0 !B1 B2 P6 B4 B5 P9"), "I0 B1 B2 B4 B5 P6");
    }
}
