//! The soft provider's key file.
//!
//! JSON, mode 0600, replaced as a whole (temporary file, sync, rename, sync of the directory):
//!
//! ```json
//! {"format": "doorward key file", "version": 1,
//!  "body": {"protection": {"kind": "passphrase", "salt": "…", "m_kib": 65536, "t": 3, "p": 1}, "sealed": "…"},
//!  "sum": "…"}
//! ```
//!
//! `kind` is `passphrase` or `credential` (both stretched with Argon2id by the numbers beside it) or
//! `unlock-file` (32 random bytes, HKDF-SHA-256 with the salt). `sealed` is nonce, AES-256-GCM ciphertext and
//! tag, with `protection` as associated data; inside, each key is one byte of kind (1 master, 2 pepper, 3 audit:
//! an Ed25519 seed), one of name length, the name, 32 bytes of key. The newest of a kind is the last. A file without an
//! audit key was made before there were any: it stands for the one that is derived from its first master key. `sum` is
//! SHA-256 of `body` and tells a damaged file from a wrong passphrase. Binary values are base64url without padding.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use doorward_core::secret::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal;
use crate::fault::Fault;

const FORMAT: &str = "doorward key file";
const VERSION: u32 = 1;

/// Longest file that is read: key file, credential or unlock file, in bytes.
const FILE_LEN_MAX: u64 = 65_536;

/// Shortest passphrase, and content of a credential, in bytes.
pub const PASSPHRASE_LEN_MIN: usize = 12;

/// How a passphrase is stretched where the key file is made: 64 MiB, three passes.
const STRETCH: Stretch = Stretch { m_kib: 65_536, t: 3, p: 1 };

/// What opens the key file.
#[derive(Clone, Debug)]
pub enum Protection {
    /// A passphrase of at least 12 bytes.
    Passphrase(Secret<String>),
    /// A file that somebody else keeps, such as a systemd credential; at least 12 bytes, final line ends ignored.
    Credential(PathBuf),
    /// A file beside the key file, made with it: `<name>.unlock`. Protects what leaves without it, as a backup of
    /// the data directory does, and nothing else.
    UnlockFile,
}

/// Keys of the soft provider; each list holds at least one, the newest last.
pub struct KeyRing {
    masters: Vec<NamedKey>,
    peppers: Vec<NamedKey>,
    audits: Vec<NamedKey>,
}

/// A key and its name.
pub struct NamedKey {
    /// Such as `soft:master/0f3a…`.
    pub name: String,
    /// The key itself.
    pub key: Secret<[u8; 32]>,
}

impl KeyRing {
    /// One new key of each kind.
    pub fn generate() -> Result<Self, Fault> {
        Ok(Self {
            masters: vec![NamedKey::generate("master")?],
            peppers: vec![NamedKey::generate("pepper")?],
            audits: vec![NamedKey::generate("audit")?],
        })
    }

    /// The newest master key.
    pub fn master(&self) -> &NamedKey {
        &self.masters[self.masters.len() - 1] // holds: neither `generate` nor `decode` leaves a list empty
    }

    /// The newest pepper key.
    pub fn pepper(&self) -> &NamedKey {
        &self.peppers[self.peppers.len() - 1] // holds: as above
    }

    /// All audit keys, the newest last.
    pub fn audits(&self) -> &[NamedKey] {
        &self.audits
    }

    /// The master key of this name.
    pub fn master_named(&self, name: &str) -> Result<&NamedKey, Fault> {
        named(&self.masters, name)
    }

    /// The pepper key of this name.
    pub fn pepper_named(&self, name: &str) -> Result<&NamedKey, Fault> {
        named(&self.peppers, name)
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let count = self.masters.len() + self.peppers.len() + self.audits.len();
        let mut out = Zeroizing::new(Vec::with_capacity(128 * count));
        for (kind, keys) in [(1_u8, &self.masters), (2, &self.peppers), (3, &self.audits)] {
            for key in keys {
                out.push(kind);
                out.push(key.name.len() as u8);
                out.extend_from_slice(key.name.as_bytes());
                out.extend_from_slice(key.key.expose());
            }
        }
        out
    }

    fn decode(mut rest: &[u8]) -> Option<Self> {
        let (mut masters, mut peppers, mut audits) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((&[kind, len], tail)) = rest.split_first_chunk::<2>() {
            let (name, tail) = tail.split_at_checked(usize::from(len))?;
            let (key, tail) = tail.split_first_chunk::<32>()?;
            let name = String::from_utf8(name.to_vec()).ok()?;
            let key = NamedKey { name, key: Secret::new(*key) };
            match kind {
                1 => masters.push(key),
                2 => peppers.push(key),
                3 => audits.push(key),
                _ => return None,
            }
            rest = tail;
        }
        if audits.is_empty() {
            audits.push(NamedKey::audit_of(masters.first()?)?);
        }
        let whole = rest.is_empty() && !masters.is_empty() && !peppers.is_empty();
        whole.then_some(Self { masters, peppers, audits })
    }
}

