//! Hexadecimal digits, as CRM.COM writes ids, keys and tokens.

/// 32 upper-case digits.
pub(crate) fn upper_hex(bytes: [u8; 16]) -> [u8; 32] {
    // Reckoned and not looked up, so that the processor makes all of them at once.
    let digit = |half: u8| half + b'0' + u8::from(half > 9) * (b'A' - b'9' - 1);
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

/// The bytes of 32 digits of either case; nothing if it is anything else.
pub(crate) fn read(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}
