//! The one table of configuration keys: parsing, checks, the sample file, the documentation and `--help` come from it.
//!
//! Length: it is one table, which is read from the top to the bottom.
//! Length: it is one table, in which each key is told once.

/// What a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`, both allowed.
    Integer {
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// One of a few numbers.
    OneNumber(&'static [u64]),
    /// One of a few words.
    OneWord(&'static [&'static str]),
    /// 1 to 32 characters of `a-z 0-9 -`.
    Name,
    /// Text of 1 to 1024 characters.
    Text,
    /// A path; a relative one starts at the folder of the configuration file.
    Path,
    /// `http` or `https`, a host, and perhaps a port and a path.
    Url,
    /// An IP address and a port, such as `127.0.0.1:7402` or `[::1]:7402`; port 0 takes a free one.
    Address,
    /// A list of addresses, at least one.
    Addresses,
    /// A list of networks such as `10.1.0.0/16` or `::1/128`; an address alone is a network of one.
    Networks,
    /// A list of origins such as `https://portal.example.com`; the port may be `*`.
    Origins,
    /// A list of texts.
    Texts,
    /// 1 to 32 printable ASCII characters without a space.
    Word,
    /// Two digits.
    Segment,
    /// A list of tables, each with these keys.
    Tables(&'static [Key]),
}

impl Kind {
    /// What to write for it, in words.
    pub fn words(self, unit: &str) -> String {
        let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number{of} in {min}..={max}"),
            Self::OneNumber(numbers) => format!("one of {}", join(numbers)),
            Self::OneWord(words) => format!("one of {}", join(words)),
            Self::Name => "a name of 1 to 32 characters a-z 0-9 -".to_owned(),
            Self::Text => "a text of 1 to 1024 characters".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Url => "a URL (http or https)".to_owned(),
            Self::Address => "an address ip:port".to_owned(),
            Self::Addresses => "a list of addresses ip:port, at least one".to_owned(),
            Self::Networks => "a list of networks such as 10.1.0.0/16".to_owned(),
            Self::Origins => "a list of origins such as https://portal.example.com".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Word => "1 to 32 printable characters without a space".to_owned(),
            Self::Segment => "two digits, such as \"92\"".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// What a key is when the file does not name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// This value, written as TOML.
    Toml(&'static str),
    /// A value made from another key or from the machine.
    Derived {
        /// How it is made.
        words: &'static str,
        /// What somebody might write instead, as TOML.
        example: &'static str,
    },
    /// Nothing.
    Absent {
        /// What somebody might write, as TOML.
        example: &'static str,
    },
}

/// One configuration key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Dotted path, such as `ws.listen`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Unit of a number, in words; empty where there is none.
    pub unit: &'static str,
    /// What it is when the file does not name it.
    pub preset: Preset,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// Whether a running server takes a change over; otherwise it is read at start.
    pub reloadable: bool,
    /// Whether the value must not be seen: then it is given as `<path>_file` or `<path>_env`, never in the file.
    pub secret: bool,
}

impl Key {
    const fn new(path: &'static str, kind: Kind, preset: Preset, doc: &'static str) -> Self {
        Self { path, kind, unit: "", preset, doc, reloadable: false, secret: false }
    }

    const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// What comes before the first dot; empty for a key of the top level.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The path inside its section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The keys of each table, where this key takes a list of tables; otherwise none.
    pub fn columns(&self) -> &'static [Self] {
        if let Kind::Tables(keys) = self.kind { keys } else { &[] }
    }

    /// The row of this path.
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }
}

/// What each section is about, in the order of the sample file. The first is the top level.
pub const SECTIONS: &[(&str, &str)] = &[
    ("", "Where things lie, and who is believed"),
    ("node", "This server among others"),
    ("log", "What is written to standard error"),
    ("ws", "The WebSocket door"),
    ("fix", "The FIX door"),
    ("web", "Portal and console: the listener of the pages for people"),
    ("portal", "The pages for people, as they are reached"),
    ("mail", "How mails leave: setup links, and news to their owners and to administrators"),
    ("admin", "The local socket of the command line"),
    ("metrics", "Measurements and health, on a listener of their own"),
    ("vault", "Keys and what they protect"),
    ("hashing", "Argon2id, and the pool that computes it; `doorward init` measures this machine"),
    ("passwords", "What a password may not be"),
    ("calendar", "When the market is open; sequence numbers of FIX streams begin anew with its week"),
    ("customer_center", "When key pairs of FIX sessions are made and shown"),
    ("journal", "The append-only record of every decision"),
    ("shutdown", "How the server stops"),
];

