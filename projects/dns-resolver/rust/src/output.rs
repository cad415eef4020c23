//! Where the answers of a bulk run go: under their name when they are complete, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Result, bad_request, show_path, system_failure};
use crate::options::STANDARD_STREAM;
use crate::print_text;

/// Writes all of a text to a path; `-` is standard output.
pub fn write_output(path: &Path, text: &str) -> Result<()> {
    if path.as_os_str() == STANDARD_STREAM {
        return print_text(text);
    }
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(bad_request(format!("{}: is a directory", show_path(path))));
    }
    let failed = |error| system_failure(&show_path(path), error);
    // A device or pipe is written to, not replaced.
    if existing.is_some_and(|metadata| !metadata.is_file()) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return file.write_all(text.as_bytes()).map_err(failed);
    }
    let temporary = Temporary::beside(path);
    let mut file = File::create_new(&temporary.path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    fs::rename(&temporary.path, path).map_err(failed)
}

/// A file that goes away again, unless it got another name.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let short: String = name.chars().take(40).collect();
        // A process killed earlier may have left its file, and in a container had our number.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unique = format!(
            "{}.{}",
            std::process::id(),
            now.unwrap_or_default().as_nanos()
        );
        Self {
            path: path.with_file_name(format!(".{short}.{unique}.tmp")),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // nothing better to do if it stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_alone() {
        let folder = std::env::temp_dir().join(format!("dns-resolver-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("answers");
        write_output(&path, "one\n").expect("written");
        write_output(&path, "two\n").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("a text"), "two\n");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
        let failure = write_output(&folder, "x").expect_err("a folder is no file");
        assert!(failure.to_string().ends_with("is a directory"));
        fs::remove_dir_all(&folder).expect("gone");
    }
}
