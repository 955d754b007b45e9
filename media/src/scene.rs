//! What the camera sees: a robot's way along a tiled floor under a hazy sky, past a ball. Deterministic: the same time
//! gives the same picture. It moves everywhere and has fine detail near the viewer, so that the encoder has work.

use crate::picture::Picture;

/// Row of the horizon, of the picture's height.
const HORIZON: f32 = 0.38;
/// Floor tiles that pass under the robot in a second.
const TILES_PER_SECOND: f32 = 1.6;

/// Draws the scene at `seconds`.
pub(crate) fn draw(picture: &mut Picture, seconds: f32) {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    for index in 0..3 {
        let shrink = if index == 0 { 1.0 } else { 2.0 };
        let plane = picture.plane_mut(index);
        let ridges: Vec<f32> = (0..plane.width)
            .map(|x| ridge(x as f32 * shrink / width, seconds * 0.15))
            .collect();
        for (y, row) in plane
            .data
            .chunks_mut(plane.stride)
            .take(plane.height)
            .enumerate()
        {
            let line = Line::at(y as f32 * shrink / height, width, seconds);
            for (x, (pixel, ridge)) in row.iter_mut().zip(&ridges).enumerate() {
                *pixel = line.pixel(x as f32 * shrink, *ridge, index);
            }
        }
        draw_ball(picture, index, seconds);
    }
}

/// What is the same along a row.
enum Line {
    Sky {
        down: f32,
    },
    Floor {
        tile: f32,
        left: f32,
        depth: f32,
        haze: f32,
    },
}

impl Line {
    /// `down` is the row, of the picture's height.
    fn at(down: f32, width: f32, seconds: f32) -> Self {
        if down < HORIZON {
            return Self::Sky {
                down: down / HORIZON,
            };
        }
        // A floor seen in perspective: distance grows with 1 / (row below the horizon).
        let distance = 1.0 / (down - HORIZON + 0.02);
        let tile = distance / width * 2.2;
        let sway = 0.7 * (seconds * 0.6).sin();
        Self::Floor {
            tile,
            left: sway * 2.0 - tile * width / 2.0 + 1000.0,
            depth: distance + seconds * TILES_PER_SECOND,
            haze: (distance / 22.0).min(1.0),
        }
    }

    fn pixel(&self, x: f32, ridge: f32, plane: usize) -> u8 {
        match *self {
            Self::Sky { down } => {
                let is_hill = down > ridge;
                match (plane, is_hill) {
                    (0, false) => (150.0 + 60.0 * down) as u8,
                    (0, true) => 84,
                    (1, false) => (150.0 - 16.0 * down) as u8,
                    (2, false) => (112.0 + 12.0 * down) as u8,
                    (1, true) => 118,
                    _ => 120,
                }
            }
            Self::Floor {
                tile,
                left,
                depth,
                haze,
            } => {
                let (u, v) = (left + x * tile, depth);
                let (cell_u, cell_v) = (u as u32, v as u32);
                let is_light = (cell_u ^ cell_v) & 1 == 0;
                let colour: f32 = match (plane, is_light) {
                    (0, true) => 168.0,
                    (0, false) => 92.0,
                    (1, _) => 116.0,
                    (_, true) => 134.0,
                    (_, false) => 142.0,
                };
                let grain = if plane == 0 {
                    grain((u * 12.0) as u32, (v * 12.0) as u32)
                } else {
                    0.0
                };
                let far = if plane == 0 { 150.0 } else { 127.0 };
                let near = 1.0 - haze;
                (far + (colour + grain - far) * near * near) as u8
            }
        }
    }
}

/// How far down the sky the hills begin, by how far to the right.
fn ridge(across: f32, drift: f32) -> f32 {
    0.72 + 0.12 * (across * 9.0 + drift).sin() + 0.05 * (across * 31.0 + 2.0 * drift).sin()
}

/// The roughness of the floor: -14 to 14, fixed to the place.
fn grain(u: u32, v: u32) -> f32 {
    let hash =
        (u.wrapping_mul(0x9e37_79b1) ^ v.wrapping_mul(0x85eb_ca77)).wrapping_mul(0xc2b2_ae3d);
    (hash >> 24) as f32 / 255.0 * 28.0 - 14.0
}

/// A red ball that bounces from side to side.
fn draw_ball(picture: &mut Picture, index: usize, seconds: f32) {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let shrink = if index == 0 { 1.0 } else { 2.0 };
    let radius = height * 0.085 / shrink;
    let centre_x = (0.5 + 0.38 * (seconds * 1.1).sin()) * width / shrink;
    let centre_y = (0.70 - 0.16 * (seconds * 3.3).sin().abs()) * height / shrink;
    let plane = picture.plane_mut(index);
    let (top, bottom) = (
        (centre_y - radius).max(0.0) as usize,
        (centre_y + radius) as usize + 1,
    );
    let (left, right) = (
        (centre_x - radius).max(0.0) as usize,
        ((centre_x + radius) as usize + 1).min(plane.width),
    );
    for (y, row) in plane
        .data
        .chunks_mut(plane.stride)
        .enumerate()
        .take(bottom.min(plane.height))
        .skip(top)
    {
        for (x, pixel) in row.iter_mut().enumerate().take(right).skip(left) {
            let (dx, dy) = (
                (x as f32 - centre_x) / radius,
                (y as f32 - centre_y) / radius,
            );
            if dx * dx + dy * dy <= 1.0 {
                *pixel = match index {
                    0 => (120.0 - 70.0 * (dx + dy) * 0.7) as u8,
                    1 => 104,
                    _ => 200,
                };
            }
        }
    }
}
