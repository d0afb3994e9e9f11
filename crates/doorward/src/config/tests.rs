//! Rules of the configuration, each by its name.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::docs::{markdown, sample};
use super::keys::{KEYS, Key, Kind, Preset};
use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "doorward.toml", Path::new("/etc/doorward"), &no_env)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/doorward/doorward-data"));
    assert_eq!(config.vault.key_file, Path::new("/etc/doorward/doorward-data.keys/vault.key"));
    assert_eq!(config.admin.socket, Path::new("/etc/doorward/doorward-data/admin.sock"));
    assert_eq!(config.node, "node1");
    assert_eq!(config.log, Log { format: LogFormat::Human, level: tracing::Level::INFO });
    assert_eq!(config.ws.listen, ["127.0.0.1:7402".parse().unwrap()]);
    assert_eq!(config.ws.login_max, Duration::from_secs(30));
    assert_eq!(config.ws.token_valid, Duration::from_secs(12 * 3_600), "rule 9");
    assert_eq!(config.ws.outbound_bytes_max, 1 << 20);
    assert_eq!((config.ws.ping, config.ws.connections_max), (Duration::from_secs(20), None));
    assert_eq!((config.vault.challenge.as_secs(), config.vault.challenge_grace.as_secs()), (60, 35));
    assert_eq!((config.vault.challenge_bits, config.vault.pkcs1), (2048, true));
    assert_eq!((config.hashing.memory_kib, config.hashing.passes, config.hashing.lanes), (19_456, 2, 1));
    assert!(config.hashing.threads >= 1);
    assert!(config.public_url.is_none() && config.vault.passphrase.is_none());
    assert!(config.warnings().is_empty());
}

#[test]
fn every_key_is_read_as_its_kind() {
    // A user of the mail server needs a password, which is no plain key.
    let plain = || KEYS.iter().filter(|key| !key.secret && key.path != "mail.user");
    let text: String = plain()
        .map(|key| match key.preset {
            Preset::Toml(value) => format!("{} = {value}\n", key.path),
            Preset::Derived { example, .. } | Preset::Absent { example } => {
                format!("{} = {example}\n", key.path)
            }
        })
        .collect();
    let config = parse(&text).unwrap();
    for key in plain() {
        assert!(matches!(config.settings()[key.path].origin, Origin::Line(_)), "{}", key.path);
    }
    assert!(config.ws.tls.is_some() && config.metrics.tls.is_some() && config.public_url.is_some());
}

