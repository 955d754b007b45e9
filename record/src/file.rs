//! Files read and written whole or row by row; every refusal names the file and, where there is one, the line.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

use crate::differences;

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot {tried} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ….
        tried: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content is not what the format says.
    #[error("{}:{line}: {text}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        text: String,
    },
    /// A value of ours could not be written as the format.
    #[error("cannot encode {}: {text}", path.display())]
    Encode {
        /// The file that it was meant for.
        path: PathBuf,
        /// What the encoder said.
        text: String,
    },
}

impl RecordError {
    /// The content of `path` is wrong at `line`.
    pub fn content(path: &Path, line: u64, text: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }

    fn io(tried: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            tried,
            path: path.to_owned(),
            source,
        }
    }
}

/// All rows of a CSV file whose header line names the fields of `Row`. Further columns are allowed. Where the file is absent, a packed one
/// with `.gz` behind its name is read ([`pack`]).
///
/// # Errors
/// The file cannot be opened, a column is missing, or a line does not hold a row.
pub fn read_csv<Row: DeserializeOwned>(path: &Path) -> Result<Vec<Row>, RecordError> {
    read_csv_with(path, &[])
}

/// As [`read_csv`], but the columns of `optional`, whose fields are options, may be missing.
///
/// # Errors
/// As [`read_csv`].
pub fn read_csv_with<Row: DeserializeOwned>(
    path: &Path,
    optional: &[&str],
) -> Result<Vec<Row>, RecordError> {
    let mut reader = csv::Reader::from_reader(open_or_unpack(path)?);
    let header = reader.headers().map_err(|error| csv_error(path, &error))?;
    // Serde takes an absent column of an optional field for an empty one: a misspelt header would read as "not measured".
    if let Some(missing) = field_names::<Row>()
        .iter()
        .find(|name| !optional.contains(name) && !header.iter().any(|column| column == **name))
    {
        return Err(RecordError::content(
            path,
            1,
            format!("the header line has no column `{missing}`"),
        ));
    }
    reader
        .deserialize()
        .map(|row| row.map_err(|error| csv_error(path, &error)))
        .collect()
}

/// A file, or the packed one that is there instead.
fn open_or_unpack(path: &Path) -> Result<Box<dyn Read>, RecordError> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => match File::open(packed(path)) {
            Ok(file) => {
                let mut bytes = Vec::new();
                GzDecoder::new(BufReader::new(file))
                    .read_to_end(&mut bytes)
                    .map_err(|error| RecordError::io("unpack", &packed(path), error))?;
                let bytes = match String::from_utf8(bytes) {
                    Ok(text) => differences::undone(text).into_bytes(),
                    Err(error) => error.into_bytes(),
                };
                Ok(Box::new(std::io::Cursor::new(bytes)))
            }
            // What is said is that the file itself is not there.
            Err(_) => Err(RecordError::io("read", path, error)),
        },
    }
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}

/// Puts a packed CSV file ([`differences`], gzip) with `.gz` behind its name in the place of the file.
///
/// # Errors
/// When it cannot be read, written or removed; then the file itself is still there.
pub fn pack(path: &Path) -> Result<(), RecordError> {
    pack_to(path, path)?;
    std::fs::remove_file(path).map_err(|error| RecordError::io("remove", path, error))
}

/// Packs a CSV file, or one that is packed already, to what stands for `target` packed.
///
/// # Errors
/// When it cannot be read or written.
pub fn pack_to(path: &Path, target: &Path) -> Result<(), RecordError> {
    let mut text = String::new();
    open_or_unpack(path)?
        .read_to_string(&mut text)
        .map_err(|error| RecordError::io("read", path, error))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let packed_text = encoder
        .write_all(differences::of(&text).as_bytes())
        .and_then(|()| encoder.finish());
    let packed_text = packed_text.map_err(|error| RecordError::io("pack", path, error))?;
    write_atomically(&packed(target), &packed_text)
}

fn csv_error(path: &Path, error: &csv::Error) -> RecordError {
    let line = error.position().map_or(1, csv::Position::line);
    let text = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} fields where the header line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    RecordError::content(path, line, text)
}

/// Writes a CSV file row by row; the header line stands there from the start, so a file without rows is valid.
#[derive(Debug)]
pub struct CsvWriter<Row> {
    path: PathBuf,
    writer: csv::Writer<BufWriter<File>>,
    row: PhantomData<fn(Row)>,
}

impl<Row: Serialize + DeserializeOwned> CsvWriter<Row> {
    /// Creates or empties the file and writes the header line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|error| RecordError::io("create", path, error))?;
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(BufWriter::new(file));
        writer
            .write_record(field_names::<Row>())
            .map_err(|error| encode_error(path, error))?;
        let mut this = Self {
            path: path.to_owned(),
            writer,
            row: PhantomData,
        };
        this.flush()?;
        Ok(this)
    }

    /// Appends a row; it may stay in memory until [`Self::flush`].
    ///
    /// # Errors
    /// The row cannot be written.
    pub fn write(&mut self, row: &Row) -> Result<(), RecordError> {
        self.writer
            .serialize(row)
            .map_err(|error| encode_error(&self.path, error))
    }

    /// Hands all rows to the operating system.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.writer
            .flush()
            .map_err(|error| RecordError::io("write", &self.path, error))
    }
}

fn encode_error(path: &Path, error: csv::Error) -> RecordError {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => RecordError::io("write", path, source),
        _ => RecordError::Encode {
            path: path.to_owned(),
            text,
        },
    }
}

