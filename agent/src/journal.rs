//! An append-only file of checksummed records, made durable before anything that depends on them is said.
//!
//! ```text
//! file   = magic (8 bytes) frame*
//! frame  = length u32 le | crc32 of the payload u32 le | payload      one append, one fsync
//! payload = (length u32 le | record)*
//! ```
//!
//! A frame is what one fsync covers: a crash can tear the last one only, in any order of its blocks, and a torn
//! last frame is cut. A damaged frame with a whole one behind it was once durable: the disk lost what others rely
//! on. The caller hears `Damaged`, and the file is kept aside. A failed write or fsync is never retried on the same file: the kernel may have dropped the
//! pages that it could not write (fsync(2), "Errors").

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ovjrnl1\n";
/// No frame is larger; a length above it is damage, not data.
const MAX_FRAME: usize = 16 << 20;
/// A compacted file is written in frames of about this size.
const COMPACT_FRAME: usize = 1 << 20;

/// What a journal held when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There was none; it was made.
    New,
    /// Every record, in order; `cut` bytes of a torn tail were removed.
    Whole {
        /// The payloads.
        records: Vec<Vec<u8>>,
        /// Bytes of a torn tail that were cut.
        cut: u64,
    },
    /// A frame before the tail is damaged: the file was set aside as `kept`, and a new one begun.
    Damaged {
        /// Where the first damage lies, bytes from the beginning.
        at: u64,
        /// The old file.
        kept: PathBuf,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Journal {
    /// Opens the journal at `path`, making it if need be.
    ///
    /// # Errors
    /// The file cannot be read, written or made; nothing was changed then.
    pub fn open(path: &Path) -> io::Result<(Self, Found)> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map(|_| ())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(path, &[])?, Found::New));
            }
            Err(error) => return Err(error),
        }
        match parse(&bytes) {
            Ok((records, end)) => {
                // Fewer bytes than the magic: it was torn while it was being made.
                if end < MAGIC.len() {
                    let journal = Self::create(path, &[])?;
                    return Ok((
                        journal,
                        Found::Whole {
                            records: Vec::new(),
                            cut: bytes.len() as u64,
                        },
                    ));
                }
                let file = OpenOptions::new().append(true).open(path)?;
                let cut = (bytes.len() - end) as u64;
                if cut > 0 {
                    file.set_len(end as u64)?;
                    file.sync_all()?;
                }
                let journal = Self {
                    path: path.to_owned(),
                    file,
                    length: end as u64,
                };
                Ok((journal, Found::Whole { records, cut }))
            }
            Err(at) => {
                let kept = path.with_extension("damaged");
                fs::rename(path, &kept)?;
                Ok((Self::create(path, &[])?, Found::Damaged { at: at as u64, kept }))
            }
        }
    }

    /// The records of the journal at `path`, without changing anything; `None`: it is damaged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn peek(path: &Path) -> io::Result<Option<Vec<Vec<u8>>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(parse(&bytes).ok().map(|(records, _)| records)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// An empty journal in the place of the one at `path`, which is kept beside it.
    ///
    /// # Errors
    /// The old file is in its place, or there is none: then the journal is lost at the next start, too.
    pub fn anew(path: &Path) -> io::Result<Self> {
        match fs::rename(path, path.with_extension("lost")) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
            Ok(()) | Err(_) => Self::create(path, &[]),
        }
    }

    /// Appends `records` and returns once they are on disk.
    ///
    /// # Errors
    /// Nothing may be assumed about the file's end afterwards: the journal counts as lost.
    pub fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let bytes = frame(records);
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Replaces the file by one that holds `records` alone.
    ///
    /// # Errors
    /// The old file is still in place and whole.
    pub fn compact<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let records: Vec<&[u8]> = records.into_iter().collect();
        *self = Self::create(&self.path, &records)?;
        Ok(())
    }

    /// Puts `records`, and nothing else, in the place of the journal at `path`.
    ///
    /// # Errors
    /// The old file is still in place and whole.
    pub fn write<'a>(path: &Path, records: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let records: Vec<&[u8]> = records.into_iter().collect();
        Self::create(path, &records).map(|_| ())
    }

    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn create(path: &Path, records: &[&[u8]]) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        let mut rest = records;
        while !rest.is_empty() {
            let mut size = 0;
            let fits = rest.iter().take_while(|record| {
                size += record.len() + 4;
                size <= COMPACT_FRAME
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            bytes.extend(frame(now.iter().copied()));
            rest = later;
        }
        replace(path, &bytes)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length: bytes.len() as u64,
        })
    }
}

