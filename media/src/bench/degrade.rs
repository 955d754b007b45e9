//! Pictures with a code strip, spoilt in every way that happens to video, and pictures without one.
//!
//! Written from the description of the strip alone (`wire/src/code_strip.rs`, its head): it shares no code with the reader that it tests,
//! neither its arithmetic of cells nor its checksum.

/// What was done to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Nothing.
    None,
    /// Made smaller or larger.
    Scaled,
    Blurred,
    Noisy,
    /// To be coded by MPEG-2 with few bits.
    LowRate,
    /// Several of these.
    Mixed,
    /// A part of the strip is covered.
    Covered,
    /// There never was a strip.
    NoCode,
}

const ALL: [Damage; 8] = [
    Damage::None,
    Damage::Scaled,
    Damage::Blurred,
    Damage::Noisy,
    Damage::LowRate,
    Damage::Mixed,
    Damage::Covered,
    Damage::NoCode,
];

impl Damage {
    /// A reader should read it.
    pub(super) const fn is_readable(self) -> bool {
        !matches!(self, Self::Covered | Self::NoCode)
    }
}

/// A grey picture.
#[derive(Clone, Debug)]
pub(super) struct Grey {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

/// A picture, what was done to it, and what its strip says: the two values.
pub(super) struct Spoilt {
    pub(super) picture: Grey,
    pub(super) damage: Damage,
    pub(super) says: Option<(u32, u32)>,
}

/// Xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// `0..1`.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }

    /// Mean 0, standard deviation 1: the sum of twelve shares less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

/// The picture number `number`.
pub(super) fn picture(number: u32) -> Spoilt {
    let chance = &mut Chance::new(u64::from(number) + 1);
    let damage = ALL[number as usize % ALL.len()];
    // Codecs want even sizes.
    let width = 16 * (20 + chance.below(61));
    let height = if chance.share() < 0.5 {
        width * 3 / 4
    } else {
        width * 9 / 16
    } / 2
        * 2;
    let mut picture = background(width, height, chance);
    let says = (chance.next() as u32, chance.next() as u32 & 0x00ff_ffff);
    let mut drawn = None;
    if damage != Damage::NoCode {
        draw_strip(&mut picture, says);
        drawn = Some(says);
    }
    let picture = match damage {
        Damage::None | Damage::LowRate | Damage::NoCode => picture,
        Damage::Scaled => scaled(&picture, chance),
        Damage::Blurred => blurred(&picture, chance),
        Damage::Noisy => noisy(picture, chance, 40.0),
        Damage::Mixed => {
            let picture = scaled(&picture, chance);
            noisy(blurred(&picture, chance), chance, 20.0)
        }
        Damage::Covered => covered(picture, chance),
    };
    Spoilt {
        picture,
        damage,
        says: drawn,
    }
}

/// The pictures before one of a running video, `count` of them: what is in it comes in from the side, and each has a code of its own.
pub(super) fn leading_to(
    picture: &Grey,
    (a, b): (u32, u32),
    count: u32,
) -> impl Iterator<Item = Grey> {
    (1..=count).rev().map(move |before| {
        let mut earlier = picture.clone();
        let moved = (before * MOVED_PIXELS) as usize % picture.width;
        for line in earlier.data.chunks_mut(picture.width) {
            line.rotate_right(moved);
        }
        let says = (
            a.wrapping_sub(before * 333),
            b.wrapping_sub(before) & 0x00ff_ffff,
        );
        draw_strip(&mut earlier, says);
        earlier
    })
}

/// How far things move from picture to picture.
const MOVED_PIXELS: u32 = 3;

/// Slopes, stripes, squares and grain.
fn background(width: usize, height: usize, chance: &mut Chance) -> Grey {
    let (slope_x, slope_y) = (chance.between(-1.0, 1.0), chance.between(-1.0, 1.0));
    let stripe = chance.between(4.0, 90.0);
    let square = 4 + chance.below(60);
    let grain = chance.between(0.0, 60.0);
    let mut data = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f64 / width as f64, y as f64 / height as f64);
            let mut value = 128.0 + 90.0 * (slope_x * (u - 0.5) + slope_y * (v - 0.5));
            value += 30.0 * (x as f64 / stripe).sin();
            if (x / square + y / square).is_multiple_of(2) {
                value += 25.0;
            }
            value += grain * (chance.share() - 0.5);
            data.push(value.clamp(16.0, 235.0) as u8);
        }
    }
    Grey {
        width,
        height,
        data,
    }
}

