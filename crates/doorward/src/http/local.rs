//! The local socket: the API for processes of this machine, let in by their user (N1).

use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use doorward_core::audit::Actor;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::problem::Problem;
use super::serve::{Timing, counted, serve};
use crate::gate::Gate;

/// Most connections at one time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = doorward_core::limits::Limit::LocalConnections.max() as usize;
/// Longest path of a Unix socket on Linux, in bytes: 108 with the closing zero.
const PATH_BYTES_MAX: usize = 107;
/// How long a server that may already be there has to take a connection.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long to rest where connections cannot be taken.
const REST: Duration = Duration::from_millis(200);

/// The socket cannot be had; the text names the key to change.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// Something that is no socket lies there.
    #[error("admin.socket: {0} exists and is no socket; remove it, or give another path in admin.socket")]
    NotASocket(PathBuf),
    /// A server answers there.
    #[error(
        "admin.socket: {0}: a server answers there already; stop it, or give another path in admin.socket"
    )]
    InUse(PathBuf),
    /// The path does not fit into a socket's address.
    #[error(
        "admin.socket: {path} has {bytes} bytes with what is put beside it while it is made, at most {PATH_BYTES_MAX} \
         fit; give a shorter path in admin.socket"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Length of the longer of both paths that are needed.
        bytes: usize,
    },
    /// The system refused.
    #[error("admin.socket: {path}: {error}; make its folder, or give another path in admin.socket")]
    Disk {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The socket, open for nobody but its owner; removed when dropped.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: whether what lies at `path` is still this one.
    identity: (u64, u64),
}

impl LocalSocket {
    /// Listens at a path, mode 0600 before anybody can reach it. What a dead server left there is replaced.
    ///
    /// # Errors
    /// See [`SocketFault`].
    pub async fn bind(path: &Path) -> Result<Self, SocketFault> {
        refuse_if_taken(path).await?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        // Made where only this user can come, then moved to its place as a whole.
        let private = folder.join(format!(".s{}", std::process::id()));
        let made = private.join("s");
        let bytes = made.as_os_str().len().max(path.as_os_str().len());
        if bytes > PATH_BYTES_MAX {
            return Err(SocketFault::TooLong { path: path.to_owned(), bytes });
        }
        let placed = place(&private, &made, path);
        // Empty by now; what is left of a failure must not stay either.
        let _ = std::fs::remove_file(&made);
        let _ = std::fs::remove_dir(&private);
        placed.map_err(|error| SocketFault::Disk { path: path.to_owned(), error })
    }

    /// Serves the API to root and this process' own user until `stopping` is over, then finishes what is being
    /// answered.
    pub async fn serve(self, api: Router, gate: Arc<Gate>, stopping: impl Future<Output = ()>) {
        let api = counted(api, "local");
        let own = rustix::process::geteuid().as_raw();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (stop, stopped) = watch::channel(false);
        let mut serving = JoinSet::new();
        tokio::pin!(stopping);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(_) = serving.join_next() => continue,
                accepted = self.accept(&places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "admin.socket: connections cannot be taken");
                    tokio::select! {
                        () = &mut stopping => break,
                        () = tokio::time::sleep(REST) => continue,
                    }
                }
            };
            let caller = caller(&stream, own);
            let (api, gate, mut stopped) = (api.clone(), Arc::clone(&gate), stopped.clone());
            serving.spawn(async move {
                let router = match caller {
                    Caller::Permitted(uid) => api.layer(Extension(Actor::Local { uid })),
                    Caller::Refused(uid) => {
                        gate.refuse_local(uid).await;
                        refusal(uid)
                    }
                };
                // An error means that the sender is gone: that is a stop, too.
                let stopped = async { drop(stopped.wait_for(|stop| *stop).await) };
                serve(stream, router, Timing::default(), stopped).await;
                drop(place);
            });
        }
        stop.send_replace(true);
        while serving.join_next().await.is_some() {}
    }

    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        Ok((self.listener.accept().await?.0, place))
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
        {
            // Nothing depends on it: the next start replaces what is left.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn refuse_if_taken(path: &Path) -> Result<(), SocketFault> {
    let disk = |error| SocketFault::Disk { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(disk(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketFault::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match tokio::time::timeout(ANSWER_MAX, UnixStream::connect(path)).await {
        // What a dead server left.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Too busy to take it: somebody is there all the same.
        Ok(Ok(_)) | Err(_) => Err(SocketFault::InUse(path.to_owned())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketFault::InUse(path.to_owned()))
        }
        Ok(Err(error)) => Err(disk(error)),
    }
}

fn place(private: &Path, made: &Path, path: &Path) -> io::Result<LocalSocket> {
    // A crashed process of the same number may have left its own.
    let _ = std::fs::remove_file(made);
    let _ = std::fs::remove_dir(private);
    std::fs::DirBuilder::new().mode(0o700).create(private)?;
    let listener = UnixListener::bind(made)?;
    std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o600))?;
    let found = std::fs::symlink_metadata(made)?;
    std::fs::rename(made, path)?;
    Ok(LocalSocket { listener, path: path.to_owned(), identity: (found.dev(), found.ino()) })
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    Permitted(u32),
    Refused(u32),
}

fn caller(stream: &UnixStream, own: u32) -> Caller {
    match stream.peer_cred() {
        Ok(peer) => judge(peer.uid(), own),
        Err(error) => {
            tracing::warn!(%error, "admin.socket: the system does not say who is at the other end");
            Caller::Refused(u32::MAX)
        }
    }
}

fn judge(uid: u32, own: u32) -> Caller {
    if uid == 0 || uid == own { Caller::Permitted(uid) } else { Caller::Refused(uid) }
}

