//! The formats that are known and not taken, so that whoever moves in learns which one they have.

/// Beginnings, and what begins so.
const BEGINNINGS: [(&str, &str); 33] = [
    ("$1$", "MD5-crypt ($1$)"),
    ("$apr1$", "Apache's MD5 ($apr1$)"),
    ("$md5", "Sun's MD5 ($md5)"),
    ("$2x$", "bcrypt of a faulty kind ($2x$)"),
    ("$2$", "bcrypt of the first kind ($2$)"),
    ("$3$", "the NT hash ($3$)"),
    ("$sha1$", "SHA-1 crypt ($sha1$)"),
    ("$y$", "yescrypt ($y$)"),
    ("$gy$", "yescrypt ($gy$)"),
    ("$bcrypt-sha256$", "bcrypt of a digest ($bcrypt-sha256$)"),
    ("$P$", "phpass ($P$)"),
    ("$H$", "phpass ($H$)"),
    ("$S$", "Drupal's hash ($S$)"),
    ("$p5k2$", "PBKDF2 as cryptacular writes it ($p5k2$)"),
    ("$pbkdf2", "PBKDF2 of a digest other than SHA-1, SHA-256 and SHA-512"),
    ("$balloon", "Balloon"),
    ("$scram$", "SCRAM ($scram$)"),
    ("SCRAM-", "SCRAM as PostgreSQL writes it"),
    ("_", "DES-crypt of BSDI (_)"),
    ("bcrypt_sha256$", "bcrypt of a digest as Django writes it (bcrypt_sha256$)"),
    ("md5$", "MD5 as Django writes it (md5$)"),
    ("sha1$", "SHA-1 as Django writes it (sha1$)"),
    ("unsalted_", "a digest without salt as Django writes it"),
    ("crypt$", "DES-crypt as Django writes it (crypt$)"),
    ("pbkdf2:", "PBKDF2 as Werkzeug writes it (pbkdf2:)"),
    ("scrypt:", "scrypt as Werkzeug writes it (scrypt:)"),
    ("{SHA", "SHA as LDAP writes it ({SHA})"),
    ("{SSHA", "salted SHA as LDAP writes it ({SSHA})"),
    ("{MD5}", "MD5 as LDAP writes it ({MD5})"),
    ("{SMD5}", "salted MD5 as LDAP writes it ({SMD5})"),
    ("{", "a hash with its kind in braces before it"),
    ("!", "the mark of an account without a password (!)"),
    ("*", "the mark of an account without a password (*), or a hash of MySQL"),
];

/// What a text is that is no hash we take; `None` if that is not known.
pub(super) fn name(text: &str) -> Option<&'static str> {
    let beginning = BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning));
    beginning.map(|(_, name)| *name).or_else(|| by_shape(text))
}

/// Hashes that are known only by their length and letters. A password may look like that too.
fn by_shape(text: &str) -> Option<&'static str> {
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_crypt = text.bytes().all(|byte| super::CRYPT_DIGITS.contains(&byte));
    match text.len() {
        0 => Some("empty"),
        32 | 40 | 64 | 128 if is_hexadecimal => Some("a digest without salt"),
        13 if is_crypt => Some("DES-crypt or a plain password"),
        _ => None,
    }
}
