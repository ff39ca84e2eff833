//! The Unix socket: made so that only its owner and group can use it, and never taken from a living process.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// How many connections may wait.
const BACKLOG: i32 = 64;
/// Read and write for the owner and the group.
const MODE: u32 = 0o660;

/// A listening socket, and its file, which goes with it.
pub(super) struct Listener {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// Removes the file when dropped, if it is still the same one.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Listens at `path`; the file that a dead process left there is replaced. Within a tokio runtime.
///
/// # Errors
/// One sentence: it belongs to a living process, it is no socket, or the system refuses.
pub(super) fn listen(path: &Path) -> Result<Listener, String> {
    let fail = |e: io::Error| format!("{} can't be bound: {e}", path.display());
    remove_stale(path)?;
    let address = SockAddr::unix(path).map_err(fail)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fail)?;
    socket.set_nonblocking(true).map_err(fail)?;
    socket.bind(&address).map_err(fail)?;
    let metadata = fs::symlink_metadata(path).map_err(fail)?;
    let file = SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
    // Before it listens nobody can connect: there is no moment with other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(fail)?;
    socket.listen(BACKLOG).map_err(fail)?;
    let listener =
        UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)))
            .map_err(fail)?;
    Ok(Listener { listener, file })
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("{} can't be looked at: {e}", path.display())),
    };
    if !metadata.file_type().is_socket() {
        return Err(format!(
            "{} is there and is no socket: move it away, or name another --socket",
            path.display()
        ));
    }
    if is_alive(path).map_err(|e| format!("{} can't be tried: {e}", path.display()))? {
        return Err(format!("{} belongs to another running process: name another --socket", path.display()));
    }
    fs::remove_file(path).map_err(|e| format!("{} is left over and can't be removed: {e}", path.display()))
}

/// Whether somebody listens there.
fn is_alive(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        // Its queue is full.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity);
        if ours {
            // It is stale from now on, removed or not.
            let _ = fs::remove_file(&self.path);
        }
    }
}
