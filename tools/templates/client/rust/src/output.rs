//! Where texts and the answer go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::failure::{Result, bad_request, escape_path, path_failure};
use crate::options::STANDARD_STREAM;

/// Prints a text on standard output, and tells when that fails.
pub fn print_text(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

fn print_bytes(content: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(content).and_then(|()| stdout.flush());
    written.map_err(|error| path_failure(Path::new("standard output"), &error))
}

/// Writes the answer to a path; no path is nowhere.
pub fn store(path: Option<&Path>, answer: &[u8]) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    if path.as_os_str() == STANDARD_STREAM {
        return print_bytes(answer);
    }
    let failed = |error| path_failure(path, &error);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let shown = escape_path(path);
            Err(bad_request(format!("{shown}: is a directory")))
        }
        // A device or pipe is written to, not replaced.
        Ok(found) if !found.is_file() => {
            let mut device = OpenOptions::new().write(true).open(path).map_err(failed)?;
            device.write_all(answer).map_err(failed)
        }
        _ => replace(path, answer).map_err(failed),
    }
}

/// Makes the file appear under its name when it is complete, or not at all.
fn replace(path: &Path, answer: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(50).collect();
    let temporary = path.with_file_name(format!(".{short}.{}.tmp", std::process::id()));
    let mut file = File::create_new(&temporary)?;
    let done = file
        .write_all(answer)
        .and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary); // nothing better to do if it cannot be removed
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::EXIT_BAD_REQUEST;

    #[test]
    fn an_answer_replaces_a_file_and_leaves_nothing_else() {
        let folder = std::env::temp_dir().join(format!("output-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("answer");
        for answer in [&b"first\n"[..], b""] {
            store(Some(&path), answer).unwrap();
            assert_eq!(fs::read(&path).unwrap(), answer);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        for wrong in [folder.clone(), folder.join("none").join("answer")] {
            let failure = store(Some(&wrong), b"").unwrap_err();
            assert_eq!(failure.exit_code, EXIT_BAD_REQUEST, "{failure}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
