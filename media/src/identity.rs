//! Where the function runs: the guest it is in, and the virtual machine process that runs the guest now.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wire::code_strip::NUMBER_WRAP;

use crate::MediaError;

/// Longer files are none of these.
const CONTENT_BYTES_MAX: usize = 64;

/// Files that say where the function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Boot id, a UUID: `/proc/sys/kernel/random/boot_id` in the guest. A restart changes it, a move does not.
    pub boot_id: PathBuf,
    /// Decimal number of the virtual machine process, below 2^24. A move changes it.
    pub runner: PathBuf,
}

/// Follows [`IdentityFiles`].
#[derive(Debug)]
pub struct Identity {
    boot: u32,
    runner: u32,
    runner_path: PathBuf,
    runner_file: File,
}

impl Identity {
    /// Reads both files.
    ///
    /// # Errors
    /// One cannot be read, or does not hold what it should.
    pub fn open(files: &IdentityFiles) -> Result<Self, MediaError> {
        let path = &files.boot_id;
        let text = fs::read_to_string(path).map_err(|source| MediaError::Read {
            path: path.clone(),
            source,
        })?;
        let boot = text
            .get(..8)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let boot = boot.ok_or_else(|| content_error(path, "a boot id", &text))?;
        let runner_path = files.runner.clone();
        let failed = |source| MediaError::Read {
            path: runner_path.clone(),
            source,
        };
        let runner_file = File::open(&runner_path).map_err(failed)?;
        let mut text = [0; CONTENT_BYTES_MAX];
        let length = runner_file.read_at(&mut text, 0).map_err(failed)?;
        let text = String::from_utf8_lossy(&text[..length]);
        let runner = parse_runner(&text)
            .ok_or_else(|| content_error(&runner_path, "a number below 2^24", &text))?;
        Ok(Self {
            boot,
            runner,
            runner_path,
            runner_file,
        })
    }

    /// First 32 bits of the boot id.
    #[must_use]
    pub fn boot(&self) -> u32 {
        self.boot
    }

    /// The runner's number now. The file is read again: reading a sysfs file from its start asks the kernel anew, and costs
    /// one system call. While it cannot be read, the number stays.
    pub fn runner(&mut self) -> u32 {
        let mut text = [0; CONTENT_BYTES_MAX];
        let number = self
            .runner_file
            .read_at(&mut text, 0)
            .ok()
            .and_then(|length| {
                text.get(..length)
                    .and_then(|text| std::str::from_utf8(text).ok())
                    .and_then(parse_runner)
            });
        match number {
            Some(number) => self.runner = number,
            // Replaced by another file, perhaps.
            None => {
                if let Ok(file) = File::open(&self.runner_path) {
                    self.runner_file = file;
                }
            }
        }
        self.runner
    }
}

fn parse_runner(text: &str) -> Option<u32> {
    let number = text.trim_end_matches(['\0', '\n', ' ']).parse().ok()?;
    (number < NUMBER_WRAP).then_some(number)
}

fn content_error(path: &Path, expected: &'static str, text: &str) -> MediaError {
    let found = text.chars().take(CONTENT_BYTES_MAX).collect();
    MediaError::Content {
        path: path.to_owned(),
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_read_again_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let files = IdentityFiles {
            boot_id: dir.path().join("boot"),
            runner: dir.path().join("runner"),
        };
        fs::write(&files.boot_id, "1a2b3c4d-0000-4000-8000-000000000000\n").unwrap();
        fs::write(&files.runner, "1\n").unwrap();
        let mut identity = Identity::open(&files).unwrap();
        assert_eq!((identity.boot(), identity.runner()), (0x1a2b_3c4d, 1));
        fs::write(&files.runner, "2").unwrap();
        assert_eq!(identity.runner(), 2);
        fs::write(&files.runner, "").unwrap();
        assert_eq!(identity.runner(), 2, "stays while the file is empty");
        fs::remove_file(&files.runner).unwrap();
        fs::write(&files.runner, "3\0\n").unwrap();
        identity.runner();
        assert_eq!(identity.runner(), 3, "follows a replaced file");
        fs::write(&files.runner, "many").unwrap();
        let error = Identity::open(&files).unwrap_err().to_string();
        assert!(error.contains("a number below 2^24: 'many'"), "{error}");
    }
}
