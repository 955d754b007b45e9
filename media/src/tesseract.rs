//! The digits of a clock, read by Tesseract as in the thesis (3.1.1).

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Digits are white, what is around them is dark.
const DIGIT_LUMA_MIN: u8 = 170;

/// A line of luma in black and white, as Tesseract likes it: dark digits.
pub(crate) fn binarised(luma: impl Iterator<Item = u8>) -> Vec<u8> {
    luma.map(|luma| if luma > DIGIT_LUMA_MIN { 0 } else { 255 })
        .collect()
}

/// An error where Tesseract cannot be started.
pub(crate) fn is_there() -> io::Result<()> {
    Command::new("tesseract")
        .arg("--version")
        .output()
        .map(drop)
}

/// The digits, colons and points of a line, rows of `width` pixels from the top. `mode` is Tesseract's page segmentation mode: 7 takes the
/// pixels for a line of words, 13 for a line as it is.
///
/// # Errors
/// Tesseract is not there.
pub(crate) fn read_line(width: usize, pixels: &[u8], mode: u8) -> io::Result<String> {
    let mut child = Command::new("tesseract")
        .args(["-", "-", "--psm", &mode.to_string(), "-c"])
        .arg("tessedit_char_whitelist=0123456789:.")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let height = pixels.len() / width.max(1);
        let head = format!("P5 {width} {height} 255\n");
        stdin.write_all(head.as_bytes())?;
        stdin.write_all(pixels)?;
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
