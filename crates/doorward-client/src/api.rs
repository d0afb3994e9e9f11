//! The HTTP API over the server's local socket, for administration on the same machine.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::printable;

/// Problem details (RFC 9457) with Doorward's two members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Names the kind of problem; `about:blank` where the status says all.
    pub kind: String,
    /// The kind of problem, for people.
    pub title: String,
    /// What was wrong this time.
    pub detail: Option<String>,
    /// The field of the request that was wrong.
    pub field: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Problem {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |member: &str| json[member].as_str().map(str::to_owned);
        Self {
            status: status.as_u16(),
            kind: text("type").unwrap_or_else(|| String::from("about:blank")),
            title: text("title")
                .unwrap_or_else(|| status.canonical_reason().unwrap_or("unknown status").to_lowercase()),
            detail: text("detail"),
            field: text("field"),
            remedy: text("remedy"),
        }
    }
}

impl fmt::Display for Problem {
    /// One line: what was wrong, where, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "{}: ", printable(field))?;
        }
        f.write_str(&printable(self.detail.as_ref().unwrap_or(&self.title)))?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {}", printable(remedy)),
            None => write!(f, " (status {})", self.status),
        }
    }
}

/// Why a request to the API gave no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens at the socket, or this user may not open it.
    #[error("cannot reach the server at {}: {why}; {}", .socket.display(), remedy_for(*.kind))]
    Unreachable {
        /// The socket's path.
        socket: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
        /// The same, for people.
        why: String,
    },
    /// The server said no.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The server did not answer in time.
    #[error("the server at {} did not answer within {} s; see its log", .socket.display(), .limit.as_secs())]
    Timeout {
        /// The socket's path.
        socket: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is none of the HTTP API's.
    #[error("unexpected answer from {}: {why}; is it a doorward server of this version?", .socket.display())]
    Unexpected {
        /// The socket's path.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn remedy_for(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::PermissionDenied {
        "run this as the user that the server runs as"
    } else {
        "is it running? start it with 'doorward serve'"
    }
}

/// Speaks the HTTP API over the local socket; each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: PathBuf,
    limit: Duration,
}

/// Longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl AdminClient {
    /// A client of the server whose local socket is here; waits 60 s at most for each answer.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), limit: Duration::from_secs(60) }
    }

    /// With another limit for each answer.
    #[must_use]
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET` of a path such as `/api/v1/users?firm=ACME`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.request(Method::GET, path, None).await
    }

    /// `POST` of a JSON body.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// `PUT` of a JSON body.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// `PATCH` with a JSON body.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.request(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE`, with a JSON body where the API wants one.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&self, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        self.request(Method::DELETE, path, body).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let late = |_| ApiError::Timeout { socket: self.socket.clone(), limit: self.limit };
        timeout(self.limit, self.exchange(method, path, body)).await.map_err(late)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| ApiError::Unreachable {
            socket: self.socket.clone(),
            kind: error.kind(),
            why: plain_words(&error),
        })?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(ACCEPT, "application/json, application/problem+json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(Full::new(bytes)).map_err(|error| self.unexpected(&error))?;

        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unexpected(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| self.unexpected(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => self.unexpected(&format!("longer than {ANSWER_BYTES_MAX} bytes")),
                None => self.unexpected(&error),
            })?;
            self.read(status, &body.to_bytes())
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answered = &mut answer => answered,
            // The connection ends first where the server closes after its answer, which is then complete.
            _ = connection => answer.await,
        }
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Value, ApiError> {
        if !status.is_success() {
            return Err(ApiError::Problem(Box::new(Problem::read(status, body))));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(body).map_err(|error| self.unexpected(&format!("no JSON: {error}")))
    }

    fn unexpected(&self, why: &dyn fmt::Display) -> ApiError {
        ApiError::Unexpected { socket: self.socket.clone(), why: why.to_string() }
    }
}

