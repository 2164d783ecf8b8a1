//! The list of leaked passwords: a local file, searched where it lies.
//!
//! It is the list that Have I Been Pwned distributes: lines of `SHA1[:count]`, sorted, some 40 GB of them. A search
//! reads a few dozen small pieces of it; nothing is loaded and nothing is sent anywhere.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use doorward_domain::{credential::Password, policy::BreachedPasswords};
use sha1::{Digest, Sha1};

type Hash = [u8; 20];

/// The longest line there may be, its end included: a hash, a colon, the longest 64-bit number, CR and LF.
const LONGEST_LINE: u64 = 40 + 1 + 20 + 2;

/// A list of leaked passwords that stays open. It must not be written to meanwhile; renaming another into its place
/// is safe, and is noticed at the next start.
#[derive(Debug)]
pub(crate) struct BreachedFile {
    path: PathBuf,
    file: File,
    size: u64,
}

/// Why a list of leaked passwords cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BreachedFileError {
    /// The file is missing, or the disk or the permissions are in the way.
    #[error(
        "{}: the list of leaked passwords cannot be read: {reason}; mend it or unset `passwords.breached_file`",
        path.display()
    )]
    Unreadable { path: PathBuf, reason: io::Error },

    /// Something else is in it.
    #[error(
        "{}: not a list of leaked passwords: {fault}; it must hold lines of `SHA1[:count]` in hexadecimal, sorted \
         by hash. Download it again or unset `passwords.breached_file`",
        path.display()
    )]
    Malformed { path: PathBuf, fault: String },
}

/// A line of the file: where it begins, where the next one does, and its hash.
struct Line {
    start: u64,
    end: u64,
    hash: Hash,
}

/// What went wrong at some place, before the name of the file is added.
enum Fault {
    Read(io::Error),
    Form(String),
}

impl BreachedFile {
    /// Opens a list and looks at both of its ends. The middle is looked at by searches alone.
    pub(crate) fn open(path: &Path) -> Result<Self, BreachedFileError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) =
            opened.map_err(|reason| BreachedFileError::Unreadable { path: path.into(), reason })?;
        let list = Self { path: path.into(), file, size: metadata.len() };
        let check = || {
            if !metadata.is_file() {
                return Err(Fault::Form("it is no regular file".to_owned()));
            }
            if list.size == 0 {
                return Err(Fault::Form("it is empty".to_owned()));
            }
            let (first, last) = (list.line_at(0)?, list.line_at(list.size - 1)?);
            if first.start < last.start && first.hash >= last.hash {
                return Err(Fault::Form("its first hash is not below its last".to_owned()));
            }
            Ok(())
        };
        check().map_err(|fault| list.error(fault))?;
        Ok(list)
    }

    fn error(&self, fault: Fault) -> BreachedFileError {
        let path = self.path.clone();
        match fault {
            Fault::Read(reason) => BreachedFileError::Unreadable { path, reason },
            Fault::Form(fault) => BreachedFileError::Malformed { path, fault },
        }
    }

    fn find(&self, hash: &Hash) -> Result<bool, Fault> {
        // Both are beginnings of lines, or the end of the file; what is looked for can only lie between them.
        let (mut low, mut high) = (0, self.size);
        while low < high {
            let line = self.line_at(low + (high - low) / 2)?;
            match line.hash.cmp(hash) {
                std::cmp::Ordering::Less => low = line.end,
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Greater => high = line.start,
            }
        }
        Ok(false)
    }

    /// The line that the byte at `place` belongs to.
    fn line_at(&self, place: u64) -> Result<Line, Fault> {
        let from = place.saturating_sub(LONGEST_LINE);
        let mut buffer = [0; 2 * LONGEST_LINE as usize];
        let length = (self.size - from).min(buffer.len() as u64);
        let read = &mut buffer[..length as usize];
        self.file.read_exact_at(read, from).map_err(Fault::Read)?;

        let (before, after) = read.split_at((place - from) as usize);
        let is_end = |byte: &u8| *byte == b'\n';
        let start = match before.iter().rposition(is_end) {
            Some(end) => Some(end + 1),
            None => (from == 0).then_some(0),
        };
        let end = match after.iter().position(is_end) {
            Some(end) => Some(before.len() + end + 1),
            None => (from + length == self.size).then_some(read.len()),
        };
        start
            .zip(end)
            .and_then(|(start, end)| {
                let hash = parse(&read[start..end])?;
                Some(Line { start: from + start as u64, end: from + end as u64, hash })
            })
            .ok_or_else(|| Fault::Form(format!("the line at byte {place} is none of it")))
    }
}