impl NamedKey {
    fn generate(kind: &str) -> Result<Self, Fault> {
        let mut id = [0_u8; 6];
        let mut key = Zeroizing::new([0_u8; 32]);
        random(&mut id)?;
        random(&mut *key)?;
        Ok(Self { name: format!("soft:{kind}/{}", HEXLOWER.encode(&id)), key: Secret::new(*key) })
    }

    /// The audit key of a file that holds none: always the same, so that the file need not be written.
    fn audit_of(master: &Self) -> Option<Self> {
        let seed = seal::derive(master.key.expose(), b"", &[b"doorward audit key 1"]).ok()?;
        let id = master.name.rsplit('/').next()?;
        Some(Self { name: format!("soft:audit/{id}"), key: Secret::new(*seed) })
    }
}

fn named<'a>(keys: &'a [NamedKey], name: &str) -> Result<&'a NamedKey, Fault> {
    keys.iter().find(|key| key.name == name).ok_or_else(|| Fault::Vault(format!("there is no key {name:?}")))
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    body: Body,
    sum: String,
}

#[derive(Serialize, Deserialize)]
struct Body {
    protection: Stored,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Stored {
    Passphrase {
        salt: String,
        #[serde(flatten)]
        stretch: Stretch,
    },
    Credential {
        salt: String,
        #[serde(flatten)]
        stretch: Stretch,
    },
    UnlockFile {
        salt: String,
    },
}

impl Stored {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "a passphrase",
            Self::Credential { .. } => "a credential file",
            Self::UnlockFile { .. } => "an unlock file",
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Stretch {
    m_kib: u32,
    t: u32,
    p: u32,
}

/// Makes a key file; an existing one is never touched.
pub fn create(path: &Path, protection: &Protection, keys: &KeyRing) -> Result<(), Fault> {
    create_with(path, protection, keys, STRETCH)
}

/// Makes the folder of a key file for its owner alone; one that is there keeps its mode.
fn make_folder(path: &Path) -> Result<(), Fault> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Fault::disk(folder, &error))
}

fn create_with(path: &Path, protection: &Protection, keys: &KeyRing, stretch: Stretch) -> Result<(), Fault> {
    if path.exists() {
        return Err(Fault::Vault(format!("{}: there is a key file already", path.display())));
    }
    make_folder(path)?;
    let mut salt = [0_u8; 16];
    random(&mut salt)?;
    let salt = BASE64URL_NOPAD.encode(&salt);
    let stored = match protection {
        Protection::Passphrase(_) => Stored::Passphrase { salt, stretch },
        Protection::Credential(_) => Stored::Credential { salt, stretch },
        Protection::UnlockFile => {
            make_unlock_file(&unlock_path(path))?;
            Stored::UnlockFile { salt }
        }
    };
    let key = unlock_key(path, protection, &stored)?;
    let associated = json(&stored)?;
    let sealed = BASE64URL_NOPAD.encode(&seal::seal_bytes(&key, &associated, &keys.encode())?);
    let body = Body { protection: stored, sealed };
    let sum = sum(&body)?;
    let document = Document { format: FORMAT.into(), version: VERSION, body, sum };
    let mut text = serde_json::to_vec_pretty(&document).map_err(|error| Fault::Vault(error.to_string()))?;
    text.push(b'\n');
    write_new(path, &text)
}

/// Opens a key file. Missing, damaged, readable by others, another kind of protection and a wrong passphrase are
/// told apart in the text.
pub fn open(path: &Path, protection: &Protection) -> Result<KeyRing, Fault> {
    let text = read_private(path, 0o077, "key file")?;
    let damaged = |what: &str| Fault::Damaged(format!("key file {}: {what}", path.display()));
    let document: Document = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
    if document.format != FORMAT || document.version != VERSION {
        return Err(damaged(&format!(
            "it is {:?} version {}, this program reads {FORMAT:?} version {VERSION}",
            document.format, document.version
        )));
    }
    if sum(&document.body)? != document.sum {
        return Err(damaged("its checksum does not fit; restore it from where it is kept"));
    }
    let stored = &document.body.protection;
    let key = unlock_key(path, protection, stored)?;
    let sealed =
        BASE64URL_NOPAD.decode(document.body.sealed.as_bytes()).map_err(|_| damaged("not base64url"))?;
    let plain = seal::open_bytes(&key, &json(stored)?, &sealed)?.ok_or_else(|| {
        Fault::Vault(match protection {
            Protection::Passphrase(_) => format!("wrong passphrase for the key file {}", path.display()),
            Protection::Credential(file) => {
                format!("the credential {} does not open the key file {}", file.display(), path.display())
            }
            Protection::UnlockFile => {
                format!("{} does not open the key file {}", unlock_path(path).display(), path.display())
            }
        })
    })?;
    KeyRing::decode(&plain).ok_or_else(|| damaged("its content is not a list of keys"))
}

