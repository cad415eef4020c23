//! Reads the input in blocks, unpacked.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Stdin};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::failure::{Failure, Result, bad_request, escape, escape_path, path_failure};
use crate::options::STANDARD_STREAM;

/// The size of one read in front of a decompressor.
const COMPRESSED_BLOCK_BYTES: usize = 64 << 10;
/// Frames that ask for more memory than we promise to use are refused.
const MAX_ZSTD_WINDOW_BYTES: u64 = 32 << 20;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How the input is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Decides by the magic bytes.
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            _ if head.starts_with(&ZSTD_MAGIC) => Self::Zstd,
            _ => Self::None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The text of one input.
pub struct Source {
    path: PathBuf,
    compression: Compression,
    text: Text,
    file_error: FileError,
}

/// What the file itself failed with, to tell it from corrupt data.
type FileError = Rc<RefCell<Option<io::Error>>>;

type Packed = io::Chain<io::Cursor<Vec<u8>>, BufReader<RawFile>>;

enum Text {
    Plain(io::Chain<io::Cursor<Vec<u8>>, RawFile>),
    Gzip(Box<MultiGzDecoder<Packed>>),
    Zstd(Box<ZstdReader<Packed>>),
}

impl Source {
    /// Starts at the first byte of the file.
    pub fn open(path: &Path, wanted: Option<Compression>) -> Result<Self> {
        let file_error = FileError::default();
        let failed = |error: io::Error| path_failure(path, &error);
        let mut file = RawFile {
            stream: Stream::open(path).map_err(failed)?,
            error: Rc::clone(&file_error),
        };
        // The magic bytes are read here and put in front of the rest again.
        let mut head = Vec::with_capacity(4);
        let got = file.by_ref().take(4).read_to_end(&mut head);
        if let (Err(_), Some(error)) = (got, file_error.take()) {
            return Err(failed(error));
        }
        let compression = wanted.unwrap_or_else(|| Compression::of(&head));
        let head = io::Cursor::new(head);
        let packed = |file| BufReader::with_capacity(COMPRESSED_BLOCK_BYTES, file);
        let text = match compression {
            Compression::None => Text::Plain(head.chain(file)),
            Compression::Gzip => {
                Text::Gzip(Box::new(MultiGzDecoder::new(head.chain(packed(file)))))
            }
            Compression::Zstd => Text::Zstd(Box::new(ZstdReader::new(head.chain(packed(file))))),
        };
        Ok(Self {
            path: path.to_owned(),
            compression,
            text,
            file_error,
        })
    }

    /// Fills the whole block unless the input ends; a count below its length says that it did.
    pub fn read(&mut self, block: &mut [u8]) -> Result<usize> {
        let mut count = 0;
        while count < block.len() {
            let rest = &mut block[count..];
            let got = match &mut self.text {
                Text::Plain(text) => text.read(rest),
                Text::Gzip(text) => text.read(rest),
                Text::Zstd(text) => text.read(rest),
            };
            match got {
                Ok(0) => break,
                Ok(got) => count += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(&error)),
            }
        }
        Ok(count)
    }

    /// Says whose fault a read error is: the file's, or that of the data in it.
    fn explain(&self, error: &io::Error) -> Box<Failure> {
        if let Some(file_error) = &*self.file_error.borrow() {
            return path_failure(&self.path, file_error);
        }
        let (path, kind) = (escape_path(&self.path), self.compression.name());
        if is_truncation(error) {
            return bad_request(format!("{path}: truncated {kind} data"));
        }
        let reason = escape(error.to_string().as_bytes());
        bad_request(format!("{path}: corrupt {kind} data: {reason}"))
    }
}

/// Looks for an unexpected end behind an error and all its causes.
fn is_truncation(error: &io::Error) -> bool {
    let ended = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    let mut cause = error.get_ref().map(|inner| inner as &dyn std::error::Error);
    while let Some(inner) = cause {
        if inner.downcast_ref().is_some_and(ended) {
            return true;
        }
        cause = inner.source();
    }
    ended(error)
}

