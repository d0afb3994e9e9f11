//! Bytes to and from one peer, plain or through TLS, without ever waiting.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

/// Plaintext and ciphertext that TLS may hold back for a connection, each, in bytes.
const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// What came of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Got {
    /// So many bytes, and more may be there.
    More(usize),
    /// So many bytes, and no more for now: a later event tells of the next.
    Last(usize),
    /// The peer has ended its side, or the connection broke.
    Closed,
}

/// One connection.
pub(super) enum Transport {
    /// As it came.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<Tls>),
}

/// A connection inside TLS.
pub(super) struct Tls {
    stream: TcpStream,
    session: ServerConnection,
}

impl Transport {
    /// A fresh connection, through TLS where there is a configuration.
    pub(super) fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Result<Self, rustls::Error> {
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let mut session = ServerConnection::new(config)?;
        session.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX));
        Ok(Self::Tls(Box::new(Tls { stream, session })))
    }

    /// The socket, to be registered with the poller.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }

    /// Whether the TLS handshake is still under way.
    pub(super) fn is_shaking_hands(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.is_handshaking(),
        }
    }

    /// Reads what is there, as much as fits.
    ///
    /// # Errors
    /// Where TLS is broken; a broken connection is [`Got::Closed`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Got, rustls::Error> {
        match self {
            Self::Plain(stream) => Ok(read_plain(stream, buffer)),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes as much as the socket takes; 0 where it takes nothing now.
    ///
    /// # Errors
    /// Where the connection broke.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => write_plain(stream, bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Writes what TLS holds back; whether all of it has gone.
    ///
    /// # Errors
    /// Where the connection broke.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Ends our side: the peer reads everything that was sent, and then the end.
    pub(super) fn end(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // It is a courtesy: the end of the connection says the same.
            let _ = tls.flush();
        }
        // A connection that broke has ended.
        let _ = self.stream().shutdown(Shutdown::Write);
    }
}

pub(super) fn read_plain(stream: &mut TcpStream, buffer: &mut [u8]) -> Got {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Got::Closed,
            // A short read has emptied the socket.
            Ok(read) if read < buffer.len() => return Got::Last(read),
            Ok(read) => return Got::More(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Got::Last(0),
            Err(_) => return Got::Closed,
        }
    }
}

fn write_plain(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Got, rustls::Error> {
        let mut read = 0;
        loop {
            match self.session.reader().read(&mut buffer[read..]) {
                Ok(0) if read < buffer.len() => {
                    return Ok(if read > 0 { Got::More(read) } else { Got::Closed });
                }
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer left without a close: so it is for FIX.
                Err(_) => return Ok(if read > 0 { Got::More(read) } else { Got::Closed }),
            }
            if read == buffer.len() {
                return Ok(Got::More(read));
            }
            match self.session.read_tls(&mut self.stream) {
                Ok(0) => return Ok(if read > 0 { Got::More(read) } else { Got::Closed }),
                Ok(_) => {
                    let processed = self.session.process_new_packets();
                    // What is to be answered, an alert too.
                    let _ = self.flush();
                    processed?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Last(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(if read > 0 { Got::More(read) } else { Got::Closed }),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            if !self.flush()? || written == bytes.len() {
                return Ok(written);
            }
            written += self.session.writer().write(&bytes[written..])?;
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
