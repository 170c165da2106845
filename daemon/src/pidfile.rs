//! The pidfile: written by the daemon itself and locked by it as long as it lives.
//!
//! The lock is a POSIX record lock because that is what `ovs-appctl` asks about (`F_GETLK`): a pidfile
//! nobody has locked is stale to it. Such a lock is lost when the process closes *any* descriptor of
//! the file, so nothing else here may open a pidfile that we hold.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

/// A pidfile that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another live process holds the lock.
    #[error("{}: already running as pid {pid}, aborting", path.display())]
    AlreadyRunning {
        /// The pidfile.
        path: PathBuf,
        /// What the file says.
        pid: String,
    },
    /// The file system refused.
    #[error("{}: {what} failed ({source})", path.display())]
    Io {
        /// The pidfile or the temporary beside it.
        path: PathBuf,
        /// Which call.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A held pidfile; the file is removed when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    // Closing this gives the lock up.
    _locked: File,
}

impl PidFile {
    /// Writes our pid to `path` and locks it.
    ///
    /// With `overwrite`, a file that a live process holds is replaced: that process keeps running.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, PidFileError> {
        if !overwrite {
            refuse_if_held(path)?;
        }
        // Readers must see either the old file or the new one with pid and lock in place.
        let temporary = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
        let io = |path: &Path, what| {
            let path = path.to_path_buf();
            move |source| PidFileError::Io { path, what, source }
        };
        let mut file = File::create(&temporary).map_err(io(&temporary, "create"))?;
        let written = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .and_then(|()| std::fs::rename(&temporary, path));
        if let Err(source) = written {
            let _ = std::fs::remove_file(&temporary);
            return Err(PidFileError::Io {
                path: path.to_path_buf(),
                what: "write",
                source,
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            _locked: file,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another daemon may have replaced it (`--overwrite-pidfile`); then it is not ours to remove.
        let ours = std::fs::read_to_string(&self.path)
            .is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn refuse_if_held(path: &Path) -> Result<(), PidFileError> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(PidFileError::Io {
                path: path.to_path_buf(),
                what: "open",
                source,
            });
        }
    };
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    let pid = std::fs::read_to_string(path).unwrap_or_default();
    let pid = match pid.trim() {
        "" => "unknown".to_string(),
        pid => pid.to_string(),
    };
    Err(PidFileError::AlreadyRunning {
        path: path.to_path_buf(),
        pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_pid_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        std::fs::write(&path, "1\n").unwrap(); // stale: nobody locks it
        let held = PidFile::create(&path, false).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        assert_eq!(held.path(), path);
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_directory_is_said() {
        let error = PidFile::create(Path::new("/nonexistent/x.pid"), false).unwrap_err();
        assert!(
            error.to_string().starts_with("/nonexistent/x.pid"),
            "{error}"
        );
    }
}