#[test]
fn every_default_and_example_fits_its_key() {
    let config = parse("").unwrap();
    for key in KEYS {
        let is_set = config.settings().contains_key(key.path);
        assert_eq!(is_set, !matches!(key.preset, Preset::Absent { .. }), "{}", key.path);
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let text = "\n# a comment\n[ws]\nlisen = [\"127.0.0.1:1\"]\n";
    assert_eq!(refused(text), "doorward.toml:4: ws.lisen is no known key; did you mean ws.listen?");
    assert_eq!(
        refused("dat_dir = \"x\""),
        "doorward.toml:1: dat_dir is no known key; did you mean data_dir?"
    );
    assert_eq!(
        refused("[fiz]\nping_s = 1"),
        "doorward.toml:2: fiz.ping_s is no known key; did you mean ws.ping_s?",
        "the right name in an unknown section"
    );
    assert_eq!(
        refused("vault.pasphrase_file = \"x\""),
        "doorward.toml:1: vault.pasphrase_file is no known key; did you mean vault.passphrase_file?"
    );
    assert!(refused("zzzzzzzzzzzzzzzzzzzzzzz = 1").contains("is no known key; the nearest is "));
    assert!(refused("[[ws]]\nlisten = 1").contains("ws: is a section of keys, not a list"));
    assert!(refused("[empty]").contains("empty is no known key"));
}

#[test]
fn all_faults_are_listed_at_once_one_line_each() {
    let text = "ws.login_s_max = 4000\nhashing.passes = 1\nws.lisen = []\nlog.level = \"loud\"\n";
    assert_eq!(
        refused(text),
        "doorward.toml:1: ws.login_s_max: 4000 is out of range 1..=600\n\
         doorward.toml:2: hashing.passes: 1 is out of range 2..=10\n\
         doorward.toml:3: ws.lisen is no known key; did you mean ws.listen?\n\
         doorward.toml:4: log.level: takes one of error, warn, info, debug, trace, not \"loud\""
    );
}

/// What the table allows for a number.
fn range(path: &str) -> (u64, u64) {
    match Key::find(path).map(|key| key.kind) {
        Some(Kind::Integer { min, max }) => (min, max),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn p7_the_ranges_of_hashing_are_those_that_the_hash_takes() {
    use crate::hashing::HashParams;

    let floor = HashParams::FLOOR;
    let taken = |at: usize, value: u64| {
        let mut three = [floor.m_kib(), floor.t(), floor.p()];
        three[at] = value.try_into().unwrap();
        HashParams::new(three[0], three[1], three[2]).is_ok()
    };
    for (at, path) in ["hashing.memory_kib", "hashing.passes", "hashing.lanes"].into_iter().enumerate() {
        let (min, max) = range(path);
        assert!(taken(at, min) && taken(at, max), "{path}");
        assert!(!taken(at, min - 1) && !taken(at, max + 1), "{path}");
    }
}

#[test]
fn a_passphrase_that_the_vault_would_not_take_is_refused_before() {
    assert_eq!(super::check::PASSPHRASE_BYTES_MIN, crate::vault::PASSPHRASE_LEN_MIN);
    let short = |_: &str| Some("elevenbytes".to_owned());
    let error =
        Config::parse("vault.passphrase_env = \"DW_PASS\"", "f", Path::new("/etc"), &short).unwrap_err();
    assert_eq!(
        error.to_string(),
        "f:1: vault.passphrase: has 11 bytes, at least 12 are needed; give a longer one"
    );
}

#[test]
fn the_range_of_a_segment_is_one_that_the_journal_takes() {
    use crate::journal::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

    let (min, max) = range("journal.segment_bytes");
    assert!(min >= SEGMENT_BYTES_MIN, "{min}");
    assert_eq!(max, SEGMENT_BYTES_MAX);
}

#[test]
fn a_wrong_type_says_what_is_taken() {
    for (text, error) in [
        ("ws.ping_s = \"20\"", "ws.ping_s: takes a whole number of seconds in 1..=600, not \"20\""),
        ("ws.ping_s = -5", "ws.ping_s: -5 is out of range 1..=600"),
        ("ws.token_valid_s = 59", "ws.token_valid_s: 59 is out of range 60..=604800"),
        ("ws.ping_s = 2.5", "ws.ping_s: takes a whole number of seconds in 1..=600, not 2.5"),
        ("vault.pkcs1 = 1", "vault.pkcs1: takes true or false, not 1"),
        (
            "ws.listen = \"127.0.0.1:1\"",
            "ws.listen: takes a list of addresses ip:port, at least one, not \"127.0.0.1:1\"",
        ),
        ("ws.listen = []", "ws.listen: takes at least one address"),
        ("ws.listen = [\"127.0.0.1:70000\"]", "ws.listen: port 70000 is out of range 0..=65535"),
        (
            "ws.listen = [\"localhost:1\"]",
            "ws.listen: \"localhost:1\" is no address; write ip:port, such as 127.0.0.1:7402",
        ),
        ("ws = 3", "ws: is a section of keys, not 3"),
        ("node.name = \"Node 1\"", "node.name: takes a name of 1 to 32 characters a-z 0-9 -, not \"Node 1\""),
        ("vault.challenge_bits = 1536", "vault.challenge_bits: takes one of 1024, 2048, 3072, not 1536"),
        ("data_dir = \"\"", "data_dir: takes a path, not \"\""),
        (
            "trusted_proxies = [\"10.0.0.1/8\"]",
            "trusted_proxies: \"10.0.0.1/8\" has bits set past its prefix; did you mean 10.0.0.0/8?",
        ),
        ("hashing.memory_kib = 19455", "hashing.memory_kib: 19455 is out of range 19456..=262144"),
    ] {
        assert_eq!(refused(text), format!("doorward.toml:1: {error}"));
    }
}

#[test]
fn broken_toml_and_repeated_keys_are_refused_with_their_line() {
    assert!(refused("a = \n").starts_with("doorward.toml:1: "));
    let repeated = refused("[ws]\nping_s = 1\nping_s = 2\n");
    assert!(repeated.starts_with("doorward.toml:3: ") && repeated.contains("duplicate key"), "{repeated}");
    let control = refused("\"\\u001b[31m\" = 1");
    assert!(control.contains("\\u{1b}[31m is no known key"), "{control}");
}

#[test]
fn a_file_that_is_not_there_or_not_utf_8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.toml");
    assert!(Config::load(&path, &no_env).unwrap_err().to_string().contains("doorward.toml: No such file"));
    std::fs::write(&path, b"# \xff").unwrap();
    assert!(Config::load(&path, &no_env).unwrap_err().to_string().ends_with("doorward.toml: is not UTF-8"));
    std::fs::write(&path, "data_dir = \"data\"").unwrap();
    assert_eq!(Config::load(&path, &no_env).unwrap().data_dir, folder.path().join("data"));
}

#[test]
fn e7_plain_off_loopback_is_refused_without_its_switch() {
    for (section, listen) in [("ws", "[\"0.0.0.0:7402\"]"), ("metrics", "\"192.0.2.7:7490\"")] {
        let plain = format!("{section}.listen = {listen}\n");
        let error = refused(&plain);
        assert!(error.starts_with(&format!("doorward.toml:1: {section}.listen: ")), "{error}");
        assert!(error.contains("is off loopback and has no TLS"), "{error}");

        let switched = parse(&format!("{plain}{section}.insecure_off_loopback = true")).unwrap();
        assert_eq!(switched.warnings().len(), 1);

        let tls = format!("{plain}{section}.tls.certificate = \"c.pem\"\n{section}.tls.key = \"k.pem\"");
        assert!(parse(&tls).unwrap().warnings().is_empty());
    }
}

#[test]
fn e7_loopback_needs_no_tls() {
    let text = "ws.listen = [\"127.9.9.9:1\", \"[::1]:2\", \"[::ffff:127.0.0.1]:3\"]";
    assert!(parse(text).is_ok());
    assert!(refused("ws.listen = [\"[::ffff:192.0.2.1]:3\"]").contains("off loopback"));
}

#[test]
fn e7_one_address_off_loopback_among_others_is_found() {
    let error = refused("ws.listen = [\"127.0.0.1:1\", \"192.0.2.1:1\"]");
    assert!(error.contains("192.0.2.1:1 is off loopback"), "{error}");
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    assert_eq!(
        refused("ws.tls.certificate = \"c.pem\""),
        "doorward.toml:1: ws.tls.certificate: needs ws.tls.key as well"
    );
    assert_eq!(
        refused("[metrics.tls]\nkey = \"k.pem\""),
        "doorward.toml:2: metrics.tls.key: needs metrics.tls.certificate as well"
    );
}

#[test]
fn e6_rsa_1024_needs_the_legacy_switch_and_is_warned_about() {
    assert_eq!(
        refused("vault.challenge_bits = 1024"),
        "doorward.toml:1: vault.challenge_bits: 1024 is below 2048; only vault.legacy_rsa_1024 = true allows it"
    );
    let legacy = parse("vault.challenge_bits = 1024\nvault.legacy_rsa_1024 = true").unwrap();
    assert!(legacy.warnings()[0].contains("legacy"));
    assert!(parse("vault.challenge_bits = 3072").unwrap().warnings().is_empty());
}

#[test]
fn the_key_file_lies_outside_the_data_directory() {
    for inside in ["data/vault.key", "data/deep/vault.key", "other/../data/vault.key", "./data//vault.key"] {
        let text = format!("data_dir = \"data\"\nvault.key_file = \"{inside}\"");
        assert!(refused(&text).starts_with("doorward.toml:2: vault.key_file: "), "{inside}");
    }
    assert!(parse("data_dir = \"data\"\nvault.key_file = \"data.keys/vault.key\"").is_ok());
}

#[test]
fn the_key_file_is_not_behind_a_link_into_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::os::unix::fs::symlink("data", folder.path().join("link")).unwrap();
    let text = "data_dir = \"data\"\nvault.key_file = \"link/vault.key\"";
    let error = Config::parse(text, "f", folder.path(), &no_env).unwrap_err().to_string();
    assert!(error.contains("lies inside data_dir"), "{error}");
}

#[test]
fn one_address_is_listened_on_once_but_port_0_as_often_as_wanted() {
    assert!(
        refused("ws.listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]").contains("is taken by ws.listen already")
    );
    assert!(
        refused("ws.listen = [\"127.0.0.1:7490\"]")
            .contains("metrics.listen: 127.0.0.1:7490 is taken by ws.listen")
    );
    let any = "ws.insecure_off_loopback = true\nws.listen = [\"0.0.0.0:5\", \"127.0.0.1:5\"]";
    assert!(refused(any).contains("is taken by ws.listen already (0.0.0.0:5)"));
    assert!(
        parse("ws.listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nmetrics.listen = \"127.0.0.1:0\"").is_ok()
    );
}

#[test]
fn the_proxy_protocol_needs_a_trusted_proxy() {
    assert!(refused("ws.proxy_protocol = true").contains("name your proxies in trusted_proxies"));
    assert!(parse("ws.proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]").is_ok());
}

fn listener(more: &str) -> String {
    format!("[[fix.listeners]]\nname = \"one\"\nlisten = \"127.0.0.1:7410\"\n{more}\n")
}

#[test]
fn each_fix_listener_is_a_table_with_defaults_of_its_own() {
    let second = "[[fix.listeners]]\nname = \"two\"\nlisten = \"127.0.0.1:7411\"\nkind = \"msgw\"\nsegment = \"92\"\n\
                  [[fix.listeners]]\nname = \"people\"\nlisten = \"127.0.0.1:7412\"\nprofile = \"trader-otp\"\n";
    let config = parse(&(listener("") + second)).unwrap();
    assert_eq!((config.fix.venue.as_str(), config.fix.code_tag), ("CME", 20_030));
    let gateways: Vec<_> = config.fix.listeners.iter().map(|one| (one.profile, one.gateway)).collect();
    let (cgw, msgw) = (doorward_core::stream::Gateway::Cgw, doorward_core::stream::Gateway::Msgw(*b"92"));
    let (secure, trader) = (FixProfile::CmeSecure, FixProfile::TraderOtp);
    assert_eq!(gateways, [(secure, cgw), (secure, msgw), (trader, cgw)]);
    let again = parse(&config.show()).unwrap();
    assert_eq!(config.fix.listeners, again.fix.listeners, "{}", config.show());
    assert_eq!(config.show_json()["fix.listeners"]["value"][1]["segment"], "92");
}

#[test]
fn a_fault_in_a_listener_is_told_with_its_line() {
    for (more, line, error) in [
        ("lisen = 1", 4, "fix.listeners.lisen is no known key; did you mean fix.listeners.listen?"),
        ("kind = \"msgw\"", 1, "fix.listeners.segment: kind msgw needs the market segment, two digits"),
        ("segment = \"9\"", 4, "fix.listeners.segment: takes two digits, such as \"92\", not \"9\""),
        ("tls = 1", 4, "fix.listeners.tls: is a section of keys, not 1"),
        ("tls.key = \"k\"", 4, "fix.listeners.tls.key: needs fix.listeners.tls.certificate as well"),
        (
            "tls.client_ca = \"c\"",
            4,
            "fix.listeners.tls.client_ca: needs fix.listeners.tls.certificate as well",
        ),
        (
            "tls.client_certificates = \"optional\"",
            4,
            "fix.listeners.tls.client_certificates: needs fix.listeners.tls.client_ca as well",
        ),
    ] {
        assert_eq!(refused(&listener(more)), format!("doorward.toml:{line}: {error}"));
    }
    assert!(refused(&listener("segment = \"92\"")).contains("only kind msgw has a market segment"));
    assert!(
        refused("[[fix.listeners]]\n").contains(":1: fix.listeners.name: each listener must be given one")
    );
    assert!(refused("fix.listeners = 3").contains("fix.listeners: takes a list of tables, not 3"));
    assert!(refused("fix.listeners = [3]").contains("fix.listeners: holds tables, not 3"));
    assert!(refused(&listener("proxy_protocol = true")).contains("trusted_proxies"));
    let twice = listener("") + &listener("").replace("7410", "7411");
    assert!(refused(&twice).contains(":6: fix.listeners.name: \"one\" is the name of an earlier listener"));
    let trader = listener("profile = \"trader-otp\"\nkind = \"msgw\"\nsegment = \"92\"");
    assert!(refused(&trader).contains("trader-otp knows no market segments"));
    let clash = format!("ws.listen = [\"127.0.0.1:7410\"]\n{}", listener(""));
    assert!(refused(&clash).contains("fix.listeners.listen: 127.0.0.1:7410 is taken by ws.listen"));
}

#[test]
fn certificates_of_clients_are_required_unless_they_are_optional() {
    let tls = "tls.certificate = \"c.pem\"\ntls.key = \"k.pem\"\n";
    let clients = |more: &str| {
        let config = parse(&listener(&format!("{tls}{more}"))).unwrap();
        let again = parse(&config.show()).unwrap();
        assert_eq!(config.fix.listeners, again.fix.listeners, "{}", config.show());
        config.fix.listeners[0].tls.clone().unwrap().clients
    };
    let required = |more: &str| clients(&format!("tls.client_ca = \"ca.pem\"\n{more}")).unwrap().required;
    assert_eq!(clients(""), None);
    assert!(required("") && required("tls.client_certificates = \"required\""));
    assert!(!required("tls.client_certificates = \"optional\""));
}

#[test]
fn e7_a_fix_listener_off_loopback_needs_tls_or_its_switch() {
    let plain = listener("").replace("127.0.0.1", "192.0.2.1");
    let error = refused(&plain);
    assert!(
        error.starts_with("doorward.toml:3: fix.listeners.listen: 192.0.2.1:7410 is off loopback"),
        "{error}"
    );
    let switched = parse(&format!("{plain}insecure_off_loopback = true")).unwrap();
    assert_eq!(switched.warnings().len(), 1);
    let tls = format!("{plain}tls.certificate = \"c.pem\"\ntls.key = \"k.pem\"");
    assert!(parse(&tls).unwrap().warnings().is_empty());
}

#[test]
fn the_path_of_the_socket_fits_into_an_address() {
    let text = format!("data_dir = \"/{}\"", "d".repeat(120));
    assert!(refused(&text).contains("admin.socket: "));
}

#[test]
fn q3_a_secret_comes_from_a_file_or_the_environment_and_shows_as_stars() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass");
    std::fs::write(&file, "correct horse\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let env = |name: &str| (name == "DW_PASS").then(|| "battery staple".to_owned());

    let by_file = Config::parse("vault.passphrase_file = \"pass\"", "f", folder.path(), &env).unwrap();
    assert_eq!(by_file.vault.passphrase.as_ref().unwrap().expose(), "correct horse");
    let by_env = Config::parse("vault.passphrase_env = \"DW_PASS\"", "f", folder.path(), &env).unwrap();
    assert_eq!(by_env.vault.passphrase.as_ref().unwrap().expose(), "battery staple");
    assert!(
        by_env
            .show()
            .lines()
            .any(|l| l.starts_with("vault.passphrase = \"***\"") && l.ends_with("# environment DW_PASS"))
    );
    for config in [by_file, by_env] {
        let shown = format!("{} {} {config:?}", config.show(), config.show_json());
        assert!(!shown.contains("horse") && !shown.contains("staple"));
    }
}

#[test]
fn q3_a_secret_in_the_file_open_to_all_missing_or_given_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    std::fs::write(&open, "seen by all").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o600)).unwrap();
    let refused = |text: &str| Config::parse(text, "f", folder.path(), &no_env).unwrap_err().to_string();

    let inline = refused("vault.passphrase = \"correct horse\"");
    assert!(inline.contains("name vault.passphrase_file or vault.passphrase_env instead"), "{inline}");
    assert!(!inline.contains("horse"));
    assert!(
        refused("vault.passphrase_file = \"open\"").contains("mode 0644 lets everybody in; make it 0600")
    );
    assert!(refused("vault.passphrase_file = \"empty\"").contains("the secret is empty"));
    assert!(refused("vault.passphrase_file = \"none\"").contains("No such file"));
    assert!(
        refused("vault.passphrase_env = \"NONE\"")
            .contains("vault.passphrase_env: the environment has no NONE")
    );
    let twice = refused("vault.passphrase_file = \"a\"\nvault.passphrase_env = \"B\"");
    assert!(twice.contains("give vault.passphrase_file or vault.passphrase_env, not both"), "{twice}");
}

