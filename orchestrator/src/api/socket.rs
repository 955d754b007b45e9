//! The unix socket: who may open it is who may do everything.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{ApiError, Listen};

/// Owner and group may use the socket: it gives every right.
const SOCKET_MODE: u32 = 0o660;
/// Connections that wait to be taken.
const WAITING_MAX: u32 = 128;

/// Listens at `path`. A socket that a killed orchestrator left is taken away, one at which somebody answers is not.
pub(super) async fn bind(listen: &Listen, path: &Path) -> Result<UnixListener, ApiError> {
    let bound = match UnixStream::connect(path).await {
        Ok(_) => {
            return Err(ApiError::Taken {
                listen: listen.clone(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => clear(path),
        Err(_) => Ok(()),
    }
    .and_then(|()| bind_here(path));
    bound.map_err(|source| ApiError::Listen {
        listen: listen.clone(),
        source,
    })
}

/// What is no socket refuses a connection, too, and is not ours to take away.
fn clear(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.file_type().is_socket() {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn bind_here(path: &Path) -> io::Result<UnixListener> {
    let socket = closed_to_others(path)?;
    // The umask may have taken the group's right away.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(WAITING_MAX)
}

/// Linux makes the file with the socket's own mode, less the umask: there is no instant at which others may open it.
fn closed_to_others(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE))?;
    socket.bind(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    async fn bound(path: &Path) -> Result<UnixListener, ApiError> {
        bind(&Listen::Unix(path.to_owned()), path).await
    }

    #[tokio::test]
    async fn its_mode_is_there_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = closed_to_others(&path).unwrap();
        assert_eq!(mode(&path) & !SOCKET_MODE, 0, "{:o}", mode(&path));
        drop(socket);
        drop(bound(&path).await.unwrap());
        assert_eq!(mode(&path), SOCKET_MODE);
    }

    #[tokio::test]
    async fn what_is_left_is_taken_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(bound(&path).await.unwrap());
        let listener = bound(&path).await.unwrap();
        let error = bound(&path).await.unwrap_err();
        assert!(matches!(error, ApiError::Taken { .. }), "{error}");
        drop(listener);
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let error = bound(&file).await.unwrap_err();
        assert!(matches!(error, ApiError::Listen { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
