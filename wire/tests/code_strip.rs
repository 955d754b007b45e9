//! Properties of the code strip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use forestall_wire::code_strip::{
    Kind, NUMBER_WRAP, Place, Plane, PlaneMut, Strip, TIME_UNIT_US, expand_time_us,
};
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Capture),
        Just(Kind::Overlay),
        Just(Kind::OverlayDamaged)
    ]
}

fn draw(strip: &Strip, data: &mut [u8], stride: usize, width: usize, height: usize) {
    strip
        .draw(&mut PlaneMut {
            data,
            stride,
            width,
            height,
        })
        .unwrap();
}

proptest! {
    #[test]
    fn what_is_drawn_is_read(
        kind in kind(), a: u32, b in 0..NUMBER_WRAP, width in 40usize..700, extra in 0usize..40, noise in 0u8..30, seed: u8,
    ) {
        let (stride, height) = (width + extra, width);
        let mut data: Vec<u8> = (0..stride * height).map(|at| (at as u8).wrapping_mul(seed)).collect();
        let strip = Strip { kind, a, b };
        draw(&strip, &mut data, stride, width, height);
        for (at, luma) in data.iter_mut().enumerate() {
            *luma = luma.saturating_sub((at % 7) as u8 * noise / 7);
        }
        let place = kind.place();
        let plane = Plane { data: &data, stride, width, height };
        prop_assert_eq!(Strip::read(place, plane), Some(strip));
    }

    #[test]
    fn both_strips_fit_together(a: u32, b in 0..NUMBER_WRAP, width in 40usize..400) {
        let height = width;
        let mut data = vec![128; width * height];
        let strips = [Strip { kind: Kind::Overlay, a, b }, Strip { kind: Kind::Capture, a: b, b: a % NUMBER_WRAP }];
        for strip in &strips {
            draw(strip, &mut data, width, width, height);
        }
        let plane = Plane { data: &data, stride: width, width, height };
        prop_assert_eq!(Strip::read(Place::AboveBottom, plane), Some(strips[0]));
        prop_assert_eq!(Strip::read(Place::Bottom, plane), Some(strips[1]));
    }

    #[test]
    fn a_wrong_bit_is_refused(a: u32, b in 0..NUMBER_WRAP, cell in 0usize..80) {
        let (width, height) = (320, 240);
        let mut data = vec![128; width * height];
        draw(&Strip { kind: Kind::Capture, a, b }, &mut data, width, width, height);
        for y in 0..8 {
            let start = (height - 16 + cell / 40 * 8 + y) * width + cell % 40 * 8;
            data[start..start + 8].iter_mut().for_each(|luma| *luma = 250 - *luma);
        }
        prop_assert_eq!(Strip::read(Place::Bottom, Plane { data: &data, stride: width, width, height }), None);
    }

    #[test]
    fn capture_times_come_back(now in 0u64..4_000_000_000_000_000, delay in 0u64..150_000_000_000) {
        let captured = now.saturating_sub(delay);
        let a = Strip::capture(captured, 0).a;
        prop_assert_eq!(expand_time_us(a, now), captured / TIME_UNIT_US * TIME_UNIT_US);
    }
}

#[test]
fn pictures_without_room_are_refused() {
    let strip = Strip::capture(0, 0);
    for (width, height, bytes) in [
        (39, 100, 3900),
        (0, 0, 0),
        (320, 15, 4800),
        (320, 240, 100),
        (usize::MAX, usize::MAX, 9),
    ] {
        let mut data = vec![0; bytes];
        assert!(
            strip
                .draw(&mut PlaneMut {
                    data: &mut data,
                    stride: width,
                    width,
                    height
                })
                .is_err()
        );
        assert_eq!(
            Strip::read(
                Place::Bottom,
                Plane {
                    data: &data,
                    stride: width,
                    width,
                    height
                }
            ),
            None
        );
    }
}