/// Puts `bytes` in the place of `path` so that after a crash the old or the new content is there, whole.
///
/// # Errors
/// The old content is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn frame<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for record in records {
        payload.extend((record.len() as u32).to_le_bytes());
        payload.extend(record);
    }
    let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The records and where the whole part ends, or where the damage is.
fn parse(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, usize), usize> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else {
        return if MAGIC.starts_with(bytes) {
            Ok((Vec::new(), 0))
        } else {
            Err(0)
        };
    };
    let mut records = Vec::new();
    while let Some((payload, behind)) = whole_frame(rest) {
        if !split(payload, &mut records) {
            return Err(bytes.len() - rest.len());
        }
        rest = behind;
    }
    let at = bytes.len() - rest.len();
    if (1..rest.len()).any(|from| whole_frame(&rest[from..]).is_some()) {
        Err(at)
    } else {
        Ok((records, at))
    }
}

/// The payload of the frame at the beginning of `bytes`, if it is all there and right, and what lies behind it.
fn whole_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (payload, behind) = (4..=MAX_FRAME)
        .contains(&length)
        .then(|| rest.split_at_checked(length))
        .flatten()?;
    (crc32fast::hash(payload) == u32::from_le_bytes(*crc)).then_some((payload, behind))
}

fn split(mut payload: &[u8], records: &mut Vec<Vec<u8>>) -> bool {
    while let Some((length, rest)) = payload.split_first_chunk() {
        let Some((record, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            return false;
        };
        records.push(record.to_vec());
        payload = rest;
    }
    payload.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 8;

    fn filled(folder: &Path) -> (PathBuf, Vec<Vec<u8>>) {
        let path = folder.join("journal");
        let records: Vec<Vec<u8>> = (1..6u8).map(|n| vec![n; usize::from(n) * 7]).collect();
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, Found::New);
        for record in &records {
            journal.append([record.as_slice()]).unwrap();
        }
        (path, records)
    }

    #[test]
    fn cut_short_at_any_byte_it_keeps_every_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let (path, records) = filled(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut ends = vec![MAGIC.len()];
        for record in &records {
            ends.push(ends.last().unwrap() + HEADER + 4 + record.len());
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let kept = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
            let (mut journal, found) = Journal::open(&path).unwrap();
            let Found::Whole { records: read, .. } = found else {
                panic!("cut at {length}: {found:?}")
            };
            assert_eq!(read, records[..kept], "cut at {length}");
            // And it goes on from there.
            journal.append([b"more".as_slice()]).unwrap();
            let (_, found) = Journal::open(&path).unwrap();
            let Found::Whole { records: read, cut: 0 } = found else {
                panic!("{found:?}")
            };
            assert_eq!(read.last().unwrap(), b"more");
        }
    }

    #[test]
    fn damage_before_the_tail_is_a_lost_disk_and_the_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, records) = filled(folder.path());
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - HEADER - 4 - records.last().unwrap().len();
        for at in MAGIC.len()..last {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            let (_, found) = Journal::open(&path).unwrap();
            let Found::Damaged { kept, .. } = found else {
                panic!("damage at {at} went unseen: {found:?}")
            };
            assert_eq!(fs::read(kept).unwrap(), bytes);
        }
    }

    #[test]
    fn compaction_leaves_the_new_records_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = filled(folder.path());
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.compact([b"one".as_slice()]).unwrap();
        journal.append([b"two".as_slice()]).unwrap();
        let (_, found) = Journal::open(&path).unwrap();
        assert_eq!(
            found,
            Found::Whole {
                records: vec![b"one".to_vec(), b"two".to_vec()],
                cut: 0
            }
        );
    }
}
