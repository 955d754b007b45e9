//! Who may publish and watch.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use door::TOKEN_BYTES_MIN;

use super::{NameError, StreamName};

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Nobody.
    Closed,
    /// Whoever has one of these.
    Tokens(Vec<Token>),
}

/// A secret, for one stream or for all.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The only stream that it is good for.
    stream: Option<StreamName>,
    secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?}, …)", self.stream)
    }
}

/// Why a file of tokens is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It has no token.
    #[error("{path} has no token")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A token that can be guessed.
    #[error("{path}:{line}: a token must have {TOKEN_BYTES_MIN} characters or more")]
    Short {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
    },
    /// Not `TOKEN` or `NAME TOKEN`.
    #[error("{path}:{line}: expected TOKEN, or NAME TOKEN for the stream NAME alone")]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
    },
    /// The name is none.
    #[error("{path}:{line}")]
    Name {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// What is wrong with it.
        source: NameError,
    },
}

impl Access {
    /// Reads tokens: a line `TOKEN` for all streams, or `NAME TOKEN` for one; empty lines and `# …` are left out.
    ///
    /// # Errors
    /// The file cannot be read, or a line is neither.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = fs::read_to_string(path).map_err(|source| TokenError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut tokens = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tokens.push(Token::parse(line, path, at + 1)?);
            }
        }
        if tokens.is_empty() {
            let path = path.to_owned();
            return Err(TokenError::Empty { path });
        }
        Ok(Self::Tokens(tokens))
    }

    /// Whether `given` opens `stream`; `None`: whether it opens what belongs to no stream in particular.
    pub(super) fn allows(&self, given: Option<&str>, stream: Option<&StreamName>) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::Tokens(tokens) => given.is_some_and(|given| {
                // All are compared, so that the time tells nothing.
                tokens.iter().fold(false, |found, token| {
                    let is_for = token.stream.is_none() || token.stream.as_ref() == stream;
                    found | (token.is(given) & is_for)
                })
            }),
        }
    }
}

impl Token {
    fn parse(line: &str, path: &Path, number: usize) -> Result<Self, TokenError> {
        let place = || (path.to_owned(), number);
        let mut words = line.split_whitespace();
        let (stream, secret) = match (words.next(), words.next(), words.next()) {
            (Some(secret), None, _) => (None, secret),
            (Some(name), Some(secret), None) => {
                let name = name.parse().map_err(|source| {
                    let (path, line) = place();
                    TokenError::Name { path, line, source }
                })?;
                (Some(name), secret)
            }
            _ => {
                let (path, line) = place();
                return Err(TokenError::Line { path, line });
            }
        };
        if secret.len() < TOKEN_BYTES_MIN {
            let (path, line) = place();
            return Err(TokenError::Short { path, line });
        }
        Ok(Self {
            stream,
            secret: secret.to_owned(),
        })
    }

    fn is(&self, given: &str) -> bool {
        door::same(self.secret.as_bytes(), given.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "0123456789abcdef";
    const SECOND: &str = "fedcba9876543210";

    fn read(text: &str) -> Result<Access, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Access::read(file.path())
    }

    #[test]
    fn a_token_opens_its_stream_or_all() {
        let access = read(&format!("# for robots\n\n{FIRST}\nrobot {SECOND}\n")).unwrap();
        let (robot, other) = ("robot".parse().unwrap(), "other".parse().unwrap());
        for stream in [Some(&robot), Some(&other), None] {
            assert!(access.allows(Some(FIRST), stream));
            assert_eq!(access.allows(Some(SECOND), stream), stream == Some(&robot));
            assert!(!access.allows(Some("0123456789abcdeF"), stream));
            assert!(!access.allows(Some(""), stream));
            assert!(!access.allows(None, stream));
            assert!(Access::Open.allows(None, stream));
            assert!(!Access::Closed.allows(Some(FIRST), stream));
        }
        assert!(!format!("{access:?}").contains(SECOND));
    }

    fn check(text: &str, expected: &str) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn empty() {
        check("# nothing\n", "has no token");
    }

    #[test]
    fn short() {
        check("\nabc\n", ":2: a token must have 16");
    }

    #[test]
    fn line() {
        check("a b c\n", ":1: expected TOKEN");
    }

    #[test]
    fn name() {
        let error = read(&format!("a.b {FIRST}")).unwrap_err();
        assert!(matches!(error, TokenError::Name { line: 1, .. }));
    }

    #[test]
    fn unreadable() {
        let error = Access::read(Path::new("/no/such/tokens")).unwrap_err();
        assert!(matches!(error, TokenError::Read { .. }));
    }
}