#[test]
fn show_prints_a_file_that_says_the_same() {
    let text = "ws.origins = [\"http://127.0.0.1:*\"]\nportal.public_url = \"https://p.test/x\"\nhashing.threads = 3\n\
                trusted_proxies = [\"10.0.0.0/8\"]\ndata_dir = \"/var/with \\u007f and \\\"\"\n";
    let config = parse(text).unwrap();
    let shown = config.show();
    assert!(shown.contains("# default\n") && shown.contains("# line 1\n") && shown.contains("# not set\n"));
    let again = parse(&shown).unwrap();
    let values = |config: &Config| -> BTreeMap<&str, String> {
        config.settings().iter().map(|(path, setting)| (*path, format!("{:?}", setting.value))).collect()
    };
    assert_eq!(values(&config), values(&again));
}

#[test]
fn the_sample_file_is_the_defaults_and_stays_valid_without_its_comments() {
    let plain = parse(&sample(&[])).unwrap();
    assert!(plain.settings().values().all(|setting| setting.origin == Origin::Default));

    let set = sample(&[("hashing.memory_kib", "65536".to_owned()), ("data_dir", "\"/srv/dw\"".to_owned())]);
    let config = parse(&set).unwrap();
    assert_eq!((config.hashing.memory_kib, config.data_dir.as_path()), (65_536, Path::new("/srv/dw")));

    let is_entry = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let uncommented: String = sample(&[])
        .lines()
        .filter(|line| {
            !line.contains("passphrase") && !line.contains("password_") && !line.starts_with("#user")
        })
        .map(|line| if is_entry(&line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .collect();
    let all = parse(&uncommented).unwrap();
    let set_count = all.settings().values().filter(|setting| setting.origin != Origin::Default).count();
    // A user of the mail server needs a password, which is no plain key.
    assert_eq!(set_count, KEYS.iter().filter(|key| !key.secret && key.path != "mail.user").count());
}

#[test]
fn every_integer_is_refused_just_outside_its_range() {
    for key in KEYS {
        let Key { path, kind: Kind::Integer { min, max }, .. } = key else { continue };
        for outside in [min.checked_sub(1), Some(max + 1)].into_iter().flatten() {
            let error = refused(&format!("{path} = {outside}"));
            assert_eq!(error, format!("doorward.toml:1: {path}: {outside} is out of range {min}..={max}"));
        }
    }
}

#[test]
fn the_committed_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == markdown(),
        "docs/configuration.md: run `doorward config show --docs > docs/configuration.md`"
    );
}
