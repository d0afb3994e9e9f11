//! Reads a configuration file against the table of keys; every fault in it is found in one go.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use doorward_core::secret::Secret;
use doorward_core::text::{escape_untrusted, shortened};
use toml::de::{DeTable, DeValue};
use zeroize::Zeroize as _;

use super::keys::{KEYS, Key, Kind, Preset};
use super::network::Network;
use super::value::{OriginRule, PublicUrl, Row, Value};

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The file does not name it.
    Default,
    /// This line of the configuration file.
    Line(usize),
    /// A file that the configuration names.
    SecretFile(PathBuf),
    /// An environment variable that the configuration names.
    Environment(String),
}

/// One value in force.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
    /// Line that names it; `None` for a default.
    pub line: Option<usize>,
}

/// The values in force, by path. A key that is absent from it is not set.
pub type Settings = BTreeMap<&'static str, Setting>;

/// One fault in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Line of the file, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong, the value, and what would be right.
    pub text: String,
}

/// Reads environment variables.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Everything that a file says, with defaults for what it does not, and its faults.
pub(super) fn read(text: &str, folder: &Path, env: Env<'_>) -> (Settings, Vec<ConfigError>) {
    let mut reader =
        Reader { text, folder, env, settings: Settings::new(), secrets: Vec::new(), errors: Vec::new() };
    let (table, faults) = DeTable::parse_recoverable(text);
    if faults.is_empty() {
        reader.table("", table.get_ref());
        reader.secrets();
        reader.defaults();
    } else {
        for fault in faults {
            let line = fault.span().map(|span| reader.line(span.start));
            reader.errors.push(ConfigError { line, text: escape_untrusted(fault.message()).into_owned() });
        }
    }
    reader.errors.sort_by_key(|error| error.line);
    (reader.settings, reader.errors)
}

/// A secret's source as the file names it.
struct SecretSource {
    key: &'static Key,
    line: usize,
    origin: Origin,
}