fn plain_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => String::from("no such socket"),
        io::ErrorKind::ConnectionRefused => String::from("nobody listens there"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// A socket in a folder of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("doorward-api-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("admin.sock")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Answers one request with these bytes and gives back what was asked.
    async fn serve(listener: UnixListener, body_ends_with: &str, answer: String) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(body_ends_with.as_bytes()) {
            assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0, "closed early");
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_request_carries_json_and_its_answer_is_json() {
        let place = Place::new("post");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let client = AdminClient::new(place.socket());
        let (answer, asked) = tokio::join!(
            async { client.post("/api/v1/firms", &json!({"code": "ACME"})).await },
            serve(listener, "}", http("201 Created", r#"{"code":"ACME","id":1}"#)),
        );
        assert_eq!(answer.unwrap(), json!({"code": "ACME", "id": 1}));
        assert!(asked.starts_with("POST /api/v1/firms HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{\"code\":\"ACME\"}"), "{asked}");
    }

    #[tokio::test]
    async fn an_empty_success_is_null() {
        let place = Place::new("delete");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let client = AdminClient::new(place.socket());
        let (answer, asked) = tokio::join!(
            client.delete("/api/v1/users/x", None),
            serve(listener, "\r\n\r\n", "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".into()),
        );
        assert_eq!(answer.unwrap(), Value::Null);
        assert!(!asked.contains("content-type"), "{asked}");
    }

    #[tokio::test]
    async fn a_problem_prints_in_one_line_that_names_the_remedy() {
        let place = Place::new("problem");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let client = AdminClient::new(place.socket());
        let body = r#"{"type":"about:blank","title":"invalid field","status":422,"detail":"\"A\u001b[2J\nB\" is no code",
            "field":"code","remedy":"use 2 to 8 capital letters"}"#;
        let (answer, _) = tokio::join!(
            client.get("/api/v1/firms"),
            serve(listener, "\r\n\r\n", http("422 Unprocessable Content", body)),
        );
        let error = answer.unwrap_err();
        assert_eq!(
            error.to_string(),
            "code: \"A\\u{1b}[2J\\nB\" is no code; use 2 to 8 capital letters",
            "q8: no control characters"
        );
        let ApiError::Problem(problem) = error else { panic!("{error:?}") };
        assert_eq!((problem.status, problem.field.as_deref()), (422, Some("code")));
    }

    #[tokio::test]
    async fn a_refusal_without_details_says_its_status() {
        let place = Place::new("bare");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let client = AdminClient::new(place.socket());
        let (answer, _) = tokio::join!(
            client.get("/api/v1/nothing"),
            serve(listener, "\r\n\r\n", http("404 Not Found", "<html>")),
        );
        assert_eq!(answer.unwrap_err().to_string(), "not found (status 404)");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let place = Place::new("gone");
        let socket = place.socket();
        let missing = AdminClient::new(&socket).get("/").await.unwrap_err().to_string();
        let at = socket.display();
        assert_eq!(
            missing,
            format!(
                "cannot reach the server at {at}: no such socket; is it running? start it with 'doorward serve'"
            )
        );
        drop(UnixListener::bind(&socket).unwrap());
        let refused = AdminClient::new(&socket).get("/").await.unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "cannot reach the server at {at}: nobody listens there; is it running? start it with 'doorward serve'"
            )
        );
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_or_breaks_off_is_told() {
        let place = Place::new("silent");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let client = AdminClient::new(place.socket()).with_limit(Duration::ZERO);
        assert!(matches!(client.get("/").await, Err(ApiError::Timeout { .. })));
        drop(listener.accept().await.unwrap());

        let client = AdminClient::new(place.socket());
        for answer in
            ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "SSH-2.0\r\n", &http("200 OK", "hello")]
        {
            let (answer, _) = tokio::join!(client.get("/"), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            assert!(matches!(answer, Err(ApiError::Unexpected { .. })), "{answer:?}");
        }
    }
}
