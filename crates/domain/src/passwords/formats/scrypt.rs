//! scrypt, in three ways to write it: as PHC (`$scrypt$ln=16,r=8,p=1$salt$digest`, by passlib and RustCrypto), in
//! modular crypt format (`$7$`, by mkpasswd) and as Django does (`scrypt$16384$salt$8$1$digest`).

use subtle::ConstantTimeEq;

use super::{Format, RefusedHash, at_most, base64, crypt_digits, crypt_number, number, parameters};

/// The most memory in bytes.
const MAX_MEMORY: u64 = 256 << 20;
/// The most memory in bytes of what is computed one after the other, or at the same time elsewhere.
const MAX_LANES: u64 = 1 << 20;
/// The most bytes that are filled, one lane after the other: four times all memory that is allowed.
const MAX_WORK: u64 = 4 * MAX_MEMORY;
const FORMAT: &str = "scrypt";

pub(super) struct Scrypt {
    log_n: u8,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

fn damaged(fault: &'static str) -> RefusedHash {
    RefusedHash::Damaged { format: FORMAT, fault }
}

impl Scrypt {
    /// Reads what follows `$scrypt`.
    pub(super) fn parse_phc(fields: &[&str]) -> Result<Self, RefusedHash> {
        let [costs, salt, digest] = fields[..] else {
            return Err(damaged("parameters, salt and digest must follow"));
        };
        let costs = parameters(costs, ["ln", "r", "p"])
            .ok_or(damaged("its parameters are not three numbers ln, r and p"))?;
        let salt = base64(salt).ok_or(damaged("its salt cannot be read"))?;
        Self::new(costs, salt, base64(digest))
    }

    /// Reads what follows `$7`: one digit of cost, five of r, five of p, and the salt, which is taken as text.
    pub(super) fn parse_crypt(fields: &[&str]) -> Result<Self, RefusedHash> {
        let [settings, digest] = fields[..] else {
            return Err(damaged("its settings and its digest must follow"));
        };
        let costs = settings.as_bytes().split_at_checked(11).and_then(|(costs, salt)| {
            let costs = [&costs[..1], &costs[1..6], &costs[6..]].map(crypt_number);
            Some(([costs[0]?, costs[1]?, costs[2]?], salt))
        });
        let (costs, salt) = costs.ok_or(damaged("its cost (eleven characters after $7$) cannot be read"))?;
        Self::new(costs, salt.to_vec(), bytes_of_crypt_digits(digest))
    }

    /// Reads what follows `scrypt`. The salt is taken as text.
    pub(super) fn parse_django(fields: &[&str]) -> Result<Self, RefusedHash> {
        let [n, salt, r, p, digest] = fields[..] else {
            return Err(damaged("N, salt, r, p and digest must follow"));
        };
        let costs = number(n).zip(number(r)).zip(number(p)).filter(|((n, _), _)| n.is_power_of_two());
        let ((n, r), p) = costs.ok_or(damaged("N is not a power of two, or r or p not a number"))?;
        Self::new([n.ilog2().into(), r, p], salt.as_bytes().to_vec(), base64(digest))
    }

    fn new([log_n, r, p]: [u64; 3], salt: Vec<u8>, digest: Option<Vec<u8>>) -> Result<Self, RefusedHash> {
        let digest = digest.filter(|digest| [32, 64].contains(&digest.len()));
        let digest = digest.ok_or(damaged("its digest is not 32 or 64 bytes long"))?;
        let narrow = |value: u64| u32::try_from(value).ok().filter(|value| *value > 0);
        let (r, p) = narrow(r).zip(narrow(p)).ok_or(damaged("r or p is zero or out of reach"))?;
        let log_n = u8::try_from(log_n).ok().filter(|log_n| (1..64).contains(log_n));
        let log_n = log_n.ok_or(damaged("N is not between 2 and 2 to the power of 63"))?;
        Ok(Self { log_n, r, p, salt, digest })
    }

    /// Bytes that a lane fills and reads again.
    fn memory(&self) -> u64 {
        (1_u64 << self.log_n).saturating_mul(128 * u64::from(self.r))
    }
}

/// The bytes that crypt(3) writes as these digits.
fn bytes_of_crypt_digits(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len());
    for group in digits.as_bytes().chunks(4) {
        let value = crypt_number(group)?;
        bytes.extend_from_slice(&value.to_le_bytes()[..group.len() - 1]);
    }
    // What does not come out the same again is not what crypt(3) writes.
    (crypt_digits(&bytes) == digits).then_some(bytes)
}

impl Format for Scrypt {
    fn check_cost(&self) -> Result<(), RefusedHash> {
        at_most("memory in bytes (128 times r times N)", self.memory(), MAX_MEMORY)?;
        let lanes = (128 * u64::from(self.r)).saturating_mul(self.p.into());
        at_most("memory in bytes of its lanes (128 times r times p)", lanes, MAX_LANES)?;
        at_most("work (128 times r times N times p)", self.memory().saturating_mul(self.p.into()), MAX_WORK)
    }

    fn compare(&self, password: &[u8]) -> Option<bool> {
        let params = ::scrypt::Params::new(self.log_n, self.r, self.p).ok()?;
        // The crate would end the process where the memory is not to be had.
        Vec::<u8>::new().try_reserve_exact(usize::try_from(self.memory()).ok()?).ok()?;
        let mut digest = vec![0; self.digest.len()];
        ::scrypt::scrypt(password, &self.salt, &params, &mut digest).ok()?;
        Some(digest.ct_eq(&self.digest).into())
    }

    fn work(&self) -> u64 {
        // Each KiB is written and then read, with a slower function. Three of four that were measured.
        self.memory().saturating_mul(self.p.into()) / 1024 * 3
    }
}