struct Reader<'a> {
    text: &'a str,
    folder: &'a Path,
    env: Env<'a>,
    settings: Settings,
    secrets: Vec<SecretSource>,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|b| *b == b'\n').count()
    }

    fn wrong(&mut self, line: usize, text: String) {
        self.errors.push(ConfigError { line: Some(line), text });
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let path = match section {
                "" => name.get_ref().to_string(),
                section => format!("{section}.{}", name.get_ref()),
            };
            self.entry(&path, value.get_ref(), line);
        }
    }

    fn entry(&mut self, path: &str, value: &DeValue<'_>, line: usize) {
        if let Some(key) = Key::find(path) {
            if key.secret {
                let advice =
                    format!("{path}: a secret is not written here; name {path}_file or {path}_env instead");
                self.wrong(line, advice);
            } else if let (Kind::Tables(keys), DeValue::Array(items)) = (key.kind, value) {
                self.rows(key, keys, items, line);
            } else {
                self.value(key, value, line);
            }
        } else if let Some((key, is_file)) = secret_form(path) {
            self.secret_source(key, path, is_file, value, line);
        } else if let DeValue::Table(inner) = value
            && !inner.is_empty()
        {
            self.table(path, inner);
        } else if is_section(path) {
            if !matches!(value, DeValue::Table(_)) {
                self.wrong(line, format!("{path}: is a section of keys, not {}", shown(value)));
            }
        } else {
            self.wrong(line, unknown(path));
        }
    }

    fn value(&mut self, key: &'static Key, value: &DeValue<'_>, line: usize) {
        match convert(key, value, self.folder) {
            Ok(value) => {
                self.settings
                    .insert(key.path, Setting { value, origin: Origin::Line(line), line: Some(line) });
            }
            Err(what) => self.wrong(line, format!("{}: {what}", key.path)),
        }
    }

    /// A list of tables; a fault in one is told with its own line.
    fn rows(
        &mut self,
        key: &'static Key,
        keys: &'static [Key],
        items: &[toml::Spanned<DeValue<'_>>],
        line: usize,
    ) {
        let mut rows = Vec::new();
        for item in items {
            let at = self.line(item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                self.wrong(at, format!("{}: holds tables, not {}", key.path, shown(item.get_ref())));
                continue;
            };
            let mut row = Row { line: at, settings: Settings::new() };
            self.row(key.path, keys, table, &mut row);
            for key in keys {
                if !row.settings.contains_key(key.path)
                    && let Preset::Toml(text) = key.preset
                    && let Some(value) = preset(key, text, self.folder)
                {
                    row.settings.insert(key.path, Setting { value, origin: Origin::Default, line: None });
                }
            }
            rows.push(row);
        }
        let setting = Setting { value: Value::Tables(rows), origin: Origin::Line(line), line: Some(line) };
        self.settings.insert(key.path, setting);
    }

    fn row(&mut self, section: &str, keys: &'static [Key], table: &DeTable<'_>, row: &mut Row) {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let path = format!("{section}.{}", name.get_ref());
            let below = |key: &&Key| key.path.strip_prefix(path.as_str()).is_some_and(|r| r.starts_with('.'));
            if let Some(key) = keys.iter().find(|key| key.path == path) {
                match convert(key, value.get_ref(), self.folder) {
                    Ok(value) => {
                        let setting = Setting { value, origin: Origin::Line(line), line: Some(line) };
                        row.settings.insert(key.path, setting);
                    }
                    Err(what) => self.wrong(line, format!("{path}: {what}")),
                }
            } else if !keys.iter().any(|key| below(&key)) {
                self.wrong(line, unknown(&path));
            } else if let DeValue::Table(inner) = value.get_ref() {
                self.row(&path, keys, inner, row);
            } else {
                self.wrong(line, format!("{path}: is a section of keys, not {}", shown(value.get_ref())));
            }
        }
    }

    fn secret_source(
        &mut self,
        key: &'static Key,
        path: &str,
        is_file: bool,
        value: &DeValue<'_>,
        line: usize,
    ) {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
            let takes = if is_file { "a path" } else { "the name of an environment variable" };
            return self.wrong(line, format!("{path}: takes {takes}"));
        };
        let origin = if is_file {
            Origin::SecretFile(self.folder.join(text))
        } else {
            Origin::Environment(text.to_owned())
        };
        if self.secrets.iter().any(|source| source.key.path == key.path) {
            return self.wrong(line, format!("{0}: give {0}_file or {0}_env, not both", key.path));
        }
        self.secrets.push(SecretSource { key, line, origin });
    }

    fn secrets(&mut self) {
        for SecretSource { key, line, origin } in std::mem::take(&mut self.secrets) {
            let (form, found) = match &origin {
                Origin::SecretFile(path) => ("file", secret_file(path)),
                Origin::Environment(name) => {
                    ("env", (self.env)(name).ok_or_else(|| format!("the environment has no {name}")))
                }
                Origin::Default | Origin::Line(_) => continue,
            };
            let found = found.and_then(|text| match text.is_empty() {
                true => Err("the secret is empty".to_owned()),
                false => Ok(Value::Secret(Secret::new(text))),
            });
            match found {
                Ok(value) => {
                    self.settings.insert(key.path, Setting { value, origin, line: Some(line) });
                }
                Err(what) => self.wrong(line, format!("{}_{form}: {}", key.path, escape_untrusted(&what))),
            }
        }
    }

    /// Fills in what the file does not name. A key whose value was refused gets its default too: the errors tell.
    fn defaults(&mut self) {
        for key in KEYS {
            if self.settings.contains_key(key.path) {
                continue;
            }
            let value = match key.preset {
                Preset::Toml(text) => preset(key, text, self.folder),
                Preset::Derived { .. } => self.derived(key),
                Preset::Absent { .. } => None,
            };
            if let Some(value) = value {
                self.settings.insert(key.path, Setting { value, origin: Origin::Default, line: None });
            }
        }
    }

    fn derived(&self, key: &Key) -> Option<Value> {
        let Some(Value::Path(data_dir)) = self.settings.get("data_dir").map(|setting| &setting.value) else {
            return None;
        };
        match key.path {
            "admin.socket" => Some(Value::Path(data_dir.join("admin.sock"))),
            "vault.key_file" => {
                let mut folder = data_dir.clone().into_os_string();
                folder.push(".keys");
                Some(Value::Path(PathBuf::from(folder).join("vault.key")))
            }
            "hashing.threads" => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                Some(Value::Number(u64::try_from(cores).unwrap_or(1).min(256)))
            }
            "mail.port" => {
                let security = self.settings.get("mail.security").map(|setting| &setting.value);
                let is = |word: &str| matches!(security, Some(Value::Text(text)) if text == word);
                Some(Value::Number(if is("tls") {
                    465
                } else if is("none") {
                    25
                } else {
                    587
                }))
            }
            _ => None,
        }
    }
}

fn preset(key: &Key, text: &str, folder: &Path) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    convert(key, value.get_ref(), folder).ok()
}