/// The file, or standard input. Its errors are remembered.
struct RawFile {
    stream: Stream,
    error: FileError,
}

enum Stream {
    File(File),
    Standard(Stdin),
}

impl Stream {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == STANDARD_STREAM {
            return Ok(Self::Standard(io::stdin()));
        }
        File::open(path).map(Self::File)
    }
}

impl Read for RawFile {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let got = match &mut self.stream {
            Stream::File(file) => file.read(block),
            Stream::Standard(stdin) => stdin.read(block),
        };
        got.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                *self.error.borrow_mut() = Some(error);
            }
            kind.into()
        })
    }
}

/// Reads through all frames of a zstd stream. The decoder of the crate knows one
/// frame, and leaves its checksum to the caller.
struct ZstdReader<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
    frame_bytes: u64,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_ZSTD_WINDOW_BYTES);
        Self {
            input,
            decoder,
            in_frame: false,
            frame_bytes: 0,
        }
    }

    /// Starts the next frame; false when the input ends here.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            let mut head = [0; 5];
            self.input.read_exact(&mut head)?;
            // The crate lets a reserved bit of the frame header pass; the format does not.
            if head.starts_with(&ZSTD_MAGIC) && head[4] & 0x08 != 0 {
                return Err(io::Error::other("reserved bit set in frame header"));
            }
            match self.decoder.reset(head.chain(&mut self.input)) {
                Ok(()) => {
                    (self.in_frame, self.frame_bytes) = (true, 0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = self.input.by_ref().take(length.into());
                    if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Holds a frame that has been read to the end against what it says of itself.
    fn check_frame(&self) -> io::Result<()> {
        let wanted = self.decoder.get_checksum_from_data();
        if wanted.is_some() && wanted != self.decoder.get_calculated_checksum() {
            return Err(io::Error::other("wrong checksum"));
        }
        // The crate gives 0 for an unknown size.
        let size = self.decoder.content_size();
        if size != 0 && size != self.frame_bytes {
            return Err(io::Error::other("wrong content size"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        while self.in_frame || self.next_frame()? {
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder
                    .decode_blocks(&mut self.input, one)
                    .map_err(io::Error::other)?;
            }
            let count = self.decoder.read(block)?;
            self.frame_bytes += count as u64;
            if count > 0 {
                return Ok(count);
            }
            self.check_frame()?;
            self.in_frame = false;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"a,b\n1,2\n";

    fn zstd_frame() -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(PLAIN, level)
    }

    fn read_zstd(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        ZstdReader::new(packed).read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn frames_are_read_through_and_skippable_ones_passed_over() {
        let frame = zstd_frame();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let packed = [&frame[..], &skippable, &frame, &skippable].concat();
        assert_eq!(read_zstd(&packed).unwrap(), [PLAIN, PLAIN].concat());
        let cut_skippable = &packed[..packed.len() - 1];
        assert!(is_truncation(&read_zstd(cut_skippable).unwrap_err()));
    }

    #[test]
    fn cuts_are_truncation_and_wrong_bits_never_make_other_text() {
        let frame = zstd_frame();
        for length in 1..frame.len() {
            assert!(is_truncation(&read_zstd(&frame[..length]).unwrap_err()));
        }
        for bit in 0..frame.len() * 8 {
            let mut wrong = frame.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = read_zstd(&wrong) {
                assert_eq!(
                    text, PLAIN,
                    "a bit without meaning, such as that of the window"
                );
            }
        }
    }

    #[test]
    fn magic_bytes_decide() {
        assert_eq!(Compression::of(b"\x1f\x8b\x08"), Compression::Gzip);
        assert_eq!(Compression::of(b"\x28\xb5\x2f\xfd"), Compression::Zstd);
        assert_eq!(Compression::of(b"\x28\xb5\x2f"), Compression::None);
        assert_eq!(Compression::of(b""), Compression::None);
    }
}