/// Writes a CSV file as a whole, atomically.
///
/// # Errors
/// A row cannot be encoded or the file not written.
pub fn write_csv<Row: Serialize + DeserializeOwned>(
    path: &Path,
    rows: &[Row],
) -> Result<(), RecordError> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    writer
        .write_record(field_names::<Row>())
        .map_err(|error| encode_error(path, error))?;
    for row in rows {
        writer
            .serialize(row)
            .map_err(|error| encode_error(path, error))?;
    }
    let bytes = writer.into_inner().map_err(|error| RecordError::Encode {
        path: path.to_owned(),
        text: error.to_string(),
    })?;
    write_atomically(path, &bytes)
}

/// Reads a JSON document.
///
/// # Errors
/// The file cannot be read or does not hold a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = std::fs::read(path).map_err(|error| RecordError::io("read", path, error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RecordError::content(path, error.line() as u64, error.to_string()))
}

/// Writes a JSON document, indented, atomically.
///
/// # Errors
/// The value cannot be encoded or the file not written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| RecordError::Encode {
        path: path.to_owned(),
        text: error.to_string(),
    })?;
    bytes.push(b'\n');
    write_atomically(path, &bytes)
}

/// Replaces a file so that a reader, or a run killed half-way, sees the old or the new content whole.
///
/// # Errors
/// The file beside it cannot be written or not be renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| RecordError::io("write", &part, error))?;
    std::fs::rename(&part, path).map_err(|error| RecordError::io("rename to", path, error))
}

/// The field names of a row type, in order, as serde knows them.
fn field_names<Row: DeserializeOwned>() -> &'static [&'static str] {
    struct Names<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(Self::Error::custom("only the names are wanted"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // The refusal is how the visit ends; the names were taken on the way.
    let _ = Row::deserialize(Names(&mut names));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::raw::{FrameRow, FrameStatus, MigrationRow, PacketRow};

    fn check_refused(content: &[u8], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packets.csv");
        std::fs::write(&path, content).unwrap();
        let error = read_csv::<PacketRow>(&path).unwrap_err().to_string();
        let (_, said) = error.split_once("packets.csv:").unwrap();
        assert!(
            said.starts_with(expected),
            "{said:?} does not start with {expected:?}"
        );
    }

    #[test]
    fn packed_is_read_like_plain_and_cut_off_is_an_error() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        struct Row {
            number: u32,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let rows: Vec<Row> = (0..5_000).map(|number| Row { number }).collect();
        write_csv(&path, &rows).unwrap();
        pack(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(read_csv::<Row>(&path).unwrap(), rows);
        let packed = folder.path().join("rows.csv.gz");
        let bytes = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read_csv::<Row>(&path).is_err(), "nothing is lost unseen");
        std::fs::remove_file(&packed).unwrap();
        let absent = read_csv::<Row>(&path).unwrap_err().to_string();
        assert!(absent.ends_with("rows.csv"), "{absent}");
    }

    #[test]
    fn a_bad_line_is_named() {
        check_refused(b"", "1: the header line has no column `received_us`");
        check_refused(
            b"received_us,bytes\n1,2\n",
            "1: the header line has no column `frame_starts`",
        );
        check_refused(
            b"received_us,bytes,frame_starts\n1,2,3\n1,two,3\n",
            "3: field 1: invalid digit",
        );
        check_refused(
            b"received_us,bytes,frame_starts\n1,2\n",
            "2: 2 fields where the header line has 3",
        );
        check_refused(
            b"received_us,bytes,frame_starts\n1,2,\xff\n",
            "2: not UTF-8",
        );
        check_refused(
            b"received_us,bytes,frame_starts\n-1,2,3\n",
            "2: field 0: invalid digit",
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_csv::<PacketRow>(Path::new("nowhere/packets.csv")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read nowhere/packets.csv");
    }

    #[test]
    fn rows_come_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames.csv");
        let shown = FrameRow {
            frame: Some(7),
            captured_us: Some(Timestamp(1_000)),
            shown_us: Timestamp(81_234),
            delay_ms: Some(80.234),
            status: FrameStatus::Damaged,
            boot: Some("00ab12cd".into()),
            runner: Some(1),
        };
        let unreadable = FrameRow {
            frame: None,
            captured_us: None,
            delay_ms: None,
            status: FrameStatus::Unreadable,
            boot: None,
            runner: None,
            ..shown.clone()
        };
        let mut writer = CsvWriter::create(&path).unwrap();
        writer.write(&shown).unwrap();
        writer.write(&unreadable).unwrap();
        writer.flush().unwrap();
        let rows = vec![shown, unreadable];
        assert_eq!(read_csv::<FrameRow>(&path).unwrap(), rows);
        let live = std::fs::read(&path).unwrap();
        write_csv(&path, &rows).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), live);
    }

    #[test]
    fn a_file_without_rows_has_a_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("migration.csv");
        CsvWriter::<MigrationRow>::create(&path).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("policy,mode,source,target,decided_us,")
        );
        assert_eq!(read_csv::<MigrationRow>(&path).unwrap(), []);
    }

    #[test]
    fn an_atomic_write_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        write_json(&path, &[1, 2]).unwrap();
        write_json(&path, &[3]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), [3]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, with_header: bool) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("frames.csv");
            let mut content = Vec::new();
            if with_header {
                content.extend_from_slice(b"frame,captured_us,shown_us,delay_ms,status,boot,runner\n");
            }
            content.extend(bytes);
            std::fs::write(&path, content).unwrap();
            let _ = read_csv::<FrameRow>(&path);
        }
    }
}