/// The secret key of which a path is the `_file` (true) or `_env` (false) form.
fn secret_form(path: &str) -> Option<(&'static Key, bool)> {
    let (stem, is_file) = match path.strip_suffix("_file") {
        Some(stem) => (stem, true),
        None => (path.strip_suffix("_env")?, false),
    };
    Key::find(stem).filter(|key| key.secret).map(|key| (key, is_file))
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown(path: &str) -> String {
    let nested = KEYS.iter().flat_map(Key::columns);
    let known = KEYS.iter().chain(nested).flat_map(|key| match key.secret {
        true => vec![format!("{}_file", key.path), format!("{}_env", key.path)],
        false => vec![key.path.to_owned()],
    });
    let shown = escape_untrusted(&shortened(path, 80)).into_owned();
    let nearest = known.map(|known| (distance(path, &known), known)).min();
    match nearest {
        Some(((steps, _), known)) if steps <= known.len() / 2 => {
            format!("{shown} is no known key; did you mean {known}?")
        }
        Some((_, known)) => format!("{shown} is no known key; the nearest is {known}"),
        None => format!("{shown} is no known key"),
    }
}

/// How far a path is from a known one, in letters; the right name in the wrong section is as near as one slip.
/// Among equals the letters decide.
fn distance(path: &str, known: &str) -> (usize, usize) {
    let letters = strsim::damerau_levenshtein(&shortened(path, 80), known);
    let name = |path: &str| path.rsplit('.').next().map(str::to_owned);
    let steps = if name(path) == name(known) { letters.min(1) } else { letters };
    (steps, letters)
}

fn secret_file(path: &Path) -> Result<String, String> {
    let disk = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(disk)?;
    let mode = file.metadata().map_err(disk)?.permissions().mode();
    if mode & 0o007 != 0 {
        let mode = mode & 0o777;
        return Err(format!("{}: mode {mode:04o} lets everybody in; make it 0600", path.display()));
    }
    let mut text = String::new();
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(disk);
    let kept = text.trim_end_matches(['\r', '\n']).to_owned();
    text.zeroize();
    if read? as u64 > SECRET_BYTES_MAX {
        return Err(format!("{}: a secret has at most {SECRET_BYTES_MAX} bytes", path.display()));
    }
    Ok(kept)
}

/// A TOML value as its key's kind, or what is wrong with it.
fn convert(key: &Key, value: &DeValue<'_>, folder: &Path) -> Result<Value, String> {
    let wrong_type = || format!("takes {}, not {}", key.kind.words(key.unit), shown(value));
    let text = || value.as_str().ok_or_else(wrong_type);
    match key.kind {
        Kind::Bool => value.as_bool().map(Value::Bool).ok_or_else(wrong_type),
        Kind::Integer { min, max } => {
            let number = integer(value).ok_or_else(wrong_type)?;
            let fits = u64::try_from(number).ok().filter(|n| (min..=max).contains(n));
            fits.map(Value::Number).ok_or_else(|| format!("{number} is out of range {min}..={max}"))
        }
        Kind::OneNumber(numbers) => {
            let number = integer(value).ok_or_else(wrong_type)?;
            let fits = u64::try_from(number).ok().filter(|n| numbers.contains(n));
            fits.map(Value::Number).ok_or_else(wrong_type)
        }
        Kind::OneWord(words) => {
            let word = text()?;
            words.contains(&word).then(|| Value::Text(word.to_owned())).ok_or_else(wrong_type)
        }
        Kind::Name => name(text()?).ok_or_else(wrong_type),
        Kind::Text => plain_text(text()?).map(Value::Text).ok_or_else(wrong_type),
        Kind::Path => match text()? {
            "" => Err(wrong_type()),
            path => Ok(Value::Path(folder.join(path))),
        },
        Kind::Url => PublicUrl::parse(text()?).map(Value::Url),
        Kind::Address => address(text()?).map(Value::Address),
        Kind::Addresses => match list(value, address).ok_or_else(wrong_type)?? {
            addresses if addresses.is_empty() => Err("takes at least one address".to_owned()),
            addresses => Ok(Value::Addresses(addresses)),
        },
        Kind::Networks => list(value, Network::parse).ok_or_else(wrong_type)?.map(Value::Networks),
        Kind::Origins => list(value, OriginRule::parse).ok_or_else(wrong_type)?.map(Value::Origins),
        Kind::Texts => {
            let item =
                |text: &str| plain_text(text).ok_or_else(|| format!("{text:?} is not 1 to 1024 characters"));
            list(value, item).ok_or_else(wrong_type)?.map(Value::Texts)
        }
        Kind::Word => {
            let word = text()?;
            let fits = (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
            fits.then(|| Value::Text(word.to_owned())).ok_or_else(wrong_type)
        }
        Kind::Segment => {
            let digits = text()?;
            let fits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| Value::Text(digits.to_owned())).ok_or_else(wrong_type)
        }
        // Its tables are read with their lines; here only the empty preset comes.
        Kind::Tables(_) => {
            let is_empty = value.as_array().is_some_and(|items| items.is_empty());
            is_empty.then(|| Value::Tables(Vec::new())).ok_or_else(wrong_type)
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn name(text: &str) -> Option<Value> {
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits.then(|| Value::Text(text.to_owned()))
}

fn plain_text(text: &str) -> Option<String> {
    (1..=1024).contains(&text.chars().count()).then(|| text.to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u64>().is_ok_and(|port| port > 65_535) => {
            Err(format!("port {port} is out of range 0..=65535"))
        }
        Some(_) | None => Err(format!("{text:?} is no address; write ip:port, such as 127.0.0.1:7402")),
    }
}

/// Each text of a list; `None` where it is no list of texts.
fn list<T>(value: &DeValue<'_>, item: impl Fn(&str) -> Result<T, String>) -> Option<Result<Vec<T>, String>> {
    let DeValue::Array(items) = value else { return None };
    let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
    Some(texts?.into_iter().map(item).collect())
}

/// A value as an operator wrote it, short.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shortened(text, 60)),
        DeValue::Integer(number) => shortened(&number.to_string(), 60).into_owned(),
        DeValue::Float(number) => shortened(number.as_str(), 60).into_owned(),
        DeValue::Boolean(is) => is.to_string(),
        DeValue::Datetime(instant) => instant.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