impl BreachedPasswords for BreachedFile {
    fn contains(&self, password: &Password) -> Result<bool, String> {
        let hash = Sha1::digest(password.expose()).into();
        self.find(&hash).map_err(|fault| self.error(fault).to_string())
    }
}

/// The hash of a line. The count says nothing here, but it must be one.
fn parse(line: &[u8]) -> Option<Hash> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, count) = line.split_at_checked(40)?;
    let is_count = |count: &[u8]| !count.is_empty() && count.iter().all(u8::is_ascii_digit);
    if !(count.is_empty() || count.strip_prefix(b":").is_some_and(is_count)) {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write};

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    fn file(content: &[u8]) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn open(content: &[u8]) -> Result<BreachedFile, BreachedFileError> {
        BreachedFile::open(file(content).path())
    }

    fn contains(list: &BreachedFile, password: &str) -> Result<bool, String> {
        list.contains(&Password::parse(password).unwrap())
    }

    fn hash(password: &str) -> Hash {
        Sha1::digest(password).into()
    }

    /// How a list is written.
    #[derive(Clone, Copy, Debug)]
    struct Form {
        end: &'static str,
        is_counted: bool,
        is_lower: bool,
        ends_at_the_end: bool,
    }

    fn forms() -> impl Iterator<Item = Form> {
        (0..16).map(|bits| Form {
            end: if bits & 1 == 0 { "\n" } else { "\r\n" },
            is_counted: bits & 2 == 0,
            is_lower: bits & 4 != 0,
            ends_at_the_end: bits & 8 == 0,
        })
    }

    fn write(hashes: &BTreeSet<Hash>, form: Form) -> String {
        let mut text = String::new();
        for (place, hash) in hashes.iter().enumerate() {
            for byte in hash {
                let _ = if form.is_lower { write!(text, "{byte:02x}") } else { write!(text, "{byte:02X}") };
            }
            if form.is_counted {
                // From one digit to as many as there can be.
                let _ = write!(text, ":{}", u64::MAX >> (place % 64));
            }
            text += form.end;
        }
        if !form.ends_at_the_end {
            text.truncate(text.trim_end().len());
        }
        text
    }

    #[test]
    fn c3_every_leaked_password_is_found_and_no_other() {
        let hashes: BTreeSet<Hash> = (0..3_000).map(|number| hash(&format!("leaked-{number}"))).collect();
        for form in forms() {
            let list = open(write(&hashes, form).as_bytes()).unwrap();
            for number in 0..3_000 {
                assert_eq!(contains(&list, &format!("leaked-{number}")), Ok(true), "{form:?}");
                assert_eq!(contains(&list, &format!("secret-{number}")), Ok(false), "{form:?}");
            }
            // Below the first, above the last.
            for absent in [[0; 20], [0xff; 20]] {
                assert!(matches!(list.find(&absent), Ok(false)), "{form:?}");
            }
        }
    }

    #[test]
    fn c3_the_published_form_is_read() {
        // The SHA-1 of "password", as published, and of "é" in NFC.
        let content = b"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:10434004\r\nBF15BE717AC1B080B4F1C456692825891FF5073D:2\r\n";
        let list = open(content).unwrap();
        assert_eq!(contains(&list, "password"), Ok(true));
        assert_eq!(contains(&list, "e\u{301}"), Ok(true));
        assert_eq!(contains(&list, "Password"), Ok(false));
    }

    #[test]
    fn c3_a_list_of_one_line_is_one() {
        for form in forms() {
            let list = open(write(&BTreeSet::from([hash("only")]), form).as_bytes()).unwrap();
            assert_eq!(
                (contains(&list, "only"), contains(&list, "other")),
                (Ok(true), Ok(false)),
                "{form:?}"
            );
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_name_and_a_remedy() {
        let good = write(&(0..9).map(|number| hash(&number.to_string())).collect(), forms().next().unwrap());
        let (first, rest) = good.split_once('\n').unwrap();
        for content in [
            String::new(),
            "\n".to_owned(),
            "password\n123456\n".to_owned(),
            "x".repeat(10_000),
            format!("{good}\n"),
            format!("\u{feff}{good}"),
            format!("{rest}{first}\n"),
            format!("{first}\n{first}\n"),
            // Cut off in the hash, in the count; of another kind of hash; with something else behind.
            format!("{good}FFFFFF"),
            format!("{good}{}:", "F".repeat(40)),
            format!("{}\n", "A".repeat(32)),
            format!("{}\n", "A".repeat(64)),
            format!("{}:1x\n", "A".repeat(40)),
            format!("{};1\n", "A".repeat(40)),
            format!("{}\n", "G".repeat(40)),
        ] {
            let file = file(content.as_bytes());
            let error = BreachedFile::open(file.path()).unwrap_err();
            assert!(matches!(error, BreachedFileError::Malformed { .. }), "{content}");
            let text = error.to_string();
            assert!(text.starts_with(file.path().to_str().unwrap()), "{text}");
            assert!(text.contains("`passwords.breached_file`") && !text.contains('\n'), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(BreachedFile::open(folder.path()).is_err());
        let missing = BreachedFile::open(&folder.path().join("none.txt")).unwrap_err().to_string();
        assert!(missing.contains("none.txt") && missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn c3_damage_in_the_middle_is_an_error_and_no_answer() {
        let hashes: BTreeSet<Hash> = (0..100).map(|number| hash(&number.to_string())).collect();
        let good = write(&hashes, forms().next().unwrap());
        let lines: Vec<&str> = good.lines().collect();
        for damage in ["", "\n\n\n", "garbage", "\u{0}\u{1}", &"F".repeat(5_000)] {
            // Half of all that is between the ends, so that every search meets it.
            let content = format!("{}\n{}\n{}\n", lines[0], format!("{damage}\n").repeat(5_000), lines[99]);
            let list = open(content.as_bytes()).unwrap();
            let error = contains(&list, "50").unwrap_err();
            assert!(error.contains("at byte") && error.contains("`passwords.breached_file`"), "{error}");
        }
        let file = file(good.as_bytes());
        let list = BreachedFile::open(file.path()).unwrap();
        file.as_file().set_len(0).unwrap();
        assert!(contains(&list, "50").unwrap_err().contains("cannot be read"), "cut off while open");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Hashes close together, so that searches end beside one another.
        #[test]
        fn c3_a_search_finds_what_is_in_the_list(
            numbers in proptest::collection::btree_set(0_u8..=255, 1..200),
            form in 0_usize..16,
        ) {
            let hash = |number: u8| { let mut hash = [7; 20]; hash[19] = number; hash };
            let hashes = numbers.iter().copied().map(hash).collect();
            let list = open(write(&hashes, forms().nth(form).unwrap()).as_bytes()).unwrap();
            for number in 0..=255 {
                prop_assert_eq!(list.find(&hash(number)).ok(), Some(numbers.contains(&number)));
            }
        }

        #[test]
        fn c3_no_content_makes_a_search_panic(content in "[0-9A-F:\r\n]{0,300}|([0-9A-F]{40}(:[0-9]{1,3})?\n){1,20}") {
            if let Ok(list) = open(content.as_bytes()) {
                let _ = contains(&list, "password");
            }
        }
    }
}