/// The unlock file that belongs to a key file.
fn unlock_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unlock");
    path.with_file_name(name)
}

/// The key that seals the file, from what the operator gave.
fn unlock_key(path: &Path, protection: &Protection, stored: &Stored) -> Result<Zeroizing<[u8; 32]>, Fault> {
    match (protection, stored) {
        (Protection::Passphrase(passphrase), Stored::Passphrase { salt, stretch }) => {
            stretched(passphrase.expose().as_bytes(), salt, *stretch, "the passphrase of the vault")
        }
        (Protection::Credential(file), Stored::Credential { salt, stretch }) => {
            // systemd shows group bits on its credentials where it grants access by an ACL.
            let content = read_private(file, 0o007, "credential")?;
            stretched(content.trim_ascii_end(), salt, *stretch, "the vault's credential file")
        }
        (Protection::UnlockFile, Stored::UnlockFile { salt }) => {
            let file = unlock_path(path);
            let content = read_private(&file, 0o077, "unlock file")?;
            let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(content.trim_ascii_end()).unwrap_or_default());
            if bytes.len() != 32 {
                return Err(Fault::Damaged(format!(
                    "unlock file {}: not 32 bytes in base64url",
                    file.display()
                )));
            }
            seal::derive(&bytes, salt.as_bytes(), &[b"doorward unlock file 1"])
        }
        (
            Protection::Passphrase(_) | Protection::Credential(_) | Protection::UnlockFile,
            Stored::Passphrase { .. } | Stored::Credential { .. } | Stored::UnlockFile { .. },
        ) => Err(Fault::Vault(format!(
            "the key file {} is opened by {}, which is not what is configured",
            path.display(),
            stored.kind()
        ))),
    }
}

fn stretched(secret: &[u8], salt: &str, stretch: Stretch, what: &str) -> Result<Zeroizing<[u8; 32]>, Fault> {
    if secret.len() < PASSPHRASE_LEN_MIN {
        let len = secret.len();
        return Err(Fault::Vault(format!(
            "{what} has {len} bytes, at least {PASSPHRASE_LEN_MIN} are needed"
        )));
    }
    let Stretch { m_kib, t, p } = stretch;
    let params = Params::new(m_kib, t, p, Some(32)).ok().filter(|_| m_kib <= 1 << 20 && t <= 20 && p <= 4);
    let params =
        params.ok_or_else(|| Fault::Damaged(format!("key file: Argon2id with m={m_kib},t={t},p={p}")))?;
    let mut key = Zeroizing::new([0_u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt.as_bytes(), &mut *key)
        .map_err(|error| Fault::Vault(format!("Argon2id: {error}")))?;
    Ok(key)
}

fn make_unlock_file(path: &Path) -> Result<(), Fault> {
    if path.exists() {
        // Left by a first start that was cut short before it wrote the key file.
        return Ok(());
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    random(&mut *bytes)?;
    let text = Zeroizing::new(format!("{}\n", BASE64URL_NOPAD.encode(&*bytes)));
    write_new(path, text.as_bytes())
}

/// Reads a file that must not be open to others.
fn read_private(path: &Path, forbidden: u32, what: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Vault(format!("{what} {shown} is missing")),
        _ => Fault::disk(path, &error),
    })?;
    let meta = file.metadata().map_err(|error| Fault::disk(path, &error))?;
    let mode = meta.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(Fault::Vault(format!(
            "{what} {shown} is open to others (mode {mode:04o}); run: chmod 0600 {shown}"
        )));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(4096));
    let mut limited = file.take(FILE_LEN_MAX + 1);
    limited.read_to_end(&mut content).map_err(|error| Fault::disk(path, &error))?;
    if content.len() as u64 > FILE_LEN_MAX {
        return Err(Fault::Damaged(format!("{what} {shown}: longer than {FILE_LEN_MAX} bytes")));
    }
    Ok(content)
}

/// Writes a file that is there as a whole or not at all, mode 0600.
fn write_new(path: &Path, content: &[u8]) -> Result<(), Fault> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // Left by a start with the same process id that was cut short, as in a container each one has.
    let _ = fs::remove_file(&temporary);
    let written = write_and_rename(path, &temporary, content);
    if written.is_err() {
        // Best effort: what counts is the error that came first.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|error| Fault::disk(path, &error))
}

fn write_and_rename(path: &Path, temporary: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    // A link fails where the name is taken, so that two first starts at once cannot replace each other's keys.
    match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // File systems without hard links.
        Err(_) => fs::rename(temporary, path)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn sum(body: &Body) -> Result<String, Fault> {
    Ok(BASE64URL_NOPAD.encode(digest(&SHA256, &json(body)?).as_ref()))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|error| Fault::Vault(error.to_string()))
}

fn random(out: &mut [u8]) -> Result<(), Fault> {
    rand::fill(out).map_err(|_| Fault::Vault(String::from("no random bytes")))
}

#[cfg(test)]
mod tests;
