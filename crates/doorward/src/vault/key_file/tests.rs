use std::os::unix::fs::PermissionsExt;

use super::*;

/// Argon2id in next to no time.
const QUICK: Stretch = Stretch { m_kib: 8, t: 1, p: 1 };

fn passphrase(text: &str) -> Protection {
    Protection::Passphrase(Secret::new(text.to_owned()))
}

struct Folder {
    folder: tempfile::TempDir,
    keys: KeyRing,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), keys: KeyRing::generate().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key_file(&self, protection: &Protection) -> PathBuf {
        let path = self.path("vault.key");
        create_with(&path, protection, &self.keys, QUICK).unwrap();
        path
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn text_of(path: &Path, protection: &Protection) -> String {
    open(path, protection).map(|_| ()).unwrap_err().to_string()
}

fn opens(path: &Path, protection: &Protection, keys: &KeyRing) {
    let found = open(path, protection).unwrap();
    assert_eq!(found.encode().as_slice(), keys.encode().as_slice());
    assert_eq!(found.master().name, keys.master().name);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn each_protection_opens_what_it_closed() {
    for kind in 0..3 {
        let folder = Folder::new();
        let credential = folder.path("credential");
        fs::write(&credential, "a credential of some length\n").unwrap();
        mode(&credential, 0o440);
        let protection = match kind {
            0 => passphrase("correct horse battery"),
            1 => Protection::Credential(credential),
            _ => Protection::UnlockFile,
        };
        let path = folder.key_file(&protection);
        opens(&path, &protection, &folder.keys);
        let left: Vec<_> =
            fs::read_dir(folder.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    }
}

#[test]
fn the_shipped_stretching_opens_too() {
    let folder = Folder::new();
    let path = folder.path("vault.key");
    create(&path, &passphrase("correct horse battery"), &folder.keys).unwrap();
    opens(&path, &passphrase("correct horse battery"), &folder.keys);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"m_kib\": 65536"), "{text}");
    assert!(!text.contains("master"), "names of keys are sealed too");
}

#[test]
fn a_key_file_is_never_replaced() {
    let folder = Folder::new();
    let path = folder.key_file(&Protection::UnlockFile);
    let other = KeyRing::generate().unwrap();
    assert!(create_with(&path, &Protection::UnlockFile, &other, QUICK).is_err());
    opens(&path, &Protection::UnlockFile, &folder.keys);
    assert!(write_new(&path, b"x").is_err(), "nor where two first starts race");
    opens(&path, &Protection::UnlockFile, &folder.keys);
}

#[test]
fn a_wrong_passphrase_is_told_from_a_damaged_file() {
    let folder = Folder::new();
    let right = passphrase("correct horse battery");
    let path = folder.key_file(&right);
    assert!(text_of(&path, &passphrase("incorrect horse")).contains("wrong passphrase"));
    assert!(text_of(&path, &passphrase("short")).contains("5 bytes, at least 12"));
    assert!(text_of(&path, &Protection::UnlockFile).contains("is opened by a passphrase"));

    let whole = fs::read_to_string(&path).unwrap();
    let damage = [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("\"sealed\": \"", "\"sealed\": \"A"),
        whole.replace("\"t\": 1", "\"t\": 2"),
        whole.replace("\"version\": 1", "\"version\": 2"),
        whole.replace("doorward key file", "something else"),
    ];
    for text in damage {
        assert_ne!(text, whole);
        fs::write(&path, text).unwrap();
        assert!(matches!(open(&path, &right).map(|_| ()), Err(Fault::Damaged(_))));
    }
}

#[test]
fn numbers_in_a_key_file_are_bounded() {
    for stretch in [Stretch { m_kib: u32::MAX, t: 1, p: 1 }, Stretch { m_kib: 8, t: 21, p: 1 }] {
        assert!(matches!(
            stretched(b"correct horse battery", "saltsalt", stretch, "x"),
            Err(Fault::Damaged(_))
        ));
    }
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new();
    let absent = folder.path("vault.key");
    assert!(text_of(&absent, &Protection::UnlockFile).contains("vault.key is missing"));
    let path = folder.key_file(&Protection::UnlockFile);
    fs::remove_file(unlock_path(&path)).unwrap();
    assert!(text_of(&path, &Protection::UnlockFile).contains("unlock file"));
    assert!(text_of(&path, &Protection::UnlockFile).contains("vault.key.unlock is missing"));
}

#[test]
fn files_that_others_can_read_are_refused_with_the_remedy() {
    let folder = Folder::new();
    let path = folder.key_file(&Protection::UnlockFile);
    for bits in [0o640, 0o604, 0o620, 0o601] {
        mode(&path, bits);
        let text = text_of(&path, &Protection::UnlockFile);
        assert!(text.contains("chmod 0600") && text.contains("vault.key"), "{text}");
    }
    mode(&path, 0o400);
    assert!(open(&path, &Protection::UnlockFile).is_ok());
    mode(&unlock_path(&path), 0o644);
    assert!(text_of(&path, &Protection::UnlockFile).contains("chmod 0600"));

    let credential = folder.path("credential");
    fs::write(&credential, "a credential of some length").unwrap();
    mode(&credential, 0o444);
    assert!(
        create_with(&folder.path("other.key"), &Protection::Credential(credential), &folder.keys, QUICK)
            .is_err()
    );
    assert!(!folder.path("other.key").exists());
}

#[test]
fn a_first_start_that_was_cut_short_goes_on() {
    let folder = Folder::new();
    let path = folder.path("vault.key");
    make_unlock_file(&unlock_path(&path)).unwrap();
    create_with(&path, &Protection::UnlockFile, &folder.keys, QUICK).unwrap();
    opens(&path, &Protection::UnlockFile, &folder.keys);
    fs::write(unlock_path(&path), "rubbish").unwrap();
    assert!(text_of(&path, &Protection::UnlockFile).contains("not 32 bytes"));
    fs::write(unlock_path(&path), BASE64URL_NOPAD.encode(&[9; 32])).unwrap();
    assert!(text_of(&path, &Protection::UnlockFile).contains("does not open"));
}

#[test]
fn older_keys_stay_and_the_newest_counts() {
    let mut keys = KeyRing::generate().unwrap();
    let older = keys.pepper().name.clone();
    keys.peppers.push(NamedKey::generate("pepper").unwrap());
    let found = KeyRing::decode(&keys.encode()).unwrap();
    assert_ne!(found.pepper().name, older);
    assert!(found.pepper_named(&older).is_ok() && found.master_named(&older).is_err());
    let bytes = keys.encode();
    for len in 0..bytes.len() {
        let cut = KeyRing::decode(&bytes[..len]);
        // Cut right before the audit key it is a file of before there were any.
        let whole = |ring: KeyRing| ring.peppers.len() == 2 && ring.audits[0].name == keys.audits[0].name;
        assert!(!cut.is_some_and(whole), "{len}");
    }
}

#[test]
fn a_file_without_an_audit_key_always_stands_for_the_same_one() {
    let mut keys = KeyRing::generate().unwrap();
    keys.audits.clear();
    let (first, again) = (KeyRing::decode(&keys.encode()).unwrap(), KeyRing::decode(&keys.encode()).unwrap());
    let [first, again] = [first, again].map(|ring| ring.audits.into_iter().next().unwrap());
    assert!(first.name.starts_with("soft:audit/"), "{}", first.name);
    assert_eq!((first.name, first.key.expose()), (again.name, again.key.expose()));
    assert_ne!(first.key.expose(), keys.masters[0].key.expose());
    keys.masters.push(NamedKey::generate("master").unwrap());
    let newer = KeyRing::decode(&keys.encode()).unwrap();
    assert_eq!(newer.audits[0].key.expose(), first.key.expose(), "a newer master key changes nothing");
}

#[test]
fn the_folder_of_the_first_key_file_is_made_for_its_owner_alone() {
    let folder = Folder::new();
    let path = folder.path("node.keys").join("vault.key");
    create_with(&path, &Protection::UnlockFile, &folder.keys, QUICK).unwrap();
    let mode = fs::metadata(folder.path("node.keys")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