/// Eighty bits: kind 0xc5, 32 and 24 bits of values, and CRC-16 with the polynomial 0x1021 from 0xffff, taken as a division of
/// polynomials.
fn bits_of((a, b): (u32, u32)) -> Vec<bool> {
    let mut bits: Vec<bool> = Vec::with_capacity(80);
    for (value, count) in [(0xc5, 8), (u64::from(a), 32), (u64::from(b), 24)] {
        bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }
    // Message times x^16 with the first sixteen bits inverted, modulo x^16 + x^12 + x^5 + 1.
    let mut rest: Vec<bool> = bits.clone();
    rest.extend([false; 16]);
    for bit in rest.iter_mut().take(16) {
        *bit = !*bit;
    }
    for at in 0..64 {
        if rest[at] {
            for term in [0, 4, 11, 16] {
                rest[at + term] = !rest[at + term];
            }
        }
    }
    bits.extend(&rest[64..]);
    bits
}

fn draw_strip(picture: &mut Grey, says: (u32, u32)) {
    let cell = picture.width as f64 / 40.0;
    let side = cell.round() as usize;
    let bits = bits_of(says);
    for row in 0..2 {
        let top = picture.height - (2 - row) * side;
        for y in top..top + side {
            for x in 0..picture.width {
                // The cell whose edges, rounded, the pixel lies between.
                let column = ((x as f64 + 0.5) / cell) as usize;
                let column = column.min(39);
                let bit = bits[row * 40 + column];
                picture.data[y * picture.width + x] = if bit { 230 } else { 20 };
            }
        }
    }
}

/// To between half and twice the size, between pixels by straight lines.
fn scaled(picture: &Grey, chance: &mut Chance) -> Grey {
    let factor = chance.between(0.5, 2.0);
    let width = ((picture.width as f64 * factor) as usize).max(160) / 2 * 2;
    let height = (picture.height as f64 * width as f64 / picture.width as f64) as usize / 2 * 2;
    let mut data = Vec::with_capacity(width * height);
    let place = |at: usize, from: usize, to: usize| {
        let exact = (at as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let low = exact.floor().clamp(0.0, from as f64 - 1.0);
        (
            (low as usize),
            (low as usize + 1).min(from - 1),
            (exact - low).clamp(0.0, 1.0),
        )
    };
    for y in 0..height {
        let (y0, y1, v) = place(y, picture.height, height);
        for x in 0..width {
            let (x0, x1, u) = place(x, picture.width, width);
            let at = |x: usize, y: usize| f64::from(picture.data[y * picture.width + x]);
            let top = at(x0, y0) * (1.0 - u) + at(x1, y0) * u;
            let bottom = at(x0, y1) * (1.0 - u) + at(x1, y1) * u;
            data.push((top * (1.0 - v) + bottom * v).round() as u8);
        }
    }
    Grey {
        width,
        height,
        data,
    }
}

/// The mean of a square around each pixel, of up to half a cell's side.
pub(super) fn blurred(picture: &Grey, chance: &mut Chance) -> Grey {
    let cell = picture.width as f64 / 40.0;
    let reach = (chance.between(0.05, 0.25) * cell).round().max(1.0) as isize;
    let (width, height) = (picture.width as isize, picture.height as isize);
    let pass = |data: &[u8], (dx, dy): (isize, isize)| -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len());
        for y in 0..height {
            for x in 0..width {
                let sum: u32 = (-reach..=reach)
                    .map(|by| {
                        let at_x = (x + by * dx).clamp(0, width - 1);
                        let at_y = (y + by * dy).clamp(0, height - 1);
                        u32::from(data[(at_y * width + at_x) as usize])
                    })
                    .sum();
                out.push((sum / (2 * reach as u32 + 1)) as u8);
            }
        }
        out
    };
    let data = pass(&pass(&picture.data, (1, 0)), (0, 1));
    Grey {
        data,
        ..picture.clone()
    }
}

