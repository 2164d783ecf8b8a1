//! Hexadecimal digits, as CRM.COM writes ids, keys and tokens.

/// 32 upper-case digits.
pub(crate) fn upper_hex(bytes: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        for (digit, half) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = b"0123456789ABCDEF"[usize::from(half)];
        }
    }
    digits
}