const fn within(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Every key, section by section.
pub const KEYS: &[Key] = &[
    Key::new(
        "data_dir",
        Kind::Path,
        Preset::Toml(r#""doorward-data""#),
        "Folder of the journal, the book and the administration socket. One running server owns it.",
    ),
    Key::new(
        "trusted_proxies",
        Kind::Networks,
        Preset::Toml("[]"),
        "Networks of your proxies. The peer address that a PROXY protocol header (version 2) or a Forwarded \
         field names is believed from these only.",
    ),
    Key::new(
        "node.name",
        Kind::Name,
        Preset::Toml(r#""node1""#),
        "Name of this server in audit records, logs and the ids it makes.",
    ),
    Key::new(
        "log.format",
        Kind::OneWord(&["human", "json"]),
        Preset::Toml(r#""human""#),
        "One line of text for each event, or one JSON object.",
    ),
    Key::new(
        "log.level",
        Kind::OneWord(&["error", "warn", "info", "debug", "trace"]),
        Preset::Toml(r#""info""#),
        "The least grave level that is written.",
    ),
    Key::new(
        "ws.listen",
        Kind::Addresses,
        Preset::Toml(r#"["127.0.0.1:7402"]"#),
        "Addresses where the WebSocket door listens.",
    ),
    Key::new(
        "ws.tls.certificate",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/chain.pem""# },
        "PEM file of the certificate chain, the server's own first. With it the door speaks TLS only (wss). \
         Read again, with its key, each minute and on SIGHUP: a change holds for new connections.",
    ),
    Key::new(
        "ws.tls.key",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/key.pem""# },
        "PEM file of the private key of ws.tls.certificate.",
    ),
    Key::new(
        "ws.insecure_off_loopback",
        Kind::Bool,
        Preset::Toml("false"),
        "Allows the door to listen without TLS on an address that is not loopback. Passwords are still encrypted, \
         one-time passwords and answers are not: only behind a proxy that ends TLS on a private network.",
    ),
    Key::new(
        "ws.origins",
        Kind::Origins,
        Preset::Toml("[]"),
        "Origins, besides that of portal.public_url, whose pages may open the door from a browser. Programs send \
         none and are let in.",
    ),
    Key::new("ws.login_s_max", within(1, 600), Preset::Toml("30"), "Time in all to finish logging in, both steps.")
        .unit("seconds"),
    Key::new(
        "ws.token_valid_s",
        within(60, 604_800),
        Preset::Toml("43200"),
        "For how long a token lets a customer in whose login a program had verified. It ends before that with their \
         password, second factor, lock or disabling. A token that is there keeps the end that it was given.",
    )
    .unit("seconds"),
    Key::new(
        "ws.outbound_bytes_max",
        within(64 * KIB, 64 * MIB),
        Preset::Toml("1048576"),
        "Answers that may wait for a peer that does not read; past it the connection is closed.",
    )
    .unit("bytes"),
    Key::new(
        "ws.ping_s",
        within(1, 600),
        Preset::Toml("20"),
        "Time between two pings; two that go unanswered close the connection.",
    )
    .unit("seconds"),
    Key::new(
        "ws.connections_max",
        within(0, 1_000_000),
        Preset::Toml("0"),
        "Connections at one time. 0 takes as many as the file descriptors of the process allow, 100000 at most. \
         At most 60 % of them may be not logged in yet; past that the oldest such one is closed.",
    )
    .unit("connections"),
    Key::new(
        "ws.proxy_protocol",
        Kind::Bool,
        Preset::Toml("false"),
        "Each connection from trusted_proxies begins with a PROXY protocol header, version 2.",
    ),
    Key::new(
        "fix.venue",
        Kind::Word,
        Preset::Toml(r#""CME""#),
        "Name of the venue: SenderCompID (49) of what we send, TargetCompID (56) of what clients send.",
    ),
    Key::new(
        "fix.code_tag",
        within(5_000, 39_999),
        Preset::Toml("20030"),
        "Tag of the one-time password on listeners of profile trader-otp.",
    ),
    Key::new(
        "fix.outbound_bytes_max",
        within(64 * KIB, 64 * MIB),
        Preset::Toml("1048576"),
        "Messages that may wait for a client that does not read; past it the connection is closed, and application \
         messages stay stored.",
    )
    .unit("bytes"),
    Key::new(
        "fix.backend",
        Kind::OneWord(&["sim", "echo"]),
        Preset::Toml(r#""sim""#),
        "Who takes application messages: sim is the built-in simulated venue, echo sends each message back.",
    ),
    Key::new(
        "fix.listeners",
        Kind::Tables(FIX_LISTENERS),
        Preset::Toml("[]"),
        "Where the FIX door listens: one table [[fix.listeners]] a listener, with the keys below. Without one there is \
         no FIX door.",
    ),
    Key::new(
        "web.listen",
        Kind::Addresses,
        Preset::Absent { example: r#"["127.0.0.1:8443"]"# },
        "Addresses where portal and console are served. Without one there are no pages.",
    ),
    Key::new(
        "web.tls.certificate",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/chain.pem""# },
        "PEM file of the certificate chain, the server's own first. With it the pages are served by https only.",
    ),
    Key::new(
        "web.tls.key",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/key.pem""# },
        "PEM file of the private key of web.tls.certificate.",
    ),
    Key::new(
        "web.insecure_off_loopback",
        Kind::Bool,
        Preset::Toml("false"),
        "Allows the pages without TLS on an address that is not loopback: only behind a proxy that ends TLS on a private \
         network.",
    ),
    Key::new(
        "web.proxy_protocol",
        Kind::Bool,
        Preset::Toml("false"),
        "Each connection from trusted_proxies begins with a PROXY protocol header, version 2.",
    ),
    Key::new(
        "portal.public_url",
        Kind::Url,
        Preset::Absent { example: r#""https://portal.example.com""# },
        "Where people reach portal and console: what links in mails and the register_url of an answer begin with; its \
         origin may open the WebSocket door. Without it, the first address of web.listen. With web.listen it has no path: \
         the pages lie at the root.",
    ),
    Key::new(
        "mail.server",
        Kind::Text,
        Preset::Absent { example: r#""smtp.example.com""# },
        "Name or address of the mail server that takes mails (SMTP). Without it, and without mail.folder, mails wait.",
    ),
    Key::new(
        "mail.security",
        Kind::OneWord(&["starttls", "tls", "none"]),
        Preset::Toml(r#""starttls""#),
        "How the connection is protected: starttls begins plain and sends nothing before TLS, tls is TLS from the \
         first byte, none is for a server on this machine only.",
    ),
    Key::new(
        "mail.port",
        within(1, 65_535),
        Preset::Derived { words: "587 for starttls, 465 for tls, 25 for none", example: "587" },
        "Its port.",
    ),
    Key::new(
        "mail.tls_ca",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/mail-ca.pem""# },
        "PEM file of root certificates to trust for the mail server, besides those of the machine.",
    ),
    Key::new(
        "mail.user",
        Kind::Text,
        Preset::Absent { example: r#""doorward""# },
        "User at the mail server, where it asks for one; with mail.password.",
    ),
    Key::new("mail.password", Kind::Text, Preset::Absent { example: "" }, "Password of mail.user.").secret(),
    Key::new(
        "mail.from",
        Kind::Text,
        Preset::Absent { example: r#""Doorward <no-reply@example.com>""# },
        "Who mails are from. Needed with mail.server and mail.folder.",
    ),
    Key::new(
        "mail.reply_to",
        Kind::Text,
        Preset::Absent { example: r#""support@example.com""# },
        "Where answers go, if not to mail.from.",
    ),
    Key::new(
        "mail.folder",
        Kind::Path,
        Preset::Absent { example: r#""/var/lib/doorward-mails""# },
        "For trials: mails are not sent, each is a file in this folder. mail.server is not used then.",
    ),
    Key::new(
        "admin.socket",
        Kind::Path,
        Preset::Derived { words: "`<data_dir>/admin.sock`", example: r#""/run/doorward/admin.sock""# },
        "Unix socket of the command line, mode 0600: for root and the server's own user.",
    ),
    Key::new(
        "metrics.listen",
        Kind::Address,
        Preset::Toml(r#""127.0.0.1:7490""#),
        "Address of /metrics, /healthz and /readyz.",
    ),
    Key::new(
        "metrics.tls.certificate",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/chain.pem""# },
        "PEM file of the certificate chain of this listener. Read again, with its key, each minute and on SIGHUP.",
    ),
    Key::new(
        "metrics.tls.key",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/key.pem""# },
        "PEM file of the private key of metrics.tls.certificate.",
    ),
    Key::new(
        "metrics.insecure_off_loopback",
        Kind::Bool,
        Preset::Toml("false"),
        "Allows this listener without TLS on an address that is not loopback.",
    ),
    Key::new(
        "vault.provider",
        Kind::OneWord(&["soft"]),
        Preset::Toml(r#""soft""#),
        "Who keeps the keys: soft is a sealed key file on this machine.",
    ),
    Key::new(
        "vault.key_file",
        Kind::Path,
        Preset::Derived { words: "`<data_dir>.keys/vault.key`", example: r#""/var/lib/doorward.keys/vault.key""# },
        "The vault's key file, made at first start and sealed as vault.passphrase tells. It must lie outside data_dir, or \
         a backup would hold it.",
    ),
    Key::new(
        "vault.passphrase",
        Kind::Text,
        Preset::Absent { example: "" },
        "Passphrase under which the key file is sealed, at least 12 bytes. Without one it is the systemd credential \
         doorward-vault ($CREDENTIALS_DIRECTORY) where there is one, else a file made beside the key file: then mode \
         0600 is the only protection.",
    )
    .secret(),
    Key::new(
        "vault.challenge_s",
        within(5, 3600),
        Preset::Toml("60"),
        "How long a challenge key is handed out before the next one takes its place.",
    )
    .unit("seconds"),
    Key::new(
        "vault.challenge_grace_s",
        within(0, 3600),
        Preset::Toml("35"),
        "How much longer it opens passwords; then it is destroyed.",
    )
    .unit("seconds"),
    Key::new(
        "vault.challenge_bits",
        Kind::OneNumber(&[1024, 2048, 3072]),
        Preset::Toml("2048"),
        "RSA modulus of challenge keys. 1024 needs vault.legacy_rsa_1024.",
    )
    .unit("bits"),
    Key::new(
        "vault.legacy_rsa_1024",
        Kind::Bool,
        Preset::Toml("false"),
        "Allows challenge keys of 1024 bits, which can be broken, for programs that take no other. Warned about at \
         each start.",
    ),
    Key::new(
        "vault.pkcs1",
        Kind::Bool,
        Preset::Toml("true"),
        "Takes passwords padded by PKCS#1 v1.5, as Java's Cipher \"RSA\" does; false leaves OAEP-SHA256 only.",
    ),
    Key::new(
        "hashing.memory_kib",
        within(19_456, 262_144),
        Preset::Toml("19456"),
        "Memory of one Argon2id hash.",
    )
    .unit("KiB"),
    Key::new("hashing.passes", within(2, 10), Preset::Toml("2"), "Passes over that memory.").unit("passes"),
    Key::new("hashing.lanes", within(1, 4), Preset::Toml("1"), "Lanes of that memory (Argon2's p).").unit("lanes"),
    Key::new(
        "hashing.threads",
        within(1, 256),
        Preset::Derived { words: "one for each processor core", example: "2" },
        "Hashes that are computed at one time; each needs hashing.memory_kib.",
    )
    .unit("threads"),
    Key::new(
        "hashing.queue_max",
        within(1, 100_000),
        Preset::Toml("1000"),
        "Hashes that may wait; past it a login is answered \"busy\".",
    )
    .unit("hashes"),
    Key::new(
        "hashing.queue_ms_max",
        within(100, 30_000),
        Preset::Toml("5000"),
        "Longest wait; past it a login is answered \"busy\", as is whatever is not decided after 12 s.",
    )
    .unit("milliseconds"),
    Key::new(
        "passwords.breach_list",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/breached.txt""# },
        "A list of your own of passwords to refuse, one a line, in UTF-8, besides the built-in list.",
    ),
    Key::new(
        "passwords.product_names",
        Kind::Texts,
        Preset::Toml(r#"["doorward"]"#),
        "Words that no password may hold, such as your venue's and products' names; upper and lower case are alike.",
    ),
    Key::new(
        "calendar.mode",
        Kind::OneWord(&["weekly", "always"]),
        Preset::Toml(r#""weekly""#),
        "always: never closed; numbers begin anew at calendar.open all the same, and key pairs are made at all hours.",
    ),
    Key::new(
        "calendar.zone",
        Kind::Text,
        Preset::Toml(r#""America/Chicago""#),
        "Time zone of all times here, as the IANA database names it; daylight saving is taken care of.",
    ),
    Key::new(
        "calendar.open",
        Kind::Text,
        Preset::Toml(r#""sunday 10:30""#),
        "When the trading week opens.",
    ),
    Key::new(
        "calendar.close",
        Kind::Text,
        Preset::Toml(r#""friday 17:00""#),
        "When it closes.",
    ),
    Key::new(
        "calendar.daily_close",
        Kind::Text,
        Preset::Toml(r#""16:00""#),
        "When the market closes on each day with a session; key pairs that a newer one replaces end then.",
    ),
    Key::new(
        "calendar.holidays",
        Kind::Texts,
        Preset::Toml("[]"),
        "Dates without a session, such as \"2026-12-25\".",
    ),
    Key::new(
        "customer_center.close",
        Kind::Text,
        Preset::Toml(r#""friday 16:30""#),
        "From when in the week key pairs are neither made nor shown.",
    ),
    Key::new(
        "customer_center.open",
        Kind::Text,
        Preset::Toml(r#""sunday 10:00""#),
        "From when on they are again.",
    ),
    Key::new(
        "journal.segment_bytes",
        within(MIB, 64 * MIB),
        Preset::Toml("67108864"),
        "Size of one journal file; a full one is sealed and the next begun.",
    )
    .unit("bytes"),
    Key::new(
        "journal.stream_segment_bytes",
        within(MIB, 64 * MIB),
        Preset::Toml("67108864"),
        "Size of one file of the FIX messages that are kept to be sent again.",
    )
    .unit("bytes"),
    Key::new(
        "journal.keep_days",
        within(1, 3_650),
        Preset::Toml("30"),
        "How long FIX messages are kept at least; files all of whose messages are older are removed.",
    )
    .unit("days"),
    Key::new(
        "journal.keep_records_days",
        within(0, 36_500),
        Preset::Toml("0"),
        "How long records are kept at least; files all of whose records are older are removed, by a signed statement. \
         0 keeps them for ever.",
    )
    .unit("days"),
    Key::new(
        "shutdown.drain_s",
        within(0, 600),
        Preset::Toml("10"),
        "How long logins under way may finish after SIGTERM before everything is closed.",
    )
    .unit("seconds"),
];

/// The keys of one table `[[fix.listeners]]`.
pub const FIX_LISTENERS: &[Key] = &[
    Key::new(
        "fix.listeners.name",
        Kind::Name,
        Preset::Absent { example: r#""cgw1""# },
        "Name of the listener in logs and answers; each has its own. It must be given.",
    ),
    Key::new(
        "fix.listeners.listen",
        Kind::Address,
        Preset::Absent { example: r#""127.0.0.1:7410""# },
        "Address where it listens. It must be given.",
    ),
    Key::new(
        "fix.listeners.profile",
        Kind::OneWord(&["cme-secure", "trader-otp"]),
        Preset::Toml(r#""cme-secure""#),
        "What is spoken: cme-secure for trading systems with a signed Logon, trader-otp for people with a password and \
         a one-time password.",
    ),
    Key::new(
        "fix.listeners.kind",
        Kind::OneWord(&["cgw", "msgw"]),
        Preset::Toml(r#""cgw""#),
        "Gateway of profile cme-secure: cgw for all market segments, msgw for the one of fix.listeners.segment.",
    ),
    Key::new(
        "fix.listeners.segment",
        Kind::Segment,
        Preset::Absent { example: r#""92""# },
        "Market segment of a gateway of kind msgw: TargetSubID (57) of its clients.",
    ),
    Key::new(
        "fix.listeners.connections_max",
        within(0, 1_000_000),
        Preset::Toml("0"),
        "Connections at one time. 0 takes as many as the file descriptors of the process allow, 100000 at most. \
         At most 60 % of them may be not logged on yet; past that the oldest such one is closed.",
    )
    .unit("connections"),
    Key::new(
        "fix.listeners.tls.certificate",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/chain.pem""# },
        "PEM file of the certificate chain, the server's own first. With it the listener speaks TLS only. \
         Read again, with its key and client_ca, each minute and on SIGHUP: a change holds for new connections.",
    ),
    Key::new(
        "fix.listeners.tls.key",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/key.pem""# },
        "PEM file of the private key of fix.listeners.tls.certificate.",
    ),
    Key::new(
        "fix.listeners.tls.client_ca",
        Kind::Path,
        Preset::Absent { example: r#""/etc/doorward/tls/clients.pem""# },
        "PEM file of the authorities that certificates of clients must come from. With it the listener asks its clients \
         for a certificate; the Logon has to be good all the same.",
    ),
    Key::new(
        "fix.listeners.tls.client_certificates",
        Kind::OneWord(&["optional", "required"]),
        Preset::Absent { example: r#""required""# },
        "With fix.listeners.tls.client_ca: required, as is so where it is not set, lets nobody in without a certificate; \
         optional lets in who has none. One that is not good is refused either way.",
    ),
    Key::new(
        "fix.listeners.insecure_off_loopback",
        Kind::Bool,
        Preset::Toml("false"),
        "Allows the listener without TLS on an address that is not loopback. Passwords of profile trader-otp are then \
         sent in clear: only on a private network.",
    ),
    Key::new(
        "fix.listeners.proxy_protocol",
        Kind::Bool,
        Preset::Toml("false"),
        "Each connection from trusted_proxies begins with a PROXY protocol header, version 2.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_listed_once_and_in_a_section_that_is_described() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[at + 1..].iter().all(|other| other.path != key.path),
                "{} is listed twice",
                key.path
            );
            assert!(SECTIONS.iter().any(|(section, _)| *section == key.section()), "{}", key.path);
            assert!(key.doc.ends_with('.'), "{}", key.path);
        }
    }

    #[test]
    fn the_keys_of_a_section_lie_together_in_the_order_of_the_sections() {
        let order: Vec<usize> =
            KEYS.iter().map(|key| SECTIONS.iter().position(|(s, _)| *s == key.section()).unwrap()).collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn a_number_with_a_unit_in_its_name_has_that_unit() {
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Integer { .. })) {
            let name = key.path.trim_end_matches("_max");
            let unit = match name.rsplit('_').next() {
                Some("s") => "seconds",
                Some("ms") => "milliseconds",
                Some("bytes") => "bytes",
                Some("kib") => "KiB",
                Some("days") => "days",
                Some(_) | None => key.unit,
            };
            assert_eq!(key.unit, unit, "{}", key.path);
        }
    }

    #[test]
    fn q3_no_secret_has_a_default() {
        for key in KEYS.iter().filter(|key| key.secret) {
            assert!(matches!(key.preset, Preset::Absent { .. }), "{}", key.path);
        }
    }
}