pub(super) fn noisy(mut picture: Grey, chance: &mut Chance, most: f64) -> Grey {
    let sd = chance.between(3.0, most);
    for value in &mut picture.data {
        *value = (f64::from(*value) + sd * chance.normal()).clamp(0.0, 255.0) as u8;
    }
    picture
}

/// A rectangle over at least three cells of the strip, of one grey or of noise.
fn covered(mut picture: Grey, chance: &mut Chance) -> Grey {
    let cell = picture.width / 40;
    let wide = cell * (3 + chance.below(30));
    let left = chance.below(picture.width - wide);
    let high = cell * 2 + chance.below(picture.height / 3);
    let grey = chance.between(0.0, 255.0);
    let is_noise = chance.share() < 0.5;
    for y in picture.height - high..picture.height {
        for x in left..left + wide {
            let value = if is_noise {
                chance.between(0.0, 255.0)
            } else {
                grey
            };
            picture.data[y * picture.width + x] = value as u8;
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::code_strip::{Place, Plane, Strip};

    fn read(picture: &Grey) -> Option<Strip> {
        let plane = Plane {
            data: &picture.data,
            stride: picture.width,
            width: picture.width,
            height: picture.height,
        };
        Strip::read(Place::Bottom, plane)
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        // The same division over "123456789" has to give 0x29b1; here over what the strip has: 64 bits of which the first 8 are 0xc5.
        let bits = bits_of((0x0102_0304, 0x0005_0607));
        let crc = bits[64..]
            .iter()
            .fold(0_u16, |crc, bit| crc << 1 | u16::from(*bit));
        // By Python's binascii.crc_hqx(bytes.fromhex("c501020304050607"), 0xffff).
        assert_eq!(crc, 0x5462, "{crc:#06x}");
    }

    #[test]
    fn pictures_are_what_they_say() {
        for number in 0..64 {
            let Spoilt {
                picture,
                damage,
                says,
            } = picture(number);
            assert_eq!(picture.data.len(), picture.width * picture.height);
            let strip = read(&picture).map(|strip| (strip.a, strip.b));
            if damage == Damage::None {
                assert_eq!(strip, says, "{number}");
            }
            assert!(strip.is_none() || strip == says, "{number}: {damage:?}");
            assert_eq!(says.is_none(), damage == Damage::NoCode);
        }
    }

    #[test]
    fn pictures_that_lead_to_another() {
        let last = picture(4);
        let says = last.says.unwrap();
        let before: Vec<Grey> = leading_to(&last.picture, says, 3).collect();
        assert_eq!(before.len(), 3);
        let strip = read(&before[2]).unwrap();
        assert_eq!((strip.a, strip.b), (says.0.wrapping_sub(333), says.1 - 1));
        let row = |picture: &Grey, from: usize| picture.data[from..from + 100].to_vec();
        assert_eq!(row(&before[2], 3), row(&last.picture, 0));
        assert_eq!(row(&before[0], 9), row(&last.picture, 0));
    }

    #[test]
    fn the_same_number_is_the_same_picture() {
        assert_eq!(picture(7).picture.data, picture(7).picture.data);
        assert_ne!(picture(8).picture.data, picture(16).picture.data);
    }
}
