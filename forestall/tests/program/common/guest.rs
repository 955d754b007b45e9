//! A guest in 512 bytes: a boot sector that writes to memory all the time, knows when any of it is lost, and counts.
//!
//! ```text
//!   again: for each 4 KiB page from 0x10000 to 0x8ffff
//!              page[0] == count?  else fault = 1
//!              page[0] = count + 1
//!          count += 1
//!          booted from a hard disk? write count and fault to its sector 1; not written: fault = 2
//! ```

use std::fs;
use std::path::Path;

use serde_json::json;

use super::machines::Qemus;

/// Where `count` is in the guest's memory; `fault` follows.
const COUNT_AT: u32 = 0x600;
/// Bytes of a disk's sector.
pub(crate) const SECTOR: usize = 512;

/// The program; 16-bit code at 0x7c00.
const CODE: &[u8] = &[
    0xfa, // cli
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, // ds = ss = 0
    0xbc, 0x00, 0x7c, // sp = 0x7c00
    0x88, 0x16, 0x08, 0x06, // [0x608] = dl, the disk it was booted from
    0x66, 0x31, 0xc0, 0x66, 0xa3, 0x00, 0x06, // [0x600] = 0
    0x66, 0xa3, 0x04, 0x06, // [0x604] = 0
    0xbb, 0x00, 0x10, // clear: bx = 0x1000
    0x8e, 0xc3, 0x26, 0x66, 0xa3, 0x00, 0x00, // page bx: [0] = 0
    0x81, 0xc3, 0x00, 0x01, 0x81, 0xfb, 0x00, 0x90, 0x72, 0xef, // next page, to 0x9000
    0x66, 0xa1, 0x00, 0x06, // again: eax = count
    0xbb, 0x00, 0x10, // bx = 0x1000
    0x8e, 0xc3, 0x26, 0x66, 0x39, 0x06, 0x00, 0x00, // page bx: is [0] count?
    0x74, 0x05, 0xc6, 0x06, 0x04, 0x06, 0x01, // else fault = 1
    0x66, 0x40, 0x26, 0x66, 0xa3, 0x00, 0x00, 0x66, 0x48, // [0] = count + 1
    0x81, 0xc3, 0x00, 0x01, 0x81, 0xfb, 0x00, 0x90, 0x72, 0xde, // next page, to 0x9000
    0x66, 0xff, 0x06, 0x00, 0x06, // count += 1
    0xf6, 0x06, 0x08, 0x06, 0x80, 0x74, 0xcb, // from a floppy disk: again
    0x31, 0xc0, 0x8e, 0xc0, // es = 0
    0xb8, 0x01, 0x03, 0xbb, 0x00, 0x06, // write one sector from 0x600
    0xb9, 0x02, 0x00, 0xb6, 0x00, 0x8a, 0x16, 0x08, 0x06, // to the second of the first track
    0xfb, 0xcd, 0x13, 0xfa, // the BIOS does so
    0x73, 0xb2, // again
    0xc6, 0x06, 0x04, 0x06, 0x02, 0xeb, 0xab, // else fault = 2, again
];

/// Makes an image from which it boots.
pub(crate) fn write_image(path: &Path) {
    let mut image = vec![0; 1 << 20];
    image[..CODE.len()].copy_from_slice(CODE);
    image[SECTOR - 2..SECTOR].copy_from_slice(&[0x55, 0xaa]);
    fs::write(path, image).unwrap();
}

/// How often the guest on a host has been through, and what was wrong; `None` where there is none.
pub(crate) fn count(qemus: &Qemus, host: usize) -> Option<(u32, u32)> {
    let line = json!({ "command-line": format!("xp /2wx {COUNT_AT:#x}") });
    let said = qemus.ask(host, "human-monitor-command", &line);
    // "0000000000000600: 0x0000002a 0x00000000"
    let mut words = said.as_str()?.split_whitespace().skip(1);
    let mut word = || u32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    Some((word()?, word()?))
}

/// What it has written to its disk.
pub(crate) fn count_on_disk(image: &Path) -> u32 {
    let bytes = fs::read(image).unwrap();
    u32::from_le_bytes(bytes[SECTOR..SECTOR + 4].try_into().unwrap())
}