/// The whole API for somebody who may not use it.
fn refusal(uid: u32) -> Router {
    let refused = Problem::forbidden(format!("user {uid} may not administer this server"))
        .with_remedy("run this as the user that the server runs as, or as root");
    counted(Router::new().fallback(move || std::future::ready(refused.clone())), "local")
}

#[cfg(test)]
mod tests {
    use doorward_client::api::{AdminClient, ApiError};
    use doorward_core::audit::Event;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::oneshot;

    use super::super::testing::{TEST_MAX, world};
    use super::*;
    use crate::gate::admin::AuditFilter;
    use crate::http::api::router;

    #[test]
    fn n1_the_own_user_and_root_are_let_in_and_nobody_else() {
        for (uid, permitted) in [(0, true), (1000, true), (1001, false), (u32::MAX, false)] {
            let expected = if permitted { Caller::Permitted(uid) } else { Caller::Refused(uid) };
            assert_eq!(judge(uid, 1000), expected);
        }
    }

    #[tokio::test]
    async fn n1_the_socket_is_open_for_its_owner_alone_and_goes_with_the_server() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = LocalSocket::bind(&path).await.unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_server_left_is_replaced_and_a_living_one_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = LocalSocket::bind(&path).await.unwrap();
        let fault = LocalSocket::bind(&path).await.unwrap_err().to_string();
        assert!(fault.contains("a server answers there already"), "{fault}");
        drop(first);
        std::fs::write(&path, "mine").unwrap();
        let fault = LocalSocket::bind(&path).await.unwrap_err().to_string();
        assert!(fault.contains("is no socket"), "{fault}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let fault = LocalSocket::bind(&folder.path().join("no/folder")).await.unwrap_err().to_string();
        assert!(fault.contains("make its folder"), "{fault}");
        let fault = LocalSocket::bind(&folder.path().join("x".repeat(120))).await.unwrap_err().to_string();
        assert!(fault.contains("at most 107"), "{fault}");
    }

    #[tokio::test]
    async fn n1_a_permitted_process_administers_and_is_named_in_the_audit() {
        let world = world();
        let path = world.folder.path().join("admin.sock");
        let socket = LocalSocket::bind(&path).await.unwrap();
        let (stop, stopping) = oneshot::channel::<()>();
        let serving = socket.serve(router(world.api()), Arc::clone(&world.gate), async {
            drop(stopping.await);
        });
        let asking = async {
            let client = AdminClient::new(&path);
            let firm = json!({"code": "acme", "name": "Acme Brokers"});
            assert_eq!(client.post("/api/v1/firms", &firm).await.unwrap()["code"], "ACME");
            let Err(ApiError::Problem(problem)) = client.get("/api/v1/firms/none").await else {
                panic!("a firm that is not there")
            };
            assert_eq!((problem.status, problem.title.as_str()), (404, "not found"));
            // A connection that says nothing does not hold the stop up.
            let mut silent = UnixStream::connect(&path).await.unwrap();
            drop(stop);
            // Reset where it had not been taken from the queue yet.
            assert!(matches!(silent.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        };
        let both = async { tokio::join!(serving, asking) };
        tokio::time::timeout(TEST_MAX, both).await.unwrap();
        let filter = AuditFilter { event: Some(Event::FirmAdded), ..AuditFilter::default() };
        let entries = world.gate.audit(&filter, None, 10).unwrap();
        assert_eq!(entries[0].1.actor, Actor::Local { uid: rustix::process::getuid().as_raw() });
        assert!(!path.exists(), "the socket goes with the server");
    }

    /// Asks on an open connection and reads the head and body of the answer.
    async fn healthy(stream: &mut UnixStream) {
        use tokio::io::AsyncWriteExt as _;
        let request = b"GET /api/v1/firms HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }

    #[tokio::test]
    async fn l1_one_connection_more_than_64_waits_until_another_goes() {
        use tokio::io::AsyncWriteExt as _;

        let world = world();
        let path = world.folder.path().join("admin.sock");
        let socket = LocalSocket::bind(&path).await.unwrap();
        let (stop, stopping) = oneshot::channel::<()>();
        let serving = socket.serve(router(world.api()), Arc::clone(&world.gate), async {
            drop(stopping.await);
        });
        let asking = async {
            let mut open = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                healthy(&mut stream).await;
                open.push(stream);
            }
            let mut late = UnixStream::connect(&path).await.unwrap();
            late.write_all(b"GET /api/v1/firms HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            healthy(&mut open[0]).await;
            let unanswered = late.try_read(&mut [0; 1]).unwrap_err();
            assert_eq!(unanswered.kind(), io::ErrorKind::WouldBlock);
            drop(open.pop());
            let mut answer = String::new();
            late.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            drop((stop, open));
        };
        let both = async { tokio::join!(serving, asking) };
        tokio::time::timeout(TEST_MAX, both).await.unwrap();
    }

    #[tokio::test]
    async fn n1_a_stranger_hears_why_and_is_written_down() {
        let world = world();
        let (near, far) = UnixStream::pair().unwrap();
        world.gate.refuse_local(4242).await;
        let (mut asking, serving) =
            (near, serve(far, refusal(4242), Timing::default(), std::future::pending()));
        let asking = async {
            use tokio::io::AsyncWriteExt as _;
            let request = b"GET /api/v1/people HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            asking.write_all(request).await.unwrap();
            let mut answer = String::new();
            asking.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(serving, asking);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("or as root"), "{answer}");
        let entries = world.gate.audit(&AuditFilter::default(), None, 10).unwrap();
        assert_eq!(entries[0].1.event, Event::AdministrationRefused);
        assert_eq!(entries[0].1.actor, Actor::Local { uid: 4242 });
    }
}
